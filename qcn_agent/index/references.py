"""The names that a file uses, and on which lines, packed as columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qcn_agent.index import columns


@dataclass(frozen=True)
class ReferenceTable:
    """`counts[i]` says how often `names[i]` is used; its (first) lines are those where `owners` is i, ascending."""

    names: Sequence[str]
    counts: npt.NDArray[np.int64]
    owners: npt.NDArray[np.int64]
    lines: npt.NDArray[np.int64]

    def lines_of(self, name: str) -> tuple[int, ...]:
        """The (first) lines, from 1, on which a name is used; none where it is not."""
        if name not in self.names:
            return ()
        return tuple(self.lines[self.owners == self.names.index(name)].tolist())

    def used_between(self, first_line: int, last_line: int) -> list[str]:
        """The names used on these lines (inclusive), by their first line there, then by name."""
        inside = np.flatnonzero((self.lines >= first_line) & (self.lines <= last_line))
        owners, firsts = np.unique(self.owners[inside], return_index=True)
        lines = self.lines[inside[firsts]].tolist()
        return [name for _line, name in sorted(zip(lines, map(self.names.__getitem__, owners.tolist()), strict=True))]


def pack_references(lines: Mapping[str, Sequence[int]], counts: Mapping[str, int]) -> bytes:
    """The (first) lines of each name, ascending, and how often it is used, as a blob; b"" for none."""
    totals = [counts[name] for name in lines]
    every = [line for found in lines.values() for line in found]
    numbers = [np.array(column, np.uint32) for column in (totals, [len(found) for found in lines.values()], every)]
    return columns.pack(numbers, list(lines))


def unpack_references(blob: bytes) -> ReferenceTable:
    """What went into `pack_references`."""
    (counts, sizes, lines), names = columns.unpack(blob, 3)
    owners = np.repeat(np.arange(len(names)), sizes)
    return ReferenceTable(names, counts.astype(np.int64), owners, lines.astype(np.int64))
