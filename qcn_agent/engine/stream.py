"""Carries events from the engine thread to one consumer on an asyncio loop.

Waking the loop makes two threads contend for the interpreter, which costs a small model more than a token does. So the
loop is woken at once only for what somebody waits for; other events ride along, fifty wake-ups a second at most.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable

from qcn_agent.engine.generator import Event

_WAKE_INTERVAL_S = 0.02


class EventStream:
    """Create it on the loop; `push` and `close` may come from any thread. At most one wake-up is pending."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float] = time.perf_counter) -> None:
        self._loop = loop
        self._clock = clock
        self._ready = asyncio.Event()
        self._lock = threading.Lock()
        self._events: deque[Event] = deque()
        self._wake_pending = False
        self._woken_at = -_WAKE_INTERVAL_S
        self._closed = False
        self._error: Exception | None = None

    @property
    def is_due(self) -> bool:
        """Whether an event pushed now would wake the consumer: until then text is better kept and sent as one."""
        return not self._wake_pending and self._clock() - self._woken_at >= _WAKE_INTERVAL_S

    def push(self, event: Event, *, urgent: bool = False) -> None:
        """Hand over one event: now if `urgent` or if the latest wake-up is a while ago, else with the next one."""
        with self._lock:
            self._events.append(event)
            due = urgent or self._clock() - self._woken_at >= _WAKE_INTERVAL_S
            wake = due and self._claim_wake()
        if wake:
            self._wake()

    def close(self, error: Exception | None = None) -> None:
        """No event follows; the consumer ends, or raises `error` after the events before it."""
        with self._lock:
            self._closed, self._error = True, error
            wake = self._claim_wake()
        if wake:
            self._wake()

    async def events(self) -> AsyncGenerator[Event, None]:
        """All events in order until the stream is closed."""
        while True:
            await self._ready.wait()
            events, closed = self._take()
            for event in events:
                yield event
            if closed:
                break
        if self._error is not None:
            raise self._error

    def _take(self) -> tuple[list[Event], bool]:
        with self._lock:
            self._ready.clear()
            self._wake_pending = False
            events = list(self._events)
            self._events.clear()
            return events, self._closed

    def _claim_wake(self) -> bool:
        """Whether the caller is to wake the loop: false while a wake-up is under way."""
        if self._wake_pending:
            return False
        self._wake_pending = True
        self._woken_at = self._clock()
        return True

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._ready.set)
        except RuntimeError:  # the loop is closed: nobody listens any more
            self._events.clear()
