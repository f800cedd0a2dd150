"""How near an answer comes to the line that stood there, and a guess without a model to compare with."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qcn_agent.engine.generator import Vocabulary
from tests.bench.fim_holes import Hole
from tests.bench.stats import Mean, Share

MAX_COPIED, MAX_MATCH = 48, 8  # tokens


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


def copied(hole: Hole, vocabulary: Vocabulary) -> str:
    """Token by token what followed the latest place that ends like the text so far, to the end of the line.

    Places are looked for in the file without the hole, with up to eight equal tokens; nothing where not one is equal.
    """
    before, after = (vocabulary.encode([(text, False)]).tolist() for text in (hole.before, hole.after))
    said: list[int] = []
    while len(said) < MAX_COPIED:
        token = _following(before + said, [*before, *after])
        if token is None:
            break
        said.append(token)
        if "\n" in _text(said, vocabulary).lstrip("\n"):
            break
    return _text(said, vocabulary).lstrip("\n").partition("\n")[0]


def _following(path: list[int], corpus: list[int]) -> int | None:
    """What stands behind the longest match of the path's end, the latest of equals."""
    last, best = path[-1] if path else None, (0, -1)
    for at in range(len(corpus) - 1):
        if corpus[at] == last and at != len(path) - 1:
            length = 1
            while (
                length < MAX_MATCH and length <= at and path[-1 - length : len(path) - length] == [corpus[at - length]]
            ):
                length += 1
            best = max(best, (length, at))
    return None if best[0] == 0 else corpus[best[1] + 1]


def _text(tokens: list[int], vocabulary: Vocabulary) -> str:
    return vocabulary.decode(np.array(tokens, np.int32))
