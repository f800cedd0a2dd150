"""One file's bytes become its tags: definitions, references, imports, and words by field."""

import bisect
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from qcn_agent.index.imports import Import, read_imports
from qcn_agent.index.limits import MAX_BYTES
from qcn_agent.index.syntax import Node, parse, tag_matches
from qcn_agent.index.words import Counts, WordSplitter, identifiers_of, path_words

MAX_SIGNATURE_CHARS = 200
MAX_DOC_CHARS = 120
MAX_LINES_OF_A_NAME = 50
_MAX_HEADER_COMMENTS = 8

_WRAPPERS = {
    "decorated_definition",
    "export_statement",
    "template_declaration",
    "lexical_declaration",
    "type_declaration",
}
_PREFIX = "definition."
_SPACES = re.compile(r"\s+")
_DOC_MARKS = " \t\r\n/*#!\"'-<>="
_LINE_ENDS = re.compile(rb"\n")

Span = tuple[int, int]


@dataclass(frozen=True)
class Definition:
    """Something with a name: bytes [start, end) with its decorators, lines from 1 and inclusive.

    `scope` is the dotted name of what it lies in ("" at the top), `body_byte` where its body starts (`end_byte` without
    one), `signature` the text before the body on one line, `doc` the first line that documents it.
    """

    name: str
    scope: str
    kind: str
    start_byte: int
    end_byte: int
    start_line: int
    end_line: int
    body_byte: int
    signature: str
    doc: str

    @property
    def qualified(self) -> str:
        """The dotted name inside the file."""
        return f"{self.scope}.{self.name}" if self.scope else self.name


@dataclass(frozen=True)
class FileTags:
    """All that is known about one file's contents.

    `references`: lines, from 1, where a name is called, accessed, inherited from or used as a type (at most
    MAX_LINES_OF_A_NAME each; `reference_counts` counts all). `words`: a count for each word, by the fields of
    words.FIELDS. `is_parsed` is False where there is no tree: then only words are known.
    """

    is_parsed: bool
    definitions: tuple[Definition, ...]
    references: dict[str, tuple[int, ...]]
    reference_counts: dict[str, int]
    imports: tuple[Import, ...]
    words: tuple[Counts, ...]


def tag_file(path: str, source: bytes, language: str, splitter: WordSplitter) -> FileTags:
    """The tags of a file; `path` is relative to the workspace. Text and what can't be parsed has words only."""
    tree = parse(source, language)
    if tree is None:
        return text_tags(path, source, splitter)
    return _Tagger(path, source, language, splitter).tags(tag_matches(tree, language))


def text_tags(path: str, source: bytes, splitter: WordSplitter) -> FileTags:
    """The words of a file of which nothing else is known; only the first MAX_BYTES count."""
    body = identifiers_of(source[:MAX_BYTES].decode("utf-8", "replace"))
    words: tuple[Counts, ...] = (path_words(path, splitter), {}, {}, splitter.count(body), {})
    return FileTags(False, (), {}, {}, (), words)


@dataclass(frozen=True)
class _Found:
    node: Node
    start: int
    end: int
    name: str
    kind: str
    scope: str


class _Tagger:
    """Collects the matches of one file."""

    def __init__(self, path: str, source: bytes, language: str, splitter: WordSplitter) -> None:
        self._path, self._source, self._language, self._splitter = path, source, language, splitter
        self._line_starts = [0, *(match.end() for match in _LINE_ENDS.finditer(source))]
        self._found: dict[Span, _Found] = {}
        self._imports: dict[int, Node] = {}
        self._references: list[int] = []
        self._names: list[bytes] = []
        self._strings: set[Span] = set()
        self._comments: set[Span] = set()
        self._docs: set[Span] = set()
        self._comment_spans: list[Span] = []

    def tags(self, matches: Iterable[tuple[int, dict[str, list[Node]]]]) -> FileTags:
        """Everything, once."""
        self._sort_out(matches)
        definitions = self._definitions()
        imports = [
            imported
            for start, node in sorted(self._imports.items())
            for imported in read_imports(self._language, self._text(start, node.end_byte), self._line(start))
        ]
        lines, counts = self._lines_of_names()
        return FileTags(True, definitions, lines, counts, tuple(imports), self._words(definitions))

    def _sort_out(self, matches: Iterable[tuple[int, dict[str, list[Node]]]]) -> None:
        source, positions = self._source, {}
        for _pattern, captures in matches:
            if nodes := captures.get("reference"):
                for node in nodes:
                    start = node.start_byte
                    positions[start] = source[start : node.end_byte]
            elif nodes := captures.get("string"):
                self._strings.add((nodes[0].start_byte, nodes[0].end_byte))
            elif nodes := captures.get("comment"):
                self._comments.add((nodes[0].start_byte, nodes[0].end_byte))
            elif nodes := captures.get("doc"):
                self._docs.add((nodes[0].start_byte, nodes[0].end_byte))
            elif nodes := captures.get("import"):
                self._imports[nodes[0].start_byte] = nodes[0]
            else:
                self._define(captures)
        self._references = list(positions)
        self._names = list(positions.values())

    def _define(self, captures: dict[str, list[Node]]) -> None:
        key = next(name for name in captures if name.startswith(_PREFIX))
        node, name = captures[key][0], captures["name"][0]
        scope, _, bare_name = self._text(name.start_byte, name.end_byte).rpartition("::")
        if "scope" in captures:
            scope = self._text(captures["scope"][0].start_byte, captures["scope"][0].end_byte)
        parent = node.parent
        start = parent.start_byte if parent is not None and parent.type in _WRAPPERS else node.start_byte
        found = _Found(
            node,
            start,
            node.end_byte,
            bare_name,
            key.removeprefix(_PREFIX),
            scope.replace("::", "."),
        )
        self._found.setdefault((name.start_byte, name.end_byte), found)

    def _definitions(self) -> tuple[Definition, ...]:
        """In the order of the text; the scope of each is what encloses it."""
        definitions: list[Definition] = []
        around: list[Definition] = []
        docs = sorted(self._docs)
        self._comment_spans = sorted(self._comments)
        comment_starts = {self._line(end - 1): start for start, end in self._comments}
        for found in sorted(self._found.values(), key=lambda found: (found.start, -found.end)):
            while around and around[-1].end_byte <= found.start:
                around.pop()
            scope = ".".join(part for part in (around[-1].qualified if around else "", found.scope) if part)
            doc = self._doc_inside(found, docs) or self._doc_above(found.start, comment_starts)
            definition = self._definition(found, scope, doc)
            definitions.append(definition)
            around.append(definition)
        return tuple(definitions)

    def _definition(self, found: _Found, scope: str, doc: str) -> Definition:
        body = found.node.child_by_field_name("body")
        body_byte = body.start_byte if body is not None else found.end
        signature = self._header(found.node.start_byte, body_byte)
        if body is None:
            signature = signature.split("\n", 1)[0]
        return Definition(
            found.name,
            scope,
            found.kind,
            found.start,
            found.end,
            self._line(found.start),
            self._line(found.end - 1),
            body_byte,
            _SPACES.sub(" ", signature).strip(" {")[:MAX_SIGNATURE_CHARS],
            doc,
        )

    def _header(self, start: int, end: int) -> str:
        """The text between two positions without its comments; not much more than a signature may have."""
        end = min(end, start + 4 * MAX_SIGNATURE_CHARS)
        comments = self._comment_spans[bisect.bisect_left(self._comment_spans, (start, 0)) :]
        inside = [span for span in comments[:_MAX_HEADER_COMMENTS] if span[0] < end]
        pieces = _gaps([(before - start, behind - start) for before, behind in inside], end - start)
        return " ".join(self._text(start + before, start + behind) for before, behind in pieces)

    def _doc_inside(self, found: _Found, docs: Sequence[Span]) -> str:
        """The docstring: the string that a body starts with."""
        body = found.node.child_by_field_name("body") if docs else None
        if body is None:
            return ""
        at = bisect.bisect_left(docs, (body.start_byte, 0))
        is_first = at < len(docs) and docs[at][0] == body.start_byte
        return _first_line(self._text(*docs[at])) if is_first else ""

    def _doc_above(self, start: int, comment_starts: dict[int, int]) -> str:
        """The first line of the comments that end on the line before; they become docs."""
        line, top = self._line(start) - 1, -1
        while line in comment_starts:
            begin = comment_starts[line]
            if self._source[self._line_starts[self._line(begin) - 1] : begin].strip():
                break  # it stands behind code
            top, line = begin, self._line(begin) - 1
        return _first_line(self._text(top, start)) if top >= 0 else ""

    def _lines_of_names(self) -> tuple[dict[str, tuple[int, ...]], dict[str, int]]:
        lines: dict[bytes, list[int]] = {}
        numbers = np.searchsorted(self._line_starts, self._references, side="right").tolist()
        for line, name in zip(numbers, self._names, strict=True):
            lines.setdefault(name, []).append(line)
        names = [name.decode("utf-8", "replace") for name in lines]
        first = (tuple(sorted(set(found))[:MAX_LINES_OF_A_NAME]) for found in lines.values())
        return dict(zip(names, first, strict=True)), dict(zip(names, map(len, lines.values()), strict=True))

    def _words(self, definitions: Sequence[Definition]) -> tuple[Counts, ...]:
        """Counts by field; a docstring is no string, and what is neither comment nor string is body."""
        docs = _outermost(self._comments | self._docs)
        strings = _outermost(self._strings - self._docs)
        code = _gaps(sorted([*docs, *strings]), len(self._source))
        count = self._splitter.count
        return (
            path_words(self._path, self._splitter),
            count(Counter(definition.name for definition in definitions)),
            count(identifiers_of(self._joined(docs))),
            count(identifiers_of(self._joined(code))),
            count(identifiers_of(self._joined(strings))),
        )

    def _joined(self, spans: Iterable[Span]) -> str:
        source = self._source
        return b"\n".join([source[start:end] for start, end in spans]).decode("utf-8", "replace")

    def _line(self, byte: int) -> int:
        return bisect.bisect_right(self._line_starts, byte)

    def _text(self, start: int, end: int) -> str:
        return self._source[start:end].decode("utf-8", "replace")


def _first_line(text: str) -> str:
    """The first line that says something, without comment marks and quotes."""
    for line in text.splitlines():
        bare = line.strip(_DOC_MARKS)
        if bare in ("r", "R", "u", "b", "f"):
            continue
        if bare:
            return _string_prefix.sub("", bare).strip(_DOC_MARKS)[:MAX_DOC_CHARS]
    return ""


_string_prefix = re.compile(r"^[rRbBuUfF]{1,2}(?=[\"'])")


def _outermost(spans: Iterable[Span]) -> list[Span]:
    """Spans in order, without those that lie inside another one."""
    kept: list[Span] = []
    for start, end in sorted(spans, key=lambda span: (span[0], -span[1])):
        if not kept or start >= kept[-1][1]:
            kept.append((start, end))
    return kept


def _gaps(spans: Iterable[Span], length: int) -> list[Span]:
    """What lies between the spans, and before and behind them."""
    gaps, position = [], 0
    for start, end in spans:
        gaps.append((position, start))
        position = max(position, end)
    return [*gaps, (position, length)]
