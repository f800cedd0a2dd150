"""A file's text cut at the borders of its definitions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from qcn_agent.index.tags import Definition

MAX_LINES = 60  # of what is no single function: longer classes and stretches between definitions are cut
MAX_FUNCTION_LINES = 200
_ATTACHED_LINES = 4  # a shorter stretch before a definition (blank lines, a comment) goes with it
_MAX_DEPTH = 20  # of definitions inside definitions
_FUNCTIONS = frozenset({"function", "method", "macro"})

Lines = tuple[int, int]


@dataclass(frozen=True)
class Chunk:
    """Lines `first` to `last` (from 1, inclusive) of a file; `text` ends with a newline."""

    first: int
    last: int
    text: str


def chunks_of(text: str, definitions: Sequence[Definition]) -> tuple[Chunk, ...]:
    """The whole text in order, nothing left out. Lines end with `\\n` only, as they do for the index."""
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    found: list[Chunk] = []
    for first, last in spans_of(len(lines), definitions):
        body = "\n".join(lines[first - 1 : last])
        found.append(Chunk(first, last, f"{body}\n"))
    return tuple(found)


def spans_of(num_lines: int, definitions: Sequence[Definition]) -> list[Lines]:
    """Stretches that cover the lines 1 to `num_lines`, cut where definitions begin and end.

    A function stays whole up to MAX_FUNCTION_LINES; a class and what lies between definitions up to MAX_LINES.
    """
    fitting = (one for one in definitions if one.start_line < one.end_line <= num_lines)
    ordered = sorted(fitting, key=lambda one: (one.start_line, -one.end_line, one.kind))
    return list(_cut((1, num_lines), ordered)) if num_lines else []


def _cut(span: Lines, inside: Sequence[Definition], depth: int = 0) -> Iterator[Lines]:
    first, last = span
    if last - first < MAX_LINES:
        yield span
        return
    cursor = first
    for child, own in _outermost(inside, span) if depth < _MAX_DEPTH else ():
        start = child.start_line
        if start - cursor > _ATTACHED_LINES:
            yield from _sliced((cursor, start - 1))
            cursor = start
        if child.kind in _FUNCTIONS and child.end_line - cursor < MAX_FUNCTION_LINES:
            yield (cursor, child.end_line)
        else:
            yield from _cut((cursor, child.end_line), own, depth + 1)
        cursor = child.end_line + 1
    if cursor <= last:
        yield from _sliced((cursor, last))


def _outermost(definitions: Sequence[Definition], span: Lines) -> Iterator[tuple[Definition, list[Definition]]]:
    """Each definition that lies in no other one, with those inside it. What fills `span` itself is not among them."""
    number = 0
    while number < len(definitions):
        one, number = definitions[number], number + 1
        if one.end_line > span[1] or (one.start_line, one.end_line) == span:
            continue
        own: list[Definition] = []
        while number < len(definitions) and definitions[number].start_line <= one.end_line:
            own += [definitions[number]] if definitions[number].end_line <= one.end_line else []
            number += 1
        yield one, own


def _sliced(span: Lines) -> Iterator[Lines]:
    """A stretch without definitions, in equal parts of at most MAX_LINES."""
    first, last = span
    count = -(-(last - first + 1) // MAX_LINES)
    for number in range(count):
        begin = first + (last - first + 1) * number // count
        yield begin, first + (last - first + 1) * (number + 1) // count - 1
