"""What is not tried again after a crash: the request that was at work, and at some point the whole engine."""

import time
from collections import deque
from collections.abc import Callable, Iterable

from qcn_agent.errors import QuarantinedError

QUARANTINE_S = 600.0
CRASH_WINDOW_S = 300.0
MAX_CRASHES = 3


class Quarantine:
    """Requests, by fingerprint, that ended the engine's process within the last ten minutes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[str, float] = {}

    def add(self, fingerprints: Iterable[str]) -> None:
        """Keep them out from now on."""
        now = self._clock()
        self._until = {mark: until for mark, until in self._until.items() if until > now}
        self._until.update((mark, now + QUARANTINE_S) for mark in fingerprints)

    def check(self, fingerprint: str) -> None:
        """Raise QuarantinedError when the request is kept out."""
        left_s = self._until.get(fingerprint, 0.0) - self._clock()
        if left_s > 0:
            raise QuarantinedError(
                "the engine process ended while it worked on the same request a short time ago, so it is not run again",
                hint=f"change the request, or try again in {left_s / 60:.0f} minutes; the daemon's log says more",
            )


class CrashLimit:
    """Whether there were too many crashes in too short a time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._crashes: deque[float] = deque(maxlen=MAX_CRASHES)

    def add(self) -> None:
        """Count a crash that happened now."""
        self._crashes.append(self._clock())

    @property
    def is_reached(self) -> bool:
        """Whether the last three crashes fell into five minutes."""
        return len(self._crashes) == MAX_CRASHES and self._crashes[-1] - self._crashes[0] < CRASH_WINDOW_S
