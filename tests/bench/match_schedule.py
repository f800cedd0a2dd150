"""What matching and scheduling cost a step, without llama.cpp: `python -m tests.bench.match_schedule JSON`.

Many sessions take turns over a backend that computes nothing until the tree has as many nodes as asked. Then one path
grows; at each length requests differ from it in their last token only. Between them other sessions come back from host
memory. Time inside the backend and the sampler is taken off. Prints one JSON line.
"""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from qcn_agent.config import SchedulerConfig
from qcn_agent.engine.generator import GenerationRequest
from qcn_agent.engine.scheduler import Members, Scheduler
from qcn_agent.engine.sequence import Sequence
from qcn_agent.engine.session import SessionManager
from qcn_agent.engine.stream import EventStream
from tests.bench.null_backend import N_VOCAB, NullBackend, NullSampler

NUM_STATES, NUM_NEW, NUM_TURN_TOKENS = 12, 4, 4


@dataclass
class Clock:
    """Microseconds within the backend. `now` gives seconds."""

    now: Callable[[], float] = time.perf_counter
    backend_us: float = 0.0
    depth: int = 0

    def backend(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed; what it calls of the same kind is not counted twice."""

        def call(*args: Any, **kwargs: Any) -> Any:
            begin = self.now()
            self.depth += 1
            try:
                return function(*args, **kwargs)
            finally:
                self.depth -= 1
                if not self.depth:
                    self.backend_us += 1e6 * (self.now() - begin)

        return call

    def outside(self, function: Callable[[], object]) -> float:
        """Microseconds that a call takes outside the backend."""
        self.backend_us, begin = 0.0, self.now()
        function()
        return 1e6 * (self.now() - begin) - self.backend_us


def instrument(clock: Clock) -> None:
    """Time all that the backend and the sampler offer, for the rest of the process."""
    for kind in (NullBackend, NullSampler):
        for name, member in list(vars(kind).items()):
            if callable(member) and not name.startswith("_"):
                setattr(kind, name, clock.backend(member))


class Step(NamedTuple):
    """Microseconds outside the backend: until it is known what to compute, and in all."""

    schedule_us: float
    whole_us: float


@dataclass
class Desk:
    """A scheduler whose steps are made here, one by one."""

    clock: Clock
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    paths: dict[str, list[int]] = field(default_factory=dict)
    schedule_us: float = 0.0

    def __post_init__(self) -> None:
        backend = NullBackend(1 << 20, NUM_STATES + 1)
        self.manager = SessionManager(backend, NUM_STATES, host_bytes=1 << 40)
        self.scheduler = Scheduler(backend, self.manager, {}, SchedulerConfig(speculate="off"))
        self.scheduler._schedule = self.timed(self.scheduler._schedule)  # type: ignore[method-assign]

    def timed(self, schedule: Callable[[], Members]) -> Callable[[], Members]:
        """The part of a step before its call, timed."""

        def call() -> Members:
            before, begin = self.clock.backend_us, self.clock.now()
            members = schedule()
            self.schedule_us = 1e6 * (self.clock.now() - begin) - (self.clock.backend_us - before)
            return members

        return call

    def draw(self, count: int) -> list[int]:
        """Tokens."""
        return [int(token) for token in self.random.integers(0, N_VOCAB, count)]

    def ask(self, session: str, prompt: list[int], boundaries: tuple[int, ...]) -> list[Step]:
        """One generation to its end."""
        request = GenerationRequest(session, np.array(prompt, np.int32), NUM_NEW, boundaries)
        sequence = Sequence(request, EventStream(self.loop))
        self.scheduler.submit(sequence)
        steps = []
        while self.scheduler.queue_length:
            whole_us = self.clock.outside(self.scheduler.step)
            steps.append(Step(self.schedule_us, whole_us))
        self.paths[session] = prompt + sequence.tokens
        self.loop.run_until_complete(asyncio.sleep(0))
        return steps

    def turn(self, session: str) -> list[Step]:
        """A conversation goes on."""
        prompt = self.paths[session] + self.draw(NUM_TURN_TOKENS)
        return self.ask(session, prompt, (len(prompt),))

    def close(self) -> None:
        """No more of it."""
        self.loop.close()

    def rest(self) -> float:
        """The longest piece of idle work until none is left, or of a hundred."""
        worst = 0.0
        for _ in range(100):
            more: list[bool] = []
            worst = max(worst, self.clock.outside(lambda more=more: more.append(self.manager.idle_work())))  # type: ignore[misc]
            if not more[0]:
                break
        return worst


def fill(desk: Desk, num_sessions: int, num_nodes: int) -> list[str]:
    """Turns of all sessions until the tree is large enough; the sessions' names."""
    heads = [desk.draw(40) for _ in range(10)]
    names = [f"s{number}" for number in range(num_sessions)]
    for number, name in enumerate(names):
        desk.paths[name] = heads[number % 10] + desk.draw(20)
    while desk.manager.cache.kept.tree.num_nodes < num_nodes:
        for name in names:
            desk.turn(name)
    return names


def measure(desk: Desk, names: list[str], lengths: list[int], repeats: int) -> list[dict[str, float]]:
    """Median microseconds at each length.

    `match`, `first`: the step that finds the path, its part before the call and the whole; `later`: one that decodes;
    `back`: matching another session, which comes back from host memory; `idle`: the longest piece of idle work.
    """
    path, rows = desk.draw(1), []
    for length in lengths:
        path += desk.draw(length - len(path))
        desk.ask("long", path, (length - 1, length))
        times: dict[str, list[float]] = {name: [] for name in ("match", "first", "later", "back", "idle")}
        for _ in range(repeats):
            first, *later = desk.ask("long", path[:-1] + desk.draw(1), (length - 1,))
            times["match"].append(first.schedule_us)
            times["first"].append(first.whole_us)
            times["later"] += [step.whole_us for step in later]
            times["back"].append(desk.turn(names[int(desk.random.integers(len(names)))])[0].schedule_us)
            times["idle"].append(desk.rest())
        rows.append({"length": length, **{name: statistics.median(found) for name, found in times.items()}})
    return rows


def main() -> None:
    """Fill, measure, print."""
    settings = json.loads(sys.argv[1])
    clock = Clock()
    instrument(clock)
    desk = Desk(clock)
    names = fill(desk, settings["num_sessions"], settings["num_nodes"])
    desk.manager.check_integrity()
    rows = measure(desk, names, settings["lengths"], settings["repeats"])
    desk.manager.check_integrity()
    desk.close()
    print(json.dumps({"num_nodes": desk.manager.cache.kept.tree.num_nodes, "num_sessions": len(names), "rows": rows}))


if __name__ == "__main__":
    main()
