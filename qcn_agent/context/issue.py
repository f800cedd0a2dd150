"""An issue's text as a query: what it points at (frames, paths, modules, names) and what it speaks of (words).

Time is linear in the text, of which at most MAX_CHARS are read: the head, and the tail, where tracebacks end.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from qcn_agent.context.frames import Frame, frames_in
from qcn_agent.context.sections import Section, sections_of
from qcn_agent.context.weights import DEFAULT, IssueWeights
from qcn_agent.index.words import WordSplitter

MAX_CHARS = 40_000
_TAIL_CHARS = 16_000
MAX_NAMES = 256
MAX_PATHS = 64

_TOKEN = re.compile(r"[^\W\d]\w{0,99}(?:(?:\.|::)[^\W\d]\w{0,99}){0,12}(?:\(\))?")
_PATH = re.compile(
    r"(?<![\w./\\~-])[\w.~@+-]{0,100}(?:[/\\][\w.@+-]{1,100}){1,20}|(?<![\w./\\-])[\w-]{1,100}\.[a-z]{1,5}\b"
)
_IMPORT = re.compile(
    r"^[ \t>.]{0,40}(?:from[ \t]+([\w.]{1,200})[ \t]+import[ \t]+([^\n]{1,300})|import[ \t]+([^\n]{1,300}))", re.M
)
_NAME = re.compile(r"[^\W\d]\w*")
_CAMEL = re.compile(r"[a-z0-9][A-Z]|[A-Z]{2}[a-z]|^_?[A-Z][a-z]+[A-Z]")
_EXTENSIONS = re.compile(
    r"(?:pyi?|pyx|[mc]?jsx?|[mc]?tsx?|go|rs|java|kt|cc?|hh?|[ch]pp|cs|rb|php|sh|scala|lua|swift|vue|svelte|sql|toml|cfg|"
    r"ini|json|ya?ml|md|rst|txt|html|css|xml)"
)
_NOT_NAMES = frozenset({"e.g", "i.e"})
_CONTROLS = dict.fromkeys((*range(9), 11, 12, *range(14, 32), 127), " ")


@dataclass(frozen=True)
class IssueQuery:
    """What a text asks for.

    `paths` are as written, with `/`; `modules` are dotted names (a module, or something in one), `imports` those that
    example code imports. `names` are identifiers as written, `words` are lower-case as the index has them, `quoted`
    those of them that stand in quotes or in an error's message; each with its weight.
    """

    frames: tuple[Frame, ...]
    paths: tuple[str, ...]
    modules: tuple[str, ...]
    imports: tuple[str, ...]
    names: Mapping[str, float]
    words: Mapping[str, float]
    quoted: Mapping[str, float]


def query_of(text: str, weights: IssueWeights = DEFAULT.issue) -> IssueQuery:
    """The query of any text, empty for an empty one; no text is an error."""
    clean = _clean(text)
    sections = sections_of(clean)
    reading = _Reading(weights)
    for section in sections:
        reading.add(section)
    frames = frames_in(clean)
    return IssueQuery(
        frames,
        tuple(dict.fromkeys(_paths(clean, frames)))[:MAX_PATHS],
        tuple(reading.modules)[:MAX_NAMES],
        tuple(dict.fromkeys(_imports(sections)))[:MAX_PATHS],
        MappingProxyType(dict(sorted(reading.names.items(), key=lambda item: -item[1])[:MAX_NAMES])),
        MappingProxyType(reading.words),
        MappingProxyType(reading.quoted),
    )


def _clean(text: str) -> str:
    """At most MAX_CHARS, valid Unicode, without control characters."""
    if len(text) > MAX_CHARS:
        text = text[: MAX_CHARS - _TAIL_CHARS] + "\n" + text[-_TAIL_CHARS:]
    text = text.encode("utf-8", "replace").decode()
    return text.replace("\r\n", "\n").translate(_CONTROLS)


class _Reading:
    """Collects names and words over the sections of a text."""

    def __init__(self, weights: IssueWeights) -> None:
        self._weights, self._splitter = weights, WordSplitter()
        self.names: dict[str, float] = {}
        self.modules: dict[str, None] = {}
        self.words: dict[str, float] = {}
        self.quoted: dict[str, float] = {}

    def add(self, section: Section) -> None:
        """One more stretch of the text."""
        of_kind = self._weights.of(section.kind)
        seen: set[str] = set()
        for token in _TOKEN.findall(section.text):
            if token not in seen:
                seen.add(token)
                self._add_token(token, of_kind, section)

    def _add_token(self, token: str, weight: float, section: Section) -> None:
        bare = token.removesuffix("()").replace("::", ".")
        parts = bare.split(".")
        is_dotted = len(parts) > 1 and bare not in _NOT_NAMES and not _EXTENSIONS.fullmatch(parts[-1])
        if is_dotted:
            self.modules.setdefault(bare)
        is_code = section.is_code_like or token.endswith("()") or is_dotted
        for part in parts:
            shape = 1.0 if is_code else self._weights.shaped if _is_shaped(part) else self._weights.plain
            if len(part) > 2:
                self.names[part] = max(self.names.get(part, 0.0), weight * shape)
            for word in self._splitter.words_of(part):
                self.words[word] = max(self.words.get(word, 0.0), weight)
                if section.kind in ("quoted", "error"):
                    self.quoted[word] = 1.0


def _is_shaped(name: str) -> bool:
    """Whether it looks like an identifier and not like a word: snake_case, camelCase, CONSTANT_NAME, name2."""
    return "_" in name.strip("_") or name.startswith("_") or bool(_CAMEL.search(name))


def _paths(text: str, frames: Iterable[Frame]) -> Iterator[str]:
    """Paths that stand by themselves, outside of stack frames."""
    in_frames = " ".join(f"{frame.path} " for frame in frames)
    for match in _PATH.finditer(text):
        path = match[0].replace("\\", "/")
        if _is_path(path) and f"{path} " not in in_frames:
            yield path


def _is_path(text: str) -> bool:
    return bool(_EXTENSIONS.fullmatch(text.rpartition(".")[2])) or ("/" in text and len(text) > 3 and "//" not in text)


def _imports(sections: Iterable[Section]) -> Iterator[str]:
    for section in sections:
        if section.kind != "code":
            continue
        for module, names, plain in _IMPORT.findall(section.text):
            for part in plain.split(",") if plain else ():
                yield from _NAME_PATH.findall(part)[:1]
            if module.strip("."):
                yield module.strip(".")
                yield from (
                    f"{module.strip('.')}.{name}" for name in _NAME.findall(names.split("#")[0]) if name != "as"
                )


_NAME_PATH = re.compile(r"[^\W\d]\w{0,99}(?:\.\w{1,100}){0,12}")
