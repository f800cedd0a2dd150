"""Carries events from the engine thread to one consumer on an asyncio loop."""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator

from qcn_agent.engine.generator import Event


class EventStream:
    """Create it on the loop; `push` and `close` may come from any thread.

    However fast events come, at most one wake-up is pending on the loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._ready = asyncio.Event()
        self._lock = threading.Lock()
        self._events: deque[Event] = deque()
        self._wake_pending = False
        self._closed = False
        self._error: Exception | None = None

    def push(self, event: Event) -> None:
        """Hand over one event."""
        with self._lock:
            self._events.append(event)
            self._wake()

    def close(self, error: Exception | None = None) -> None:
        """No event follows; the consumer ends, or raises `error` after the events before it."""
        with self._lock:
            self._closed, self._error = True, error
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

    def _wake(self) -> None:
        if self._wake_pending:
            return
        self._wake_pending = True
        try:
            self._loop.call_soon_threadsafe(self._ready.set)
        except RuntimeError:  # the loop is closed: nobody listens any more
            self._events.clear()
