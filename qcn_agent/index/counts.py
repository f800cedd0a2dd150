"""Word counts of a file as a compact blob: which term occurs how often in which field."""

import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from qcn_agent.index.words import FIELDS

Keys = npt.NDArray[np.uint32]
Counts = npt.NDArray[np.uint8]

_NO_KEY = 7  # term 0 does not exist, and there is no field 7
_NOTHING: tuple[Keys, Counts] = (np.empty(0, np.uint32), np.empty(0, np.uint8))


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
        decoded = [decode(blob) if blob else _NOTHING for blob in blobs]
        self._num_files = len(blobs)
        rows = np.repeat(np.arange(len(blobs), dtype=np.int64), [len(keys) for keys, _counts in decoded])
        keys = np.concatenate([keys for keys, _counts in [*decoded, _NOTHING]]).astype(np.int64)
        self._counts = np.concatenate([counts for _keys, counts in [*decoded, _NOTHING]])
        self._keys = (rows << 32) | keys
        self._fields = rows * 8 + (keys & 7)

    def counts_of(self, term_ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """[files, terms, fields]; zeros for a term_id below 0."""
        keys = np.where(term_ids[:, None] < 0, _NO_KEY, term_ids[:, None] * 8 + np.arange(len(FIELDS)))
        wanted = (np.arange(self._num_files, dtype=np.int64)[:, None, None] << 32) | keys
        if not len(self._keys):
            return np.zeros(wanted.shape, np.int64)
        places = np.minimum(np.searchsorted(self._keys, wanted), len(self._keys) - 1)
        return np.where(self._keys[places] == wanted, self._counts[places], 0).astype(np.int64)

    def lengths(self) -> npt.NDArray[np.int64]:
        """The number of words: [files, fields]."""
        sums = np.bincount(self._fields, weights=self._counts, minlength=8 * self._num_files)
        return sums.reshape(-1, 8)[:, : len(FIELDS)].astype(np.int64)
