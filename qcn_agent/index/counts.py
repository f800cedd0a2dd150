"""Word counts of a file as a compact blob: which term occurs how often in which field."""

import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from qcn_agent.index.columns import numbers_of, planes_of
from qcn_agent.index.words import FIELDS

Keys = npt.NDArray[np.uint32]
Counts = npt.NDArray[np.uint8]


def encode(keys: Keys, counts: Counts) -> bytes:
    """Keys are 8 × term_id + field, each once. Stored sorted, as differences, byte plane by byte plane, compressed."""
    order = np.argsort(keys, kind="stable")
    differences = np.diff(keys[order], prepend=np.uint32(0))
    return zlib.compress(planes_of(differences) + counts[order].tobytes(), 1)


def decode(blob: bytes) -> tuple[Keys, Counts]:
    """(keys, counts) of `encode`, sorted by key."""
    raw = np.frombuffer(zlib.decompress(blob), np.uint8)
    size = len(raw) // 5
    return np.cumsum(numbers_of(raw[: 4 * size]), dtype=np.uint32), raw[4 * size :]


def lengths(keys: Keys, counts: Counts) -> npt.NDArray[np.int64]:
    """The number of words in each field."""
    return np.bincount(keys & 7, weights=counts, minlength=len(FIELDS))[: len(FIELDS)].astype(np.int64)


NOTHING: tuple[Keys, Counts] = np.zeros(0, np.uint32), np.zeros(0, np.uint8)


class CountTable:
    """The counts of several files, to be looked up together; `files` are those of `decode`, or NOTHING."""

    def __init__(self, files: Sequence[tuple[Keys, Counts]]) -> None:
        self._num_files = len(files)
        self._keys = np.concatenate([NOTHING[0], *(keys for keys, _counts in files)])
        self._counts = np.concatenate([NOTHING[1], *(counts for _keys, counts in files)])
        self._rows = np.repeat(np.arange(len(files)), [len(keys) for keys, _counts in files])

    def counts_of(self, term_ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """[files, terms, fields]; zeros for a term_id below 0."""
        wanted, inverse = np.unique(np.maximum(term_ids, 0), return_inverse=True)
        terms = self._keys >> 3
        columns = np.zeros(1 + max(int(wanted[-1]) if len(wanted) else 0, int(terms.max(initial=0))), np.uint32)
        columns[wanted] = np.arange(1, len(wanted) + 1)
        columns[0] = 0  # no term has the number 0
        column = columns[terms]
        found = np.flatnonzero(column)
        counts = np.zeros((self._num_files, 1 + len(wanted), 8), np.int64)
        counts[self._rows[found], column[found], self._keys[found] & 7] = self._counts[found]
        return counts[:, 1 + inverse, : len(FIELDS)]

    def lengths(self) -> npt.NDArray[np.int64]:
        """The number of words: [files, fields]."""
        places = self._rows * 8 + (self._keys & 7)
        sums = np.bincount(places, weights=self._counts, minlength=8 * self._num_files)
        return sums.reshape(-1, 8)[:, : len(FIELDS)].astype(np.int64)
