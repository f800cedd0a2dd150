"""The truth of a session: which tokens were decoded, and where one decode call ended and the next began."""

import numpy as np
from numpy.typing import NDArray

from qcn_agent.engine.generator import IntArray

_INITIAL = 1024


class Ledger:
    """An append-only int32 array that can be cut back. `splits` are the lengths at which a decode call ended."""

    def __init__(self) -> None:
        self._tokens = np.empty(_INITIAL, np.int32)
        self._ends = np.zeros(_INITIAL, np.bool_)
        self._length = 0

    @classmethod
    def of(cls, tokens: IntArray, ends: bytes) -> "Ledger":
        """A ledger of so many tokens; `ends` has a byte each, 1 where a call ended."""
        ledger = cls()
        ledger._grow(len(tokens))
        ledger._tokens[: len(tokens)], ledger._ends[: len(tokens)] = tokens, np.frombuffer(ends, np.bool_)
        ledger._length = len(tokens)
        return ledger

    def __len__(self) -> int:
        return self._length

    @property
    def tokens(self) -> IntArray:
        """What was decoded; a view, valid until the next append."""
        return self._tokens[: self._length]

    @property
    def ends(self) -> NDArray[np.bool_]:
        """Whether a decode call ended after each token; a view, valid until the next append."""
        return self._ends[: self._length]

    @property
    def splits(self) -> tuple[int, ...]:
        """Lengths after each decode call, ascending."""
        return tuple(int(index) + 1 for index in np.flatnonzero(self._ends[: self._length]))

    def append(self, tokens: IntArray) -> None:
        """Record the tokens of one decode call."""
        begin, end = self._length, self._length + len(tokens)
        if begin == end:
            return
        if end > len(self._tokens):
            self._grow(end)
        if end - begin == 1:  # the decode loop: slices cost more than the values
            self._tokens[begin] = tokens[0]
        else:
            self._tokens[begin:end] = tokens
            self._ends[begin : end - 1] = False
        self._ends[end - 1] = True
        self._length = end

    def truncate(self, length: int) -> None:
        """Keep the first `length` tokens. Whatever comes next is another call."""
        self._length = min(length, self._length)
        if self._length:
            self._ends[self._length - 1] = True

    def _grow(self, needed: int) -> None:
        capacity = max(needed, 2 * len(self._tokens))
        tokens, ends = np.empty(capacity, np.int32), np.zeros(capacity, np.bool_)
        tokens[: self._length] = self._tokens[: self._length]
        ends[: self._length] = self._ends[: self._length]
        self._tokens, self._ends = tokens, ends
