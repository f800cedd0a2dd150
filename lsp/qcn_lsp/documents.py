"""Open documents, kept current from LSP's changes. Standard library only: shim and server use the same module.

A line ends at LF, CR LF or CR and nowhere else: form feed, U+2028 and their like stay inside one. A `character` of a
position counts code units of the encoding that was agreed on.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

UTF_8, UTF_16, UTF_32 = "utf-8", "utf-16", "utf-32"  # as LSP names position encodings
ENCODINGS = (UTF_32, UTF_16, UTF_8)  # the cheapest for us first
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\n|\r|\Z)")


class DocumentError(ValueError):
    """A message about a document that can't be followed: what is known of its text is no longer certain."""


@dataclass(frozen=True, order=True)
class Position:
    """Zero-based, as in LSP; `character` in code units, or, inside this program, in code points."""

    line: int
    character: int

    @classmethod
    def of(cls, value: Any) -> "Position":
        """From JSON. Raises DocumentError."""
        line, character = _field(value, "line"), _field(value, "character")
        if not _is_count(line) or not _is_count(character):
            raise DocumentError(f"{value!r} is no position")
        return cls(line, character)


class Document:
    """One open document: its lines with their ends, the last one without any."""

    def __init__(self, uri: str, language_id: str, version: int, text: str) -> None:
        self.uri = uri
        self.language_id = language_id
        self.version = version
        self._lines = split_lines(text)
        self._text: str | None = text

    @classmethod
    def of(cls, item: Any) -> "Document":
        """From LSP's TextDocumentItem. Raises DocumentError."""
        values = [_field(item, name) for name in ("uri", "languageId", "version", "text")]
        if [type(value) for value in values] != [str, str, int, str]:
            raise DocumentError("a document was opened without its uri, language, version or text")
        return cls(*values)

    @property
    def text(self) -> str:
        """All of it."""
        if self._text is None:
            self._text = "".join(self._lines)
        return self._text

    @property
    def num_lines(self) -> int:
        """At least one: an empty document is an empty line."""
        return len(self._lines)

    def line(self, number: int) -> str:
        """A line without its end; empty beyond the last one."""
        return self._lines[number].rstrip("\r\n") if number < len(self._lines) else ""

    def length(self, number: int) -> int:
        """Code points of a line with its end."""
        return len(self._lines[number])

    def apply(self, version: Any, changes: Any, encoding: str) -> None:
        """Follow a didChange. Raises DocumentError, the document as before or partly changed."""
        if not isinstance(version, int) or not isinstance(changes, Sequence):
            raise DocumentError("a change without version or changes")
        for change in changes:
            text = _field(change, "text")
            if not isinstance(text, str):
                raise DocumentError("a change without text")
            if isinstance(change, Mapping) and change.get("range") is not None:
                begin, end = (Position.of(_field(change["range"], name)) for name in ("start", "end"))
                self._replace(self.locate(begin, encoding), self.locate(end, encoding), text)
            else:
                self._lines, self._text = split_lines(text), text
        self.version = version

    def locate(self, position: Position, encoding: str) -> Position:
        """The same place with `character` in code points. What lies beyond an end is moved there, as LSP wants."""
        if position.line >= len(self._lines):
            return Position(len(self._lines) - 1, len(self._lines[-1]))
        line = self.line(position.line)
        return Position(position.line, num_points(line, position.character, encoding))

    def units(self, position: Position, encoding: str) -> Position:
        """The inverse of `locate` for a place in the document."""
        return Position(position.line, num_units(self.line(position.line)[: position.character], encoding))

    def offset(self, position: Position) -> int:
        """Code points before a place given in code points."""
        return sum(map(len, self._lines[: position.line])) + position.character

    def split(self, position: Position) -> tuple[str, str]:
        """The text before and after a place given in code points."""
        before, after = self._lines[: position.line], self._lines[position.line + 1 :]
        line = self._lines[position.line]
        head, tail = line[: position.character], line[position.character :]
        return "".join((*before, head)), "".join((tail, *after))

    def item(self) -> dict[str, Any]:
        """As LSP's TextDocumentItem."""
        return {"uri": self.uri, "languageId": self.language_id, "version": self.version, "text": self.text}

    def _replace(self, begin: Position, end: Position, text: str) -> None:
        if end < begin:
            begin, end = end, begin
        first, last = begin.line, end.line
        block = self._lines[first][: begin.character] + text + self._lines[last][end.character :]
        # A line feed joins the carriage return before it. None can come behind: the block has the end of its last line.
        if first and block.startswith("\n") and self._lines[first - 1].endswith("\r"):
            first -= 1
            block = self._lines[first] + block
        lines = split_lines(block)
        if last + 1 < len(self._lines) and not lines[-1]:
            lines.pop()  # the block ended with the end of a line, and there is more
        self._lines[first : last + 1] = lines
        self._text = None


def split_lines(text: str) -> list[str]:
    """Lines with their ends; the last one has none and may be empty."""
    lines = _LINE.findall(text)
    return lines[:-1] if len(lines) > 1 and not lines[-1] and not lines[-2].endswith(("\r", "\n")) else lines


def num_units(text: str, encoding: str) -> int:
    """Code units of a text."""
    if encoding == UTF_32 or text.isascii():
        return len(text)
    if encoding == UTF_16:
        return len(text) + sum(char > "\uffff" for char in text)
    return len(text.encode("utf-8", "surrogatepass"))


def num_points(line: str, count: int, encoding: str) -> int:
    """Code points of `line` before its code unit number `count`, at most all; inside a character: those before it."""
    if encoding == UTF_32 or line.isascii():
        return min(count, len(line))
    seen = 0
    for index, char in enumerate(line):
        seen += num_units(char, encoding)
        if seen > count:
            return index
    return len(line)


def _field(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else None


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
