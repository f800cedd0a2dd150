"""Copies of KV stretches and recurrent states outside the device: in host memory, on disk, or both."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from qcn_agent.engine.backend import Bytes
from qcn_agent.engine.generator import IntArray


def path_keys(digest: hashlib.blake2b, tokens: IntArray, positions: Sequence[int]) -> list[str]:
    """The names of the paths that end at these ascending positions of `tokens`, which follow what was hashed."""
    data, digest, begin = np.ascontiguousarray(tokens, np.int32), digest.copy(), 0
    keys = []
    for position in positions:
        digest.update(data[begin:position].data)
        keys.append(digest.hexdigest())
        begin = position
    return keys


@dataclass(frozen=True)
class Identity:
    """What a blob is a function of: the tokens [start, end) after a path, and their call ends (a byte each).

    `before` and `after` name the whole paths at both ends. A state has `start` = `end` and no tokens.
    """

    start: int
    end: int
    before: str
    after: str
    tokens: bytes = b""
    ends: bytes = b""

    @property
    def is_state(self) -> bool:
        """Whether this is a recurrent state, not a KV stretch."""
        return self.start == self.end


@dataclass(eq=False)
class Blob:
    """One serialised KV stretch (`num_tokens` > 0) or state (0). After a split several nodes use one blob.

    `data` is None when only the file is left. `start` is the position of its first token. `owners` are the projects of
    the node that it ended at when it was made: the very set, so that it follows.
    """

    data: Bytes | None
    num_bytes: int
    start: int
    num_tokens: int
    file: Path | None = None
    num_users: int = 1
    identity: Identity | None = None  # only where there is a disk to write to
    is_lost: bool = False  # it could not be read
    owners: set[str] = field(default_factory=set)


class Arena:
    """The account of host memory: never more than `max_bytes` of blob data. It decides nothing."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.num_bytes = 0
        self.num_states = 0
        self.num_tokens = 0
        self._peak_bytes = 0
        self.peak_states = 0  # when most bytes were held
        self.peak_tokens = 0

    def has_room(self, num_bytes: int) -> bool:
        """Whether so much more fits."""
        return self.num_bytes + num_bytes <= self.max_bytes

    def put(self, data: Bytes, start: int, num_tokens: int) -> Blob:
        """Take over `data` as a new blob with one user."""
        blob = Blob(data, len(data), start, num_tokens)
        self._count(blob, 1)
        return blob

    def fill(self, blob: Blob, data: Bytes) -> None:
        """Give a blob that was only on disk its data again."""
        if blob.data is None:
            blob.data = data
            self._count(blob, 1)

    def empty(self, blob: Blob) -> None:
        """Give up the data; the file, if any, stays."""
        if blob.data is not None:
            blob.data = None
            self._count(blob, -1)

    def release(self, blob: Blob) -> bool:
        """One user less. True when it was the last: the data is gone and the file is the caller's to remove."""
        blob.num_users -= 1
        if blob.num_users:
            return False
        self.empty(blob)
        return True

    def _count(self, blob: Blob, sign: int) -> None:
        self.num_bytes += sign * blob.num_bytes
        self.num_tokens += sign * blob.num_tokens
        self.num_states += sign * (blob.num_tokens == 0)
        if self.num_bytes > self._peak_bytes:
            self._peak_bytes, self.peak_states, self.peak_tokens = self.num_bytes, self.num_states, self.num_tokens
