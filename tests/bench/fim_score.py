"""How near an answer comes to the line that stood there, and a guess without a model to compare with."""

from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench.fim_holes import Hole
from tests.bench.stats import Mean, Share

MIN_EQUAL, MAX_EQUAL = 3, 60  # characters
_BEHIND = 1 << 30  # what follows the hole counts as later than what stands before it


@dataclass(frozen=True)
class Answer:
    """What is offered for a hole; "" for nothing. `logprob` is the mean of its first line, where a model said it."""

    text: str
    rest: str
    logprob: float | None = None

    @property
    def is_exact(self) -> bool:
        """The whole rest of the line and no more, blanks at its end aside."""
        return self.text.rstrip() == self.rest.rstrip()

    @property
    def similarity(self) -> float:
        """1 less the edit distance over the longer one's length."""
        one, other = self.text.rstrip(), self.rest.rstrip()
        return 1.0 - distance(one, other) / max(1, len(one), len(other))


def distance(one: str, other: str) -> int:
    """Least number of characters to insert, delete or replace."""
    row = list(range(len(other) + 1))
    for i, char in enumerate(one, 1):
        before, row[0] = row[0], i
        for j, target in enumerate(other, 1):
            before, row[j] = row[j], min(before + (char != target), row[j] + 1, row[j - 1] + 1)
    return row[-1]


@dataclass(frozen=True)
class Score:
    """Of some answers. `exact` is of all holes, the similarity of those for which something is offered."""

    exact: Share
    offered: Share
    similarity: Mean | None

    @classmethod
    def of(cls, answers: Sequence[Answer]) -> "Score":
        """All of them."""
        offered = [answer for answer in answers if answer.text.strip()]
        similar = Mean.of([answer.similarity for answer in offered]) if offered else None
        exact = Share(sum(answer.is_exact for answer in offered), len(answers))
        return cls(exact, Share(len(offered), len(answers)), similar)

    def cells(self) -> list[str]:
        """For a table."""
        return [str(self.exact), f"{self.offered.share:.0%}", str(self.similarity or "–")]


def copied(hole: Hole) -> str:
    """The rest of the line at the place that is most alike: the longest equal text before it, the latest of equals.

    Places are all of the file but the hole; at least three characters have to be equal, else nothing is offered.
    """
    best = (MIN_EQUAL - 1, -1, "")
    for number, text in enumerate((hole.before, hole.after)):
        at = text.find(hole.before[-MIN_EQUAL:])
        while at >= 0 and len(hole.before) >= MIN_EQUAL:
            end = at + MIN_EQUAL
            if number or end < len(text):
                best = max(best, (_num_equal(hole.before, text[:end]), number * _BEHIND + end, text[end:]))
            at = text.find(hole.before[-MIN_EQUAL:], at + 1)
    return best[2].partition("\n")[0]


def _num_equal(one: str, other: str) -> int:
    """Characters that two texts have in common at their ends, at most MAX_EQUAL."""
    limit = min(len(one), len(other), MAX_EQUAL)
    return next((n for n in range(limit) if one[-1 - n] != other[-1 - n]), limit)
