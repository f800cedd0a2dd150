"""Numbers and texts of one file as a blob: columns, because then they are read without an object for each row."""

import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.uint32]

_LEVEL = 1


def pack(columns: Sequence[Numbers], texts: Sequence[str]) -> bytes:
    """Columns of any lengths and texts, compressed; b"" where there is nothing. A newline in a text becomes a space."""
    if not texts and not any(map(len, columns)):
        return b""
    header = np.array([len(columns), len(texts), *map(len, columns)], "<u4").tobytes()
    joined = "\n".join(texts)
    if joined.count("\n") >= max(1, len(texts)):
        joined = "\n".join([text.replace("\n", " ") for text in texts])
    return zlib.compress(header + planes_of(np.concatenate(columns)) + joined.encode("utf-8", "replace"), _LEVEL)


def unpack(blob: bytes, num_columns: int) -> tuple[list[Numbers], list[str]]:
    """What went into `pack`; `num_columns` empty ones and no texts for b""."""
    if not blob:
        return [np.zeros(0, np.uint32)] * num_columns, []
    raw = zlib.decompress(blob)
    header = np.frombuffer(raw, "<u4", 2 + num_columns)
    ends = np.cumsum(header[2:])
    first_byte, num_numbers = header.nbytes, int(ends[-1])
    numbers = numbers_of(np.frombuffer(raw, np.uint8, 4 * num_numbers, first_byte))
    joined = raw[first_byte + 4 * num_numbers :].decode()
    return np.split(numbers, ends[:-1]), joined.split("\n") if header[1] else []


def planes_of(numbers: Numbers) -> bytes:
    """The lowest byte of each, then the second, …: what compresses well is together."""
    return np.ascontiguousarray(numbers.astype("<u4").view(np.uint8).reshape(-1, 4).T).tobytes()


def numbers_of(planes: npt.NDArray[np.uint8]) -> Numbers:
    """What went into `planes_of`."""
    rows = np.empty((len(planes) // 4, 4), np.uint8)
    for number, plane in enumerate(planes.reshape(4, -1)):
        rows[:, number] = plane
    return rows.view("<u4").ravel()
