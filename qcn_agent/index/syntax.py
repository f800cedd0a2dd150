"""Syntax trees: the only module that imports tree_sitter.

Positions are bytes from 0 and lines from 1. Trees are made under a limit of bytes and of seconds; what exceeds one, and
a language without a grammar, has no tree, and then nothing is claimed about it.
"""

import functools
import importlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import tree_sitter

from qcn_agent.index.languages import BY_NAME
from qcn_agent.index.limits import MAX_BYTES, MAX_PARSE_S

Node = tree_sitter.Node
Tree = tree_sitter.Tree

_QUERIES = Path(__file__).with_name("queries")
_READ_BYTES = 1 << 16
_MAX_FAULTS = 20
_BLOCKS = ("block", "body", "suite", "statement_list", "compound_statement", "declaration_list", "field_list")


@dataclass(frozen=True)
class NodeSpan:
    """A node of a tree: its kind as the grammar names it, bytes [start, end), lines inclusive."""

    kind: str
    start_byte: int
    end_byte: int
    start_line: int
    end_line: int


@dataclass(frozen=True)
class SyntaxFault:
    """Something the grammar could not read, or (`is_missing`) had to imagine; `text` begins with it."""

    line: int
    column_bytes: int
    is_missing: bool
    text: str


@dataclass(frozen=True)
class _Grammar:
    language: tree_sitter.Language
    tags: tree_sitter.Query


@functools.cache
def _grammar(name: str) -> _Grammar:
    """The grammar and the tag query of a language. Immutable, hence shared."""
    language = BY_NAME[name]
    factory = getattr(importlib.import_module(language.module), language.factory)
    loaded = tree_sitter.Language(factory())
    sources = ((_QUERIES / f"{query}.scm").read_text(encoding="utf-8") for query in language.queries)
    return _Grammar(loaded, tree_sitter.Query(loaded, "\n".join(sources)))


def parse(source: bytes, language: str, *, max_s: float = MAX_PARSE_S) -> Tree | None:
    """The tree of `source`; None without a grammar, over MAX_BYTES, or when it would take over `max_s` seconds."""
    if language not in BY_NAME or len(source) > MAX_BYTES:
        return None
    deadline = time.monotonic() + max_s
    parser = tree_sitter.Parser(_grammar(language).language)
    try:
        return parser.parse(
            lambda offset, _point: source[offset : offset + _READ_BYTES],
            progress_callback=lambda _offset, _has_error: time.monotonic() > deadline,
        )
    except ValueError:  # cancelled
        return None


def tag_matches(tree: Tree, language: str) -> list[tuple[int, dict[str, list[Node]]]]:
    """What the tag queries find: (pattern, captures by name).

    Without a limit of time, because the binding's progress callback crashes here (0.26.1): run it in a worker.
    """
    return tree_sitter.QueryCursor(_grammar(language).tags).matches(tree.root_node)


def faults(tree: Tree) -> tuple[SyntaxFault, ...]:
    """The first faults of a tree, in the order of the text; empty where it is clean."""
    found: list[SyntaxFault] = []
    for node in _faulty_nodes(tree.root_node):
        row, column = node.start_point
        text = (node.text or b"").split(b"\n", 1)[0][:80].decode("utf-8", "replace")
        found.append(SyntaxFault(row + 1, column, node.is_missing, node.type if node.is_missing else text))
        if len(found) == _MAX_FAULTS:
            break
    return tuple(found)


def _faulty_nodes(root: Node) -> Iterator[Node]:
    """ERROR and MISSING nodes, outermost first; clean subtrees are not entered."""
    pending = [root]
    while pending:
        node = pending.pop()
        if node.is_error or node.is_missing:
            yield node
        elif node.has_error:
            pending.extend(reversed(node.children))


def new_faults(before: bytes, after: bytes, language: str) -> tuple[SyntaxFault, ...]:
    """The edit gate: the faults that an edit brings into a file that had none.

    Empty where there are none, where `before` had some already, and where either can't be judged.
    """
    tree = parse(after, language)
    if tree is None or not tree.root_node.has_error:
        return ()
    old = parse(before, language)
    return () if old is None or old.root_node.has_error else faults(tree)


def span_of(node: Node) -> NodeSpan:
    """Where a node lies."""
    return NodeSpan(node.type, node.start_byte, node.end_byte, node.start_point[0] + 1, node.end_point[0] + 1)


def enclosing(tree: Tree, byte: int) -> tuple[NodeSpan, ...]:
    """The named nodes around the position `byte`, innermost first, the whole file last."""
    node: Node | None = tree.root_node.named_descendant_for_byte_range(byte, byte)
    spans: list[NodeSpan] = []
    while node is not None:
        spans.append(span_of(node))
        node = node.parent
    return tuple(spans)


def block_end(tree: Tree, byte: int) -> int:
    """The end of the innermost block (body, statement list, suite) around `byte`, else the end of the file."""
    for span in enclosing(tree, byte):
        if span.kind.endswith(_BLOCKS):
            return span.end_byte
    return tree.root_node.end_byte
