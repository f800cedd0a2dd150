"""A second opinion on the best files: the seam for a model that reads skeletons and gives an order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

NUM_RERANKED = 40


@dataclass(frozen=True)
class Skeleton:
    """A file as it is shown: its path and a line for each definition (signature, then the first line of its doc)."""

    path: str
    lines: tuple[str, ...]


class Reranker(Protocol):
    """Orders files by how likely they must change."""

    def order(self, issue: str, skeletons: Sequence[Skeleton]) -> Sequence[str]:
        """Paths, best first; the ones left out follow in the order they came in."""
        ...


def reordered(paths: Sequence[str], answer: Sequence[str]) -> list[str]:
    """`paths` with those of the answer in front, in its order; what is not among the paths is passed over."""
    known = set(paths)
    front = list(dict.fromkeys(path for path in answer if path in known))
    return [*front, *(path for path in paths if path not in set(front))]
