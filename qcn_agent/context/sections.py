"""A text taken apart into stretches of one kind: title, prose, code, marked names, quotations, errors, tracebacks."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["title", "prose", "code", "marked", "quoted", "error", "trace"]

MAX_TITLE_CHARS = 200
_FENCES = ("```", "~~~")
_MARKED = re.compile(r"`{1,2}([^`\n]{1,200})`{1,2}")
_QUOTED = re.compile(r"\"([^\"\n]{3,200})\"|(?<!\w)'([^'\n]{3,200})'(?!\w)|“([^“”\n]{3,200})”")
_ERROR = re.compile(
    r"^[ \tE>]{0,20}(?:(?:\w{1,60}\.){0,8}\w{0,60}(?:Error|Exception|Warning|Failure|Fault)\w{0,20}|panic|fatal error|"
    r"error(?:\[\w{1,9}\])?|fatal|Segmentation fault)(?:: [^\n]{1,400})?$"
)
_TRACE_LINE = re.compile(r'^[ \t]{0,8}(?:File "|at |#\d{1,4} |goroutine \d|Traceback \(|\d{1,4}: {1,4}\w)')


@dataclass(frozen=True)
class Section:
    """A stretch of text of one kind."""

    kind: Kind
    text: str

    @property
    def is_code_like(self) -> bool:
        """Whether its words are names rather than language."""
        return self.kind in ("code", "marked", "trace")


def sections_of(text: str) -> tuple[Section, ...]:
    """The stretches of a text, one of a kind. They overlap: what is marked or quoted is part of prose, too."""
    lines: dict[Kind, list[str]] = {"title": [], "prose": [], "code": [], "error": [], "trace": []}
    is_fenced, has_title = False, False
    for line in text.split("\n"):
        bare = line.strip()
        if bare.startswith(_FENCES):
            is_fenced = not is_fenced and not _closes_itself(bare)
            continue
        if not bare:
            continue
        kind = _kind_of(line, bare, is_fenced)
        if kind == "prose" and not has_title:
            has_title = True
            lines["title"].append(line[:MAX_TITLE_CHARS])
        lines[kind].append(line)
    parts = [Section(kind, "\n".join(found)) for kind, found in lines.items() if found]
    prose = "\n".join(lines["prose"])
    marked = "\n".join(match[1] for match in _MARKED.finditer(prose))
    quoted = "\n".join(_quotations(prose))
    parts += [Section("marked", marked)] if marked else []
    parts += [Section("quoted", quoted)] if quoted else []
    return tuple(parts)


def _kind_of(line: str, bare: str, is_fenced: bool) -> Kind:
    if _TRACE_LINE.match(line[:200]):
        return "trace"
    if _ERROR.match(line[:500]):
        return "error"
    return "code" if is_fenced or bare.startswith((">>> ", "... ", "$ ")) else "prose"


def _closes_itself(bare: str) -> bool:
    """A fence that opens and closes on one line."""
    return len(bare) > 6 and bare.endswith(_FENCES) and bool(bare.strip("`~"))


def _quotations(prose: str) -> Iterator[str]:
    for match in _QUOTED.finditer(prose):
        yield next(group for group in match.groups() if group)
