"""One function inside a file's text, addressed by character offsets: what the mutation kinds work on."""

import ast
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MAX_STRING_CHARS = 20  # longer string constants are prose, not values


@dataclass(frozen=True)
class Mutation:
    """Replace `text[start:end]` by `replacement`."""

    start: int
    end: int
    replacement: str
    kind: str

    def apply(self, text: str) -> str:
        """The text with the bug in it."""
        return text[: self.start] + self.replacement + text[self.end :]


class FunctionSource:
    """A function (or method) of `text`: its nodes, its names, and text segments of its nodes.

    ast counts columns in UTF-8 bytes; only ASCII lines are addressed, where bytes are characters.
    """

    def __init__(self, text: str, node: ast.FunctionDef) -> None:
        self.text = text
        self._lines = text.split("\n")
        self._starts = list(itertools.accumulate((len(line) + 1 for line in self._lines), initial=0))
        self.nodes = [inner for root in _roots(node) for inner in ast.walk(root)]
        self.names = sorted(set(_parameters(node)) | set(_stored_names(self.nodes)))
        self.strings = sorted(set(_short_strings(self.nodes)))
        self._callees = {id(n.func) for n in self.nodes if isinstance(n, ast.Call)}
        self._attributes = sorted({(owner, node.attr, self.is_called(node)) for owner, node in _attributes(self.nodes)})

    def start(self, node: Any) -> int:
        """Offset of the first character of `node`."""
        return self._starts[node.lineno - 1] + int(node.col_offset)

    def end(self, node: Any) -> int:
        """Offset after the last character of `node`."""
        return self._starts[node.end_lineno - 1] + int(node.end_col_offset)

    def is_ascii(self, line: int) -> bool:
        """Whether the 1-based `line` can be addressed."""
        return self._lines[line - 1].isascii()

    def segment(self, node: Any) -> str:
        """Text of `node`, or "" where it can't be addressed."""
        if self.is_ascii(node.lineno) and self.is_ascii(node.end_lineno):
            return self.text[self.start(node) : self.end(node)]
        return ""

    def replace(self, node: Any, new: str, kind: str) -> Iterator[Mutation]:
        """Put `new` in the place of a node that lies on one line."""
        if node.lineno == node.end_lineno and self.is_ascii(node.lineno):
            yield from self.put(self.start(node), self.end(node), new, kind)

    def put(self, start: int, end: int, new: str, kind: str) -> Iterator[Mutation]:
        """Put `new` between two offsets, unless it stands there already."""
        if self.text[start:end] != new:
            yield Mutation(start, end, new, kind)

    def is_called(self, node: ast.AST) -> bool:
        """Whether `node` is the function of a call."""
        return id(node) in self._callees

    def attributes_of(self, owner: str, *, called: bool) -> list[str]:
        """Attribute names used on the variable `owner`, methods and plain attributes apart."""
        return [attr for name, attr, is_called in self._attributes if name == owner and is_called == called]


def _roots(node: ast.FunctionDef) -> list[ast.AST]:
    body: list[ast.AST] = list(node.body)
    first = node.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        body = body[1:]
    return body + [d for d in (*node.args.defaults, *node.args.kw_defaults) if d is not None]


def _parameters(node: ast.FunctionDef) -> Iterator[str]:
    for arg in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
        if arg.arg not in ("self", "cls"):
            yield arg.arg


def _stored_names(nodes: list[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.arg) and node.arg not in ("self", "cls"):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def _short_strings(nodes: list[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < MAX_STRING_CHARS:
            yield node.value


def _attributes(nodes: list[ast.AST]) -> Iterator[tuple[str, ast.Attribute]]:
    """Attributes of plain variables, with the variable's name."""
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield node.value.id, node
