"""What the engine thread does when nobody waits, and a little of it on busy days."""

from collections.abc import Callable

from qcn_agent.engine.session import SessionManager

_IDLE_BUDGET_S = 0.01
_STEPS = 64
_CHECK_EVERY_S = 30.0  # it looks at every node


class Upkeep:
    """Saves what only the device has, and checks the books. Engine thread only, but for `is_due`.

    `has_news()`: somebody waits.
    """

    def __init__(
        self, sessions: SessionManager, clock: Callable[[], float], has_news: Callable[[], bool] = lambda: False
    ) -> None:
        self.is_due = True
        self._sessions = sessions
        self._clock = clock
        self._has_news = has_news
        self._next_step = 0
        self._checked_at = float("-inf")

    def rest(self) -> None:
        """Nobody waits."""
        self.is_due = False  # whatever goes wrong here is not tried again and again
        self.is_due = self._sessions.idle_work(_IDLE_BUDGET_S)
        is_checked = self.is_due or self._clock() - self._checked_at <= _CHECK_EVERY_S
        if not is_checked and self._sessions.check_integrity(self._has_news):
            self._checked_at = self._clock()

    def after(self, num_steps: int) -> None:
        """One piece now and then, or a busy day would never be saved."""
        if num_steps >= self._next_step:
            self._next_step = num_steps + _STEPS
            self._sessions.idle_work(0.0)
