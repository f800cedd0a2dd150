"""Stack frames in a text: Python, JavaScript, Java, Go, Rust, gdb, and `file.ext:line` anywhere."""

import re
from dataclasses import dataclass

_FILE = r"[^\s\"'()<>:,;`|]{1,300}"
_EXT = r"\.[A-Za-z]\w{0,9}"
_LINE = r":(?P<line>\d{1,7})"
_NUMBERED = r"^[ \t]{0,20}\d{1,4}: (?:[ \t]{0,20}0x[0-9a-f]{1,16} - )?[ \t]{0,20}"  # a frame of Rust's
_FORMATS = tuple(
    re.compile(pattern, re.MULTILINE)
    for pattern in (
        r'File "(?P<path>[^"\n]{1,300})", line (?P<line>\d{1,7})(?:, in (?P<function>[^\s(]{1,200}))?',
        r"^[ \t]{0,40}at (?:async )?(?:new )?(?P<function>[\w$.<>]{1,200})(?: \[as [^\]\n]{1,99}\])? "
        rf"\((?:\w{{2,12}}://)?(?P<path>{_FILE}{_EXT}){_LINE}",
        rf"^[ \t]{{0,40}}at (?P<function>[\w$.<>]{{1,300}})\((?P<path>[\w$-]{{1,100}}{_EXT}){_LINE}\)",
        rf"^(?P<function>[\w./*()\[\]-]{{1,200}})\([^\n]{{0,300}}\)\n[ \t]{{1,8}}(?P<path>{_FILE}\.go){_LINE}",
        rf"{_NUMBERED}(?P<function>[\w:<>{{}}#$]{{1,300}})\n[ \t]{{1,40}}at (?P<path>{_FILE}\.rs){_LINE}",
        r"^[ \t]{0,8}#\d{1,4}[ \t]{1,4}(?:0x[0-9a-f]{1,16} in )?(?P<function>[\w:~<>]{1,300}) ?"
        rf"\([^\n]{{0,500}}\) at (?P<path>{_FILE}){_LINE}",
        rf"(?<![\w./\\-])(?!//\w)(?P<path>(?:[A-Za-z]:)?[\w./\\@+-]{{1,300}}{_EXT}){_LINE}",
    )
)
_LAST_NAME = re.compile(r"\w+")
_HASH = re.compile(r"h[0-9a-f]{16}")


@dataclass(frozen=True)
class Frame:
    """A place in the code: `path` as it is written, with `/`; `line` from 1; the `function`'s bare name, or ""."""

    path: str
    line: int
    function: str


def frames_in(text: str) -> tuple[Frame, ...]:
    """All frames in the order of the text, each once. What several formats match counts as the first of them."""
    found: dict[int, Frame] = {}
    for pattern in _FORMATS:
        for match in pattern.finditer(text):
            groups = match.groupdict()
            path = groups["path"].replace("\\", "/")
            found.setdefault(match.start("line"), Frame(path, int(groups["line"]), _bare(groups.get("function"))))
    return tuple(dict.fromkeys(frame for _place, frame in sorted(found.items())))


def _bare(function: str | None) -> str:
    """`a.b.C.method`, `crate::f::h0123…`, `(*T).Method`: what the definition is called."""
    names = [name for name in _LAST_NAME.findall(function or "") if not _HASH.fullmatch(name)]
    return names[-1] if names else ""
