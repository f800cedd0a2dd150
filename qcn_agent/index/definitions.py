"""A file's definitions, packed as columns."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np
import numpy.typing as npt

from qcn_agent.index import columns
from qcn_agent.index.tags import Definition

Positions = npt.NDArray[np.int64]

_positions_of = attrgetter("start_byte", "end_byte", "body_byte", "start_line", "end_line")
_texts_of = attrgetter("name", "scope", "kind", "signature", "doc")
_NUM_COLUMNS = 5


@dataclass(frozen=True)
class DefinitionTable:
    """Columns with one entry for each definition, in the order of the text; see tags.Definition for what they are."""

    names: Sequence[str]
    scopes: Sequence[str]
    kinds: Sequence[str]
    signatures: Sequence[str]
    docs: Sequence[str]
    start_bytes: Positions
    end_bytes: Positions
    body_bytes: Positions
    start_lines: Positions
    end_lines: Positions

    def __len__(self) -> int:
        return len(self.names)

    def qualified(self, place: int) -> str:
        """The dotted name of one of them."""
        scope, name = self.scopes[place], self.names[place]
        return f"{scope}.{name}" if scope else name

    def at(self, place: int) -> Definition:
        """One of them as a value."""
        start, end, body, first, last = (int(column[place]) for column in self._positions())
        names = (self.names[place], self.scopes[place], self.kinds[place])
        return Definition(*names, start, end, first, last, body, self.signatures[place], self.docs[place])

    def named(self, name: str) -> Iterator[Definition]:
        """Those with a name, in the order of the text."""
        return (self.at(place) for place, own in enumerate(self.names) if own == name)

    def all(self) -> tuple[Definition, ...]:
        """All of them as values."""
        start, end, body, first, last = (column.tolist() for column in self._positions())
        columns = (self.names, self.scopes, self.kinds, start, end, first, last, body, self.signatures, self.docs)
        return tuple(map(Definition, *columns))

    def _positions(self) -> tuple[Positions, ...]:
        return self.start_bytes, self.end_bytes, self.body_bytes, self.start_lines, self.end_lines


def pack_definitions(definitions: Sequence[Definition]) -> bytes:
    """Definitions in the order of the text as a blob; b"" for none."""
    positions = np.array([_positions_of(one) for one in definitions], np.uint32).reshape(-1, _NUM_COLUMNS).T
    start, end, body, first, last = positions
    steps = [_steps(start), end - start, body - start, _steps(first), last - first]
    texts = zip(*(_texts_of(one) for one in definitions), strict=True)
    return columns.pack(steps, [text for column in texts for text in column])


def unpack_definitions(blob: bytes) -> DefinitionTable:
    """What went into `pack_definitions`."""
    (starts, ends, bodies, first, last), texts = columns.unpack(blob, _NUM_COLUMNS)
    start, line, count = np.cumsum(starts, dtype=np.uint32), np.cumsum(first, dtype=np.uint32), len(starts)
    names, scopes, kinds, signatures, docs = (texts[at * count : (at + 1) * count] for at in range(5))
    positions = (start, start + ends, start + bodies, line, line + last)
    start_bytes, end_bytes, body_bytes, start_lines, end_lines = (column.astype(np.int64) for column in positions)
    return DefinitionTable(
        names, scopes, kinds, signatures, docs, start_bytes, end_bytes, body_bytes, start_lines, end_lines
    )


def _steps(column: columns.Numbers) -> columns.Numbers:
    """From each number to the next; they wrap, so that no order breaks them."""
    return np.diff(column, prepend=np.uint32(0))
