"""Events cross from the engine thread to a loop, in order and with few wake-ups."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any, cast

import pytest

from qcn_agent.engine.generator import PrefillProgress
from qcn_agent.engine.stream import EventStream
from qcn_agent.errors import EngineError


class CountingLoop:
    """Stands for a loop that is busy: it records wake-ups and runs none."""

    def __init__(self) -> None:
        self.wakes: list[Callable[[], Any]] = []

    def call_soon_threadsafe(self, callback: Callable[[], Any]) -> None:
        """Record."""
        self.wakes.append(callback)


class ClosedLoop:
    """Stands for a loop that was closed."""

    def call_soon_threadsafe(self, callback: Callable[[], Any]) -> None:
        """Refuse, as asyncio does."""
        raise RuntimeError("Event loop is closed")


def _event(number: int) -> PrefillProgress:
    return PrefillProgress(number, 1000)


async def _drain(stream: EventStream) -> list[int]:
    return [event.num_done_tokens async for event in stream.events() if isinstance(event, PrefillProgress)]


async def test_events_arrive_in_order_from_another_thread() -> None:
    """A thousand events pushed as fast as a thread can arrive complete and in order."""
    stream = EventStream(asyncio.get_running_loop())

    def produce() -> None:
        for number in range(1000):
            stream.push(_event(number))
        stream.close()

    thread = threading.Thread(target=produce)
    thread.start()
    assert await _drain(stream) == list(range(1000))
    thread.join()


async def test_an_error_comes_after_the_events_before_it() -> None:
    """The consumer sees what was made, then the error."""
    stream = EventStream(asyncio.get_running_loop())
    stream.push(_event(1))
    stream.close(EngineError("broken"))
    seen = []
    with pytest.raises(EngineError, match="broken"):
        async for event in stream.events():
            seen.append(event)
    assert seen == [_event(1)]


async def test_events_pushed_while_consuming_are_not_lost() -> None:
    """An event between two reads is delivered by its own wake-up."""
    stream = EventStream(asyncio.get_running_loop())
    stream.push(_event(1), urgent=True)
    events = stream.events()
    assert await anext(events) == _event(1)
    stream.push(_event(2), urgent=True)
    assert await anext(events) == _event(2)
    await events.aclose()


def test_at_most_one_wake_up_is_pending() -> None:
    """While the loop has not run, further events wake nobody."""
    loop = CountingLoop()
    stream = EventStream(cast(asyncio.AbstractEventLoop, loop))
    for number in range(100):
        stream.push(_event(number), urgent=True)
    stream.close()
    assert len(loop.wakes) == 1


def test_events_that_nobody_waits_for_wake_fifty_times_a_second_at_most() -> None:
    """A token each millisecond for a second gives 50 wake-ups when each is consumed at once."""
    loop, now = CountingLoop(), [0.0]
    stream = EventStream(cast(asyncio.AbstractEventLoop, loop), clock=lambda: now[0])
    for number in range(1000):
        now[0] = number / 1000
        stream.push(_event(number))
        if loop.wakes and not stream._ready.is_set():
            stream._take()
    assert 45 <= len(loop.wakes) <= 51


def test_an_urgent_event_wakes_at_once() -> None:
    """The first text of an answer does not wait for the interval."""
    loop = CountingLoop()
    stream = EventStream(cast(asyncio.AbstractEventLoop, loop), clock=lambda: 0.0)
    stream.push(_event(1))
    stream._take()
    stream.push(_event(2))
    assert len(loop.wakes) == 1
    stream.push(_event(3), urgent=True)
    assert len(loop.wakes) == 2


def test_a_closed_loop_does_not_hurt_the_engine() -> None:
    """Pushing to a consumer whose loop is gone is silent."""
    stream = EventStream(cast(asyncio.AbstractEventLoop, ClosedLoop()))
    stream.push(_event(1))
    stream.close(EngineError("late"))
    assert stream._take() == ([], True)
