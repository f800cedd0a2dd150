"""Where words stand in a text: four bytes are compared at once, at every place of the text at once."""

import numpy as np
import numpy.typing as npt

Spots = npt.NDArray[np.int64]

_QUAD = 4


class SearchedText:
    """A text in which many words are sought. Occurrences may overlap, and may lie inside of longer words."""

    def __init__(self, text: bytes) -> None:
        self._num_bytes = len(text)
        padded, num_rows = text + bytes(2 * _QUAD), len(text) // _QUAD + 1
        rows = np.empty((num_rows, _QUAD), np.uint32)
        for offset in range(_QUAD):
            rows[:, offset] = np.frombuffer(padded, "<u4", num_rows, offset)
        self._quads = rows.ravel()  # [i] is what stands at i .. i + 3, as a number

    def spots(self, word: bytes) -> Spots:
        """The places where a word begins, ascending; none for an empty word."""
        if not word:
            return np.zeros(0, np.int64)
        if len(word) < _QUAD:
            mask = np.uint32((1 << 8 * len(word)) - 1)
            found = np.flatnonzero((self._quads & mask) == _number(word))
        else:
            found = np.flatnonzero(self._quads == _number(word[:_QUAD]))
        found = found[found + len(word) <= self._num_bytes]
        for start in range(_QUAD, len(word), _QUAD):
            at = min(start, len(word) - _QUAD)
            found = found[self._quads[found + at] == _number(word[at : at + _QUAD])]
        return found


def _number(piece: bytes) -> np.uint32:
    return np.uint32(int.from_bytes(piece, "little"))
