"""Word counts of a file as a compact blob: which term occurs how often in which field."""

import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from qcn_agent.index.words import FIELDS

Keys = npt.NDArray[np.uint32]
Counts = npt.NDArray[np.uint8]


def encode(keys: Keys, counts: Counts) -> bytes:
    """Keys are 8 × term_id + field, each once. Stored sorted, as differences, byte plane by byte plane, compressed."""
    order = np.argsort(keys, kind="stable")
    differences = np.diff(keys[order], prepend=np.uint32(0)).astype("<u4")
    planes = np.ascontiguousarray(differences.view(np.uint8).reshape(-1, 4).T)
    return zlib.compress(planes.tobytes() + counts[order].tobytes(), 1)


def decode(blob: bytes) -> tuple[Keys, Counts]:
    """(keys, counts) of `encode`, sorted by key."""
    raw = np.frombuffer(zlib.decompress(blob), np.uint8)
    size = len(raw) // 5
    differences = np.ascontiguousarray(raw[: 4 * size].reshape(4, size).T).view("<u4").ravel()
    return np.cumsum(differences, dtype=np.uint32), raw[4 * size :]


def lengths(keys: Keys, counts: Counts) -> npt.NDArray[np.int64]:
    """The number of words in each field."""
    return np.bincount(keys & 7, weights=counts, minlength=len(FIELDS))[: len(FIELDS)].astype(np.int64)


class CountTable:
    """The counts of several files, to be looked up together; `blobs` are those of `encode`, b"" for no file."""

    def __init__(self, blobs: Sequence[bytes]) -> None:
        raws = [zlib.decompress(blob) if blob else b"" for blob in blobs]
        sizes = np.array([len(raw) // 5 for raw in raws], np.int64)
        planes = [b"".join(raw[k * n : (k + 1) * n] for raw, n in zip(raws, sizes, strict=True)) for k in range(5)]
        low, second, third, high, counts = (np.frombuffer(plane, np.uint8) for plane in planes)
        sums = np.cumsum(np.stack([low, second, third, high], axis=1).view("<u4").ravel(), dtype=np.uint32)
        ends = np.cumsum(sizes)
        before = np.concatenate([np.zeros(1, np.uint32), sums])[ends - sizes]
        self._num_files, self._counts = len(blobs), counts
        self._keys = sums - np.repeat(before, sizes)  # sums run over all files and wrap; a file's keys do not
        self._rows = np.repeat(np.arange(len(blobs)), sizes)

    def counts_of(self, term_ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """[files, terms, fields]; zeros for a term_id below 0."""
        wanted, inverse = np.unique(np.append(np.maximum(term_ids, 0), 0).astype(np.uint32), return_inverse=True)
        terms = self._keys >> 3
        column = np.searchsorted(wanted[:-1], terms)
        found = np.flatnonzero(wanted[column] == terms)
        counts = np.zeros((self._num_files, len(wanted), 8), np.int64)
        counts[self._rows[found], column[found], self._keys[found] & 7] = self._counts[found]
        return counts[:, inverse[:-1], : len(FIELDS)]

    def lengths(self) -> npt.NDArray[np.int64]:
        """The number of words: [files, fields]."""
        places = self._rows * 8 + (self._keys & 7)
        sums = np.bincount(places, weights=self._counts, minlength=8 * self._num_files)
        return sums.reshape(-1, 8)[:, : len(FIELDS)].astype(np.int64)
