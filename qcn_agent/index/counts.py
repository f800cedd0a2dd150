"""Word counts of a file as a compact blob: which term occurs how often in which field."""

import zlib

import numpy as np
import numpy.typing as npt

from qcn_agent.index.words import FIELDS

Keys = npt.NDArray[np.uint32]
Counts = npt.NDArray[np.uint8]

_NO_KEY = 7  # term 0 does not exist, and there is no field 7


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


def wanted_keys(term_ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The keys of some terms in all fields: [terms, fields]; one that no file has for a term_id below 0."""
    return np.where(term_ids[:, None] < 0, _NO_KEY, term_ids[:, None] * 8 + np.arange(len(FIELDS)))


def looked_up(keys: Keys, counts: Counts, wanted: npt.NDArray[np.int64]) -> Counts:
    """The counts of `wanted_keys`, 0 where a key does not occur."""
    if not len(keys):
        return np.zeros(wanted.shape, np.uint8)
    places = np.searchsorted(keys, wanted.astype(np.uint32))
    places[places == len(keys)] = 0
    found: Counts = np.where(keys[places] == wanted, counts[places], 0)
    return found
