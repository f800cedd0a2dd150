"""Who goes next: classes in strict order, with a guaranteed share for those below. Pure: no clock, no threads.

Each class owes the classes below it a share of the time in which both want to run. While the debt is open the lower
side goes first; so nothing starves, and what a class used while it was alone counts neither for nor against it.
"""

import enum
from collections.abc import Collection
from dataclasses import dataclass

WINDOW_S = 2.0  # of busy time, over which the share of those below completions is guaranteed
_BACKGROUND_SHARE = 0.02
_FIRST_TOKEN_THRESHOLD_S = 0.2  # so a single prompt is read in one go; only a flood of them has to share
_BACKGROUND_THRESHOLD_S = 0.1  # so background work first waits five busy seconds


class Turn(enum.IntEnum):
    """Scheduling classes; the lower value goes first."""

    COMPLETION = 0  # all of a completion
    FIRST_TOKEN = 1  # at most one quantum of prompt is left of something a person waits for
    DECODE = 2
    LONG_PREFILL = 3
    BACKGROUND = 4


@dataclass
class Debt:
    """Seconds that a favoured side owes the other one, so that the other gets `share` of the contended time.

    It is due above `threshold_s` and never grows beyond `limit_s`, so that no burst buys a long monopoly.
    """

    share: float
    threshold_s: float = 0.0
    limit_s: float = WINDOW_S
    owed_s: float = 0.0

    @property
    def is_due(self) -> bool:
        """Whether the other side goes first now."""
        return self.owed_s > self.threshold_s

    def favoured_ran(self, seconds: float) -> None:
        """The favoured side had a turn while the other one waited."""
        self.owed_s = min(self.owed_s + seconds * self.share / (1 - self.share), self.limit_s)

    def settle(self) -> None:
        """Nobody is there to be owed to."""
        self.owed_s = min(self.owed_s, 0.0)

    def other_ran(self, seconds: float) -> None:
        """The other side had a turn. It pays back at most what this one turn overdrew."""
        self.owed_s = max(self.owed_s - seconds, -seconds)


class Turns:
    """Chooses the class of each step. `min_share` (0..1) is what completions leave to the foreground below them."""

    def __init__(self, min_share: float) -> None:
        self.is_settled = True  # nobody owes anybody: steps without contention need not be recorded
        self._background = Debt(_BACKGROUND_SHARE, _BACKGROUND_THRESHOLD_S)
        self._debts = {
            Turn.COMPLETION: Debt(min_share, limit_s=min_share * WINDOW_S),
            Turn.FIRST_TOKEN: Debt(min_share, _FIRST_TOKEN_THRESHOLD_S),
            Turn.DECODE: Debt(0.5),
        }

    @property
    def owed_s(self) -> float:
        """Seconds that completions owe the foreground below them; 0 or less: nothing."""
        return self._debts[Turn.COMPLETION].owed_s

    def choose(self, wanting: Collection[Turn], *, completions_may_wait: bool) -> Turn:
        """The class that goes next of those that want to (at least one)."""
        first, last = min(wanting), max(wanting)
        if first is Turn.COMPLETION and not completions_may_wait:
            return first
        if last is Turn.BACKGROUND and self._background.is_due:
            return last
        foreground = sorted(turn for turn in wanting if turn is not Turn.BACKGROUND)
        for turn in foreground[:-1]:
            if not self._debts[turn].is_due:
                return turn
        return foreground[-1] if foreground else last

    def takes_along(self, chosen: Turn, rider: Turn) -> bool:
        """Whether decodes of class `rider` may share a call with those of `chosen`, which waits a little longer then.

        Only a debt justifies that: a second row makes the call of a mixture of experts much dearer.
        """
        if rider is Turn.BACKGROUND:
            return self._background.is_due
        if rider is not Turn.DECODE or chosen is not Turn.COMPLETION:
            return False
        return self._debts[chosen].is_due and not self._debts[rider].is_due  # else it is a long prefill's turn

    def ran(self, served: Collection[Turn], waiting: Collection[Turn], seconds: float) -> None:
        """Record a step that served some classes while others waited."""
        if max(served) is Turn.BACKGROUND:
            self._background.other_ran(seconds)
        elif Turn.BACKGROUND in waiting:
            self._background.favoured_ran(seconds)
        else:
            self._background.settle()
        for turn, debt in self._debts.items():
            below = [other for other in served if turn < other < Turn.BACKGROUND]
            if below:
                debt.other_ran(seconds)
            elif turn in served and any(turn < other < Turn.BACKGROUND for other in waiting):
                debt.favoured_ran(seconds)
            elif turn in served:
                debt.settle()
        self.is_settled = self._background.owed_s <= 0 and all(debt.owed_s <= 0 for debt in self._debts.values())
