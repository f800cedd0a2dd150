"""One call at a time on a shared device: completions go first, wait for one turn at most, and leave the others a share.

The threads are real; the clock stands still but for the calls, which are made by whoever holds the gate.
"""

import os
import threading
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest

from qcn_agent.engine.policy import Turn
from qcn_agent.engine.turnstile import GateFlag, Side, Turnstile

TIMEOUT_S = 30.0


class Call(NamedTuple):
    """Who held the gate, and when."""

    side: Side
    begin: float
    end: float


class Device:
    """A gate, a clock that calls move, and a log of them."""

    def __init__(self) -> None:
        self.now = 100.0
        self.calls: list[Call] = []
        self.num_inside = self.most_inside = 0
        self.workers: set[Side] = set()  # whose threads make one call after another
        self.gate = Turnstile(0.3, lambda: self.now)
        self._news = threading.Condition()

    def call(
        self,
        side: Side,
        turn: Turn,
        seconds: float,
        *,
        act: Callable[[], object] | None = None,
    ) -> bool:
        """One call through the gate; `act` is done in the middle. Whether others had one meanwhile."""
        waited = self.gate.enter(side, turn)
        self.num_inside += 1
        self.most_inside = max(self.most_inside, self.num_inside)
        begin = self.now
        if act is not None:
            act()
        while not all(other.is_at_gate for other in tuple(self.workers) if other is not side):
            os.sched_yield()  # time stands still until all those who want to are here
        self.now += seconds
        self.num_inside -= 1
        with self._news:
            self.calls.append(Call(side, begin, self.now))
            self._news.notify_all()
        self.gate.leave(side)
        return waited

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Until it holds after some call."""
        with self._news:
            assert self._news.wait_for(condition, TIMEOUT_S)

    def completion(self, side: Side, num_calls: int = 8, seconds: float = 0.01) -> int:
        """A whole one; the number of turns that it waited for."""
        self.gate.arrive(side, is_completion=True)
        self.gate.settle_first()
        self.workers.add(side)
        num_waited = sum(self.call(side, Turn.COMPLETION, seconds) for _ in range(num_calls))
        self.workers.discard(side)
        return num_waited


class Work:
    """A thread that makes one call after another while the block lasts."""

    def __init__(self, device: Device, side: Side, turn: Turn, seconds: float) -> None:
        self._device, self._side, self._turn, self._seconds = device, side, turn, seconds
        self._stop = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stop:
            self._device.call(self._side, self._turn, self._seconds)
        self._device.workers.discard(self._side)
        self._device.gate.rest(self._side)

    def __enter__(self) -> "Work":
        self._device.gate.arrive(self._side, is_completion=False)
        self._device.workers.add(self._side)
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._stop = True
        if kind is None:  # else it may be waiting for a completion that was given up
            self._thread.join(TIMEOUT_S)
            assert not self._thread.is_alive()


@pytest.fixture
def device() -> Device:
    """Nothing happens there yet."""
    return Device()


@pytest.fixture
def agent(device: Device) -> Side:
    """The agent's side."""
    return device.gate.side()


@pytest.fixture
def typing(device: Device, agent: Side) -> Side:
    """The completions' side."""
    return device.gate.side()


def share(device: Device, side: Side, begin: float, end: float) -> float:
    """Its part of the time from `begin` to `end`."""
    held = (min(call.end, end) - max(call.begin, begin) for call in device.calls if call.side is side)
    return sum(max(0.0, seconds) for seconds in held) / (end - begin)


def test_who_is_alone_is_never_stopped(device: Device, agent: Side) -> None:
    """Nobody else has anything to do."""
    assert [device.call(agent, Turn.DECODE, 0.01) for _ in range(3)] == [False] * 3


def test_one_call_at_a_time(device: Device, agent: Side, typing: Side) -> None:
    """Three sides of three classes, hundreds of calls: never two at once."""
    third = device.gate.side()
    with (
        Work(device, agent, Turn.DECODE, 0.005),
        Work(device, typing, Turn.LONG_PREFILL, 0.02),
        Work(device, third, Turn.BACKGROUND, 0.01),
    ):
        device.wait_for(lambda: len(device.calls) >= 600)
    assert device.most_inside == 1
    assert {call.side for call in device.calls} == {agent, typing, third}


def test_a_completion_waits_for_the_call_under_way_and_no_other(device: Device, agent: Side, typing: Side) -> None:
    """A hundred times, at any moment of the agent's work: at most one call ends before it, and none comes between."""
    with Work(device, agent, Turn.DECODE, 0.005):
        for _ in range(100):
            device.gate.rest(typing)
            num_before = len(device.calls)
            device.wait_for(lambda: len(device.calls) > num_before + 20)  # noqa: B023 - called at once
            assert device.gate.owed_s <= 0
            device.gate.arrive(typing, is_completion=True)
            num_before = len(device.calls)
            num_waited = device.completion(typing)
            sides = [call.side for call in device.calls[num_before:]]
            first = sides.index(typing)
            assert first <= 1
            assert num_waited <= 1
            assert sides[first : first + 8] == [typing] * 8
        device.gate.rest(typing)


def test_an_arrival_is_enough_to_be_waited_for(device: Device, agent: Side, typing: Side) -> None:
    """A completion comes in the middle of a call; its thread needs a while to get here: nobody slips in before it."""
    device.call(agent, Turn.DECODE, 0.01, act=lambda: device.gate.arrive(typing, is_completion=True))
    with Work(device, agent, Turn.DECODE, 0.01):
        assert device.call(typing, Turn.COMPLETION, 0.02)
        assert [call.side for call in device.calls[:2]] == [agent, typing]
        device.gate.rest(typing)
        device.wait_for(lambda: len(device.calls) >= 4)


@pytest.mark.parametrize("seconds", [0.005, 0.05], ids=["decodes", "reads"])
@pytest.mark.parametrize("rests", [True, False], ids=["one after another", "each ends the one before"])
def test_a_flood_of_completions_leaves_the_others_their_share(
    device: Device, agent: Side, typing: Side, seconds: float, *, rests: bool
) -> None:
    """Over any two busy seconds it is 30%, but for a call of each at either end. Each waits for one turn at most."""
    waited: list[int] = []
    with Work(device, agent, Turn.DECODE, seconds):
        device.wait_for(lambda: bool(device.calls))
        begin = device.now
        while device.now < begin + 12.0:
            if rests:
                waited.append(device.completion(typing))
                device.gate.rest(typing)
            else:
                device.workers.add(typing)
                device.gate.arrive(typing, is_completion=True)
                device.call(typing, Turn.COMPLETION, 0.03)
        device.workers.discard(typing)
        device.gate.rest(typing)
    for start in np.arange(begin, begin + 10.0, 0.1):
        assert share(device, agent, start, start + 2.0) >= 0.3 - (seconds + 0.03)
    assert rests or share(device, typing, begin, begin + 12.0) >= 0.6
    assert max(waited, default=0) <= 1


def test_a_debt_is_paid_before_the_next_completion_begins(device: Device, agent: Side, typing: Side) -> None:
    """The agent waited 0.4 s for one completion; the next one waits while it makes calls of about 0.4 * 3/7 s."""
    with Work(device, agent, Turn.DECODE, 0.005):
        device.wait_for(lambda: bool(device.calls))
        device.completion(typing, num_calls=40)
        owed_s, finished_at = device.gate.owed_s, device.now
        device.completion(typing)
        device.gate.rest(typing)
    begun = next(call.begin for call in device.calls if call.side is typing and call.begin >= finished_at)
    assert owed_s == pytest.approx(0.4 * 3 / 7, abs=0.02)
    assert begun - finished_at == pytest.approx(owed_s, abs=0.006)


def test_background_work_is_not_forgotten(device: Device, agent: Side, typing: Side) -> None:
    """While the other side's answers go on and on it gets about a fiftieth."""
    with Work(device, typing, Turn.DECODE, 0.01), Work(device, agent, Turn.BACKGROUND, 0.01):
        device.wait_for(lambda: {call.side for call in device.calls} == {agent, typing})
        begin = device.now
        device.wait_for(lambda: device.now > begin + 50.0)
    assert 0.01 < share(device, agent, begin, begin + 50.0) < 0.04


def test_sides_of_one_class_take_turns(device: Device, agent: Side, typing: Side) -> None:
    """A completion that has grown old is a decode like others."""
    with Work(device, typing, Turn.DECODE, 0.01), Work(device, agent, Turn.DECODE, 0.01):
        device.wait_for(lambda: {call.side for call in device.calls} == {agent, typing})
        begin = device.now
        device.wait_for(lambda: device.now > begin + 2.0)
    assert share(device, agent, begin, begin + 2.0) == pytest.approx(0.5, abs=0.1)


def test_an_arrival_cuts_the_others_short(device: Device, agent: Side, typing: Side) -> None:
    """A completion sets the agent's flag, not its own side's; any other request sets none."""
    flag, own = GateFlag(agent), GateFlag(typing)
    device.gate.arrive(typing, is_completion=False)
    assert not flag.is_set
    device.gate.arrive(typing, is_completion=True)
    assert (flag.is_set, own.is_set) == (True, False)


def test_clearing_the_flag_misses_no_completion(device: Device, agent: Side, typing: Side) -> None:
    """One that came after the call was let in stays noticed; with the next call it is forgotten."""
    flag = GateFlag(agent)

    def clear_late() -> None:
        device.gate.arrive(typing, is_completion=True)
        flag.clear()
        assert flag.is_set

    device.call(agent, Turn.DECODE, 0.01, act=clear_late)
    device.gate.rest(typing)
    device.call(agent, Turn.DECODE, 0.01, act=flag.clear)
    assert not flag.is_set


@pytest.mark.parametrize("turn", [Turn.BACKGROUND, Turn.LONG_PREFILL, Turn.DECODE])
def test_a_side_that_comes_with_less_than_expected_lets_the_other_go(turn: Turn) -> None:
    """One waits for a completion elsewhere, which ends before its call: the side comes with something less urgent."""
    gate = Turnstile(0.3)
    waiting, expected = gate.side(), gate.side()
    gate.arrive(expected, is_completion=True)
    done: list[Side] = []

    def call(side: Side, wanted: Turn) -> None:
        gate.enter(side, wanted)
        done.append(side)
        gate.leave(side)
        gate.rest(side)

    gate.arrive(waiting, is_completion=False)
    threads = [threading.Thread(target=call, args=(waiting, Turn.FIRST_TOKEN), daemon=True)]
    threads[0].start()
    while not waiting.is_at_gate:
        os.sched_yield()
    with gate._lock:
        pass  # now it sleeps
    threads.append(threading.Thread(target=call, args=(expected, turn), daemon=True))
    threads[1].start()
    for thread in threads:
        thread.join(TIMEOUT_S)
    assert done == [waiting, expected]
