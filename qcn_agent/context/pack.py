"""What was packed: parts in the order in which the model reads them, each of one file and already tokens."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qcn_agent.engine.generator import IntArray


class Tier(enum.StrEnum):
    """Where a part stands: in the order of the members, inside a tier by path.

    FRAME is what surrounds head and issue part. Of the issue part the best-ranked files, which are edited most likely,
    come late; after them what has uncommitted changes, and last what fills the budget, as any edit changes what fits.
    """

    FRAME = "frame"
    INSTRUCTIONS = "instructions"
    TREE = "tree"
    SIGNATURES = "signatures"
    RELATED = "related"
    LIKELY = "likely"
    BEST = "best"
    CHANGED = "changed"
    MORE = "more"


@dataclass(frozen=True)
class Part:
    """A stretch of the pack: `arrays` are the tokens (int32) of its pieces, `lines` the lines of `path` that it shows.

    Lines are (first, last) pairs from 1; a part that shows no text of a file has none. `rank` is that of the file (0 is
    the best), -1 for parts that are no answer to the issue.
    """

    tier: Tier
    path: str
    arrays: tuple[IntArray, ...]
    lines: tuple[tuple[int, int], ...] = ()
    rank: int = -1

    @property
    def num_tokens(self) -> int:
        """Length of all its pieces."""
        return sum(map(len, self.arrays))


@dataclass(frozen=True)
class Pack:
    """Context for one issue. `head` does not depend on it, so its tokens are those of every run on the same tree."""

    budget: int
    head: tuple[Part, ...]
    issue_part: tuple[Part, ...]

    @property
    def parts(self) -> tuple[Part, ...]:
        """All of them, in order."""
        return (*self.head, *self.issue_part)

    @property
    def arrays(self) -> tuple[IntArray, ...]:
        """The token ids of all pieces, in order."""
        return tuple(array for part in self.parts for array in part.arrays)

    @property
    def tokens(self) -> IntArray:
        """All token ids, shape (num_tokens,)."""
        return np.concatenate([*self.arrays, np.empty(0, np.int32)]).astype(np.int32, copy=False)

    @property
    def num_head_tokens(self) -> int:
        """Length of the head."""
        return _length(self.head)

    @property
    def num_tokens(self) -> int:
        """Length of all of it, never more than `budget`."""
        return _length(self.parts)

    def places(self, limit: int) -> tuple[int, ...]:
        """Where the `limit` best-ranked files begin (numbers of tokens before them), sorted.

        They are what is edited most likely, and the engine can come back to a place that it was told of.
        """
        starts: dict[int, int] = {}
        position = 0
        for part in self.parts:
            if part.rank >= 0 and part.tier in (Tier.BEST, Tier.CHANGED):
                starts.setdefault(part.rank, position)
            position += part.num_tokens
        return tuple(sorted(starts[rank] for rank in sorted(starts)[:limit]))

    def to_json(self) -> dict[str, Any]:
        """What was packed, as JSON values, without the tokens."""
        return {
            "budget": self.budget,
            "num_tokens": self.num_tokens,
            "num_head_tokens": self.num_head_tokens,
            "num_issue_tokens": _length(self.issue_part),
            "parts": [_part_json(part) for part in self.parts],
        }


def _length(parts: Sequence[Part]) -> int:
    return sum(part.num_tokens for part in parts)


def _part_json(part: Part) -> dict[str, Any]:
    lines = [list(span) for span in part.lines]
    return {"tier": str(part.tier), "path": part.path, "lines": lines, "num_tokens": part.num_tokens}
