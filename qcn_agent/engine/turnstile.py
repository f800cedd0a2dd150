"""One call of the model at a time on a device that several contexts share. Each has an engine thread and a `Side` here.

Who goes next is what `policy.Turns` says of the classes that want to, as within one scheduler. A completion waits for
one turn of the other side at most. That is one call; or, where completions owe the others time when it arrives, so many
calls in a row as the debt is long, because rows of two contexts can't share a call.
"""

import threading
import time
from collections.abc import Callable

from qcn_agent.engine.backend import AbortFlag
from qcn_agent.engine.policy import WINDOW_S, Turn, Turns

_NEVER = float("-inf")
_GAP_S = 0.005  # a busy side is back for its next call by then, or has something else to do


class Turnstile:
    """The gate of one device. `min_share` (0..1) is what completions leave to the foreground below them."""

    def __init__(self, min_share: float, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self.completion_at = _NEVER  # when the latest completion arrived
        self.num_completions = 0  # that ever arrived
        self._turns = Turns(min_share)
        self._limit_s = min_share * WINDOW_S
        self._pays_until = _NEVER  # completions give way to whom they owe
        self._sides: list[Side] = []
        self._holder: Side | None = None
        self._latest: Side | None = None  # that held it
        self._num_busy = 0  # sides
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)

    @property
    def owed_s(self) -> float:
        """Seconds that completions owe the foreground below them; 0 or less: nothing."""
        return self._turns.owed_s

    @property
    def is_shared(self) -> bool:
        """Whether more than one side has requests: then a step is one call."""
        return self._num_busy > 1

    def side(self) -> "Side":
        """A place for one more engine thread."""
        self._sides.append(Side(self))
        return self._sides[-1]

    def arrive(self, side: "Side", *, is_completion: bool) -> None:
        """`side` has a request from now on. A completion cuts short what others are doing, where they allow that."""
        with self._lock:
            if not side.is_busy:
                self._note_busy(side)
                side.is_passed_over = self._holder not in (None, side)
            if is_completion:
                side.turn = Turn.COMPLETION
                self.completion_at = self.clock()
                self.num_completions += 1
                for other in self._sides:
                    if other is not side and other.flag is not None:
                        other.flag.set()

    def rest(self, side: "Side") -> None:
        """`side` has no request any more."""
        with self._lock:
            self._num_busy -= side.is_busy
            side.is_busy = side.is_passed_over = False
            self._changed.notify_all()

    def settle_first(self) -> None:
        """What is owed to others now is paid before the next call for a completion."""
        with self._lock:
            self._pays_until = self.clock() + max(self.owed_s, _GAP_S)
            self._changed.notify_all()

    def enter(self, side: "Side", turn: Turn) -> bool:
        """Wait until a call of class `turn` may begin. Whether a call of another side was waited for."""
        with self._lock:
            side.turn = turn
            if not side.is_busy:
                self._note_busy(side)
            side.rivals = ()
            if self._num_busy > 1:
                self._wait(side)
            if turn is Turn.COMPLETION:
                self._pays_until = _NEVER
            self._holder = side
            side.num_seen = self.num_completions
            side.entered_at = self.clock()
            is_passed_over, side.is_passed_over = side.is_passed_over, False
            return is_passed_over

    def leave(self, side: "Side") -> None:
        """The call is over."""
        with self._lock:
            self._holder, self._latest = None, side
            side.left_at = self.clock()
            if self._num_busy > 1 or not self._turns.is_settled:
                self._account(side)
                self._changed.notify_all()

    def _note_busy(self, side: "Side") -> None:
        side.is_busy = True
        self._num_busy += 1

    def _wait(self, side: "Side") -> None:
        side.is_at_gate = True
        self._changed.notify_all()  # whoever waits for what this side wanted before may go now
        while not self._may_pass(side):
            self._changed.wait(_GAP_S if self._passes_by_itself() else None)
        side.is_at_gate = False

    def _account(self, side: "Side") -> None:
        """Who was served, who waited, who owes whom."""
        busy = [other for other in self._sides if other is not side and other.is_busy]
        for other in busy:
            other.is_passed_over = True
        wanting = {other.turn for other in busy if other.is_at_gate or other in side.rivals}
        self._turns.ran({side.turn}, wanting, side.left_at - side.entered_at)
        if self.owed_s >= self._limit_s and self._pays_until < side.left_at:
            self._pays_until = side.left_at + self.owed_s

    def _may_pass(self, side: "Side") -> bool:
        if self._holder is not None:
            return False
        rivals = tuple(other for other in self._sides if other is not side and self._is_waited_for(other))
        side.rivals = rivals
        if not rivals:
            return True
        wanting = {side.turn, *(rival.turn for rival in rivals)}
        chosen = self._turns.choose(wanting, completions_may_wait=self.clock() < self._pays_until)
        if side.turn is not chosen:
            return False
        return side is not self._latest or not any(rival.turn is chosen for rival in rivals)

    def _passes_by_itself(self) -> bool:
        """Whether what a side waits for may end without notice: the time for paying, or a short absence."""
        return self.clock() < self._pays_until or any(map(self._is_returning, self._sides))

    def _is_waited_for(self, side: "Side") -> bool:
        """Whether a side is here or on its way. A completion is, wherever it is."""
        return side.is_at_gate or self._is_returning(side) or (side.is_busy and side.turn is Turn.COMPLETION)

    def _is_returning(self, side: "Side") -> bool:
        """Whether a side is just between two calls."""
        return side.is_busy and not side.is_at_gate and self.clock() < side.left_at + _GAP_S


class Side:
    """One engine's place at a gate. Its fields belong to the gate; `flag` is set while the engine is made."""

    def __init__(self, gate: Turnstile) -> None:
        self.gate = gate
        self.flag: AbortFlag | None = None  # polled by a call that a completion of another side may cut short
        self.turn = Turn.BACKGROUND  # of the latest call, or of the next one
        self.is_busy = False  # it has requests
        self.is_at_gate = False
        self.is_passed_over = False  # another side had a call, or the end of one, since this one wanted the next
        self.rivals: tuple[Side, ...] = ()  # that wanted the next call when it got that
        self.num_seen = 0  # completions that had arrived when its latest call began
        self.entered_at = self.left_at = 0.0

    @property
    def others_left_at(self) -> float:
        """When the latest call of another side ended."""
        return max((side.left_at for side in self.gate._sides if side is not self), default=0.0)


class GateFlag(AbortFlag):
    """The flag of a scheduler at a gate: clearing it spares a completion that has come since the call was let in."""

    def __init__(self, side: Side) -> None:
        super().__init__()
        self._side = side
        side.flag = self

    def clear(self) -> None:
        """Let calls run, unless one is to be cut short already."""
        super().clear()
        if self._side.num_seen != self._side.gate.num_completions:
            self.set()
