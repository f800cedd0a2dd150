"""Prompt lookup: a text that copies itself goes on as it did before. Pure: tokens in, guesses out.

After Saxena 2023, "Prompt Lookup Decoding". A guess is only as good as the call that verifies it (`speculation.py`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qcn_agent.engine.generator import IntArray

Positions = NDArray[np.int64]

SHORTEST_MATCH = 3  # tokens; shorter ones are seldom a copy
_WANTED_MATCH = 5  # among matches so long the latest is taken
LONGEST_MATCH = 16  # longer ones are not told apart
_MAX_CANDIDATES = 32  # latest ones of a frequent beginning
_BITS = 21  # of a token in a key of three
_KEY = (1 << _BITS * SHORTEST_MATCH) - 1
_FIRST_TAIL = 256
_OFFSETS = np.arange(SHORTEST_MATCH, LONGEST_MATCH)


@dataclass(frozen=True)
class Draft:
    """What may come next (int32), and how many tokens before it were found again."""

    tokens: IntArray
    num_matched: int


class PromptLookup:
    """A growing path of tokens, and where its latest ones stood before.

    Each three tokens in a row are one integer. Most of them are sorted, the latest ones are searched as they are; they
    are sorted in, too, when they have become a sixteenth of the path. So neither costs a loop over the path.
    """

    def __init__(self, path: IntArray) -> None:
        self._tokens = np.empty(0, np.int32)
        self._keys = np.empty(0, np.int64)  # entry i: of the tokens up to and including i
        self._length = 0
        self._order = np.empty(0, np.int64)  # positions of the sorted keys, equal ones ascending
        self._sorted = np.empty(0, np.int64)
        self.extend(path)

    def __len__(self) -> int:
        return self._length

    def extend(self, tokens: IntArray) -> None:
        """Go on by `tokens`, int32, each below 2^21."""
        begin, end = self._length, self._length + len(tokens)
        if end > len(self._tokens):
            self._grow(end)
        self._tokens[begin:end] = tokens
        if len(tokens) == 1 and begin:  # the decode loop
            self._keys[begin] = ((int(self._keys[begin - 1]) << _BITS) & _KEY) | int(tokens[0])
        else:
            for shift in range(SHORTEST_MATCH):
                source = self._tokens[max(begin - shift, 0) : max(end - shift, 0)].astype(np.int64)
                self._keys[end - len(source) : end] |= source << (_BITS * shift)
        self._length = end
        self._sort_if_due()

    def propose(self, max_tokens: int) -> Draft | None:
        """Up to `max_tokens` (1 or more) that followed the latest occurrence of the longest of 5, 4 or 3 last tokens.

        What overlaps the end is repeated, so a loop is drafted for as long as one likes. None when nothing was found.
        """
        ends = self._occurrences() if self._length > SHORTEST_MATCH else self._order[:0]
        if not len(ends):
            return None
        matched = self._num_matched(ends)
        wanted = np.minimum(matched, _WANTED_MATCH)
        best = int(np.flatnonzero(wanted == wanted.max())[-1])
        begin = int(ends[best]) + 1
        known = self._tokens[begin : min(begin + max_tokens, self._length)]
        return Draft(np.resize(known, max_tokens), int(matched[best]))

    def _occurrences(self) -> Positions:
        """Where the latest three tokens ended before, ascending; the latest ones of many."""
        last, num_sorted = self._length - 1, len(self._sorted)
        key = self._keys[last]
        begin = int(self._sorted.searchsorted(key))
        is_known = begin < num_sorted and self._sorted[begin] == key
        end = int(self._sorted.searchsorted(key, side="right")) if is_known else begin
        known = self._order[max(begin, end - _MAX_CANDIDATES) : end]
        in_tail = np.flatnonzero(self._keys[num_sorted:last] == key)
        found = np.concatenate([known, in_tail + num_sorted]) if len(in_tail) else known
        return found[(found >= SHORTEST_MATCH - 1) & (found < last)][-_MAX_CANDIDATES:]

    def _num_matched(self, ends: Positions) -> Positions:
        """How many tokens up to each of `ends` equal the latest ones."""
        before = ends[:, None] - _OFFSETS
        same = (before >= 0) & (self._tokens[np.maximum(before, 0)] == self._tokens[self._length - 1 - _OFFSETS])
        num_more: Positions = np.logical_and.accumulate(same, axis=1).sum(axis=1)
        return SHORTEST_MATCH + num_more

    def _sort_if_due(self) -> None:
        if self._length - len(self._sorted) <= max(_FIRST_TAIL, self._length // 16):
            return
        self._order = np.argsort(self._keys[: self._length], kind="stable")
        self._sorted = self._keys[self._order]

    def _grow(self, needed: int) -> None:
        capacity = max(needed, 2 * len(self._tokens), 1024)
        tokens, keys = np.zeros(capacity, np.int32), np.zeros(capacity, np.int64)
        tokens[: self._length], keys[: self._length] = self._tokens[: self._length], self._keys[: self._length]
        self._tokens, self._keys = tokens, keys
