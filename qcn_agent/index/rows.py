"""What the index answers: values of its queries."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qcn_agent.index.record import Depth
from qcn_agent.index.tags import Definition


@dataclass(frozen=True)
class IndexedFile:
    """A file of the workspace: `path` relative to it, `size` in bytes, how far it was read."""

    file_id: int
    path: str
    language: str
    size: int
    depth: Depth
    content_hash: bytes


@dataclass(frozen=True)
class FoundDefinition:
    """A definition and the file it stands in."""

    file_id: int
    path: str
    definition: Definition


@dataclass(frozen=True)
class FoundReferences:
    """How often a file refers to a name, and on which lines (the first ones; from 1)."""

    file_id: int
    path: str
    count: int
    lines: tuple[int, ...]


@dataclass(frozen=True)
class FieldCounts:
    """`counts[file, word, field]` and `lengths[file, field]` (words in all), fields as in words.FIELDS."""

    counts: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]


@dataclass(frozen=True)
class CorpusStats:
    """For BM25F: the number of files, the average length of each field in words, in how many files each word occurs."""

    num_files: int
    average_lengths: tuple[float, ...]
    document_frequencies: dict[str, int]


@dataclass(frozen=True)
class Related:
    """Another file and how strongly it belongs to the one asked about (0 .. 1 for pairs, a weight for co-change)."""

    file_id: int
    path: str
    weight: float
