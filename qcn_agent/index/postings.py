"""Which files hold a word, and how well it fits them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Postings:
    """Each file once, and the word's score in it."""

    file_ids: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float64]

    @classmethod
    def of(cls, rows: Sequence[tuple[int, float]]) -> "Postings":
        """From (file_id, score) pairs."""
        pairs = np.fromiter(chain.from_iterable(rows), np.float64, 2 * len(rows)).reshape(-1, 2)
        return cls(pairs[:, 0].astype(np.int64), pairs[:, 1].copy())
