"""What matching and scheduling cost a step, beside what llama.cpp takes: `python -m tests.bench.match_schedule JSON`.

Many sessions are in the engine. Then one path grows; at each length requests differ from it in their last token only.
Time inside the backend and the sampler is taken off each step of the engine thread. Prints one JSON line.
"""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from qcn_agent.benchmark.held import Setup
from qcn_agent.benchmark.traces import TOKEN_RANGE
from qcn_agent.engine.engine import Engine
from qcn_agent.engine.generator import Finished
from qcn_agent.engine.llama_backend import LlamaBackend
from qcn_agent.engine.llama_sampler import LlamaSampler
from qcn_agent.engine.scheduler import Scheduler
from tests.bench.engine_setup import engine_config, engine_request, read_status

NUM_NEW = 4


@dataclass
class Clock:
    """Microseconds of each step, and of the backend within it. `now` gives seconds."""

    now: Callable[[], float] = time.perf_counter
    steps_us: list[float] = field(default_factory=list)
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

    def step(self, function: Callable[..., bool]) -> Callable[..., bool]:
        """A step of the scheduler, timed without the backend."""

        def call(*args: Any) -> bool:
            self.backend_us, begin = 0.0, self.now()
            worked = function(*args)
            if worked:
                self.steps_us.append(1e6 * (self.now() - begin) - self.backend_us)
            return worked

        return call


def instrument(clock: Clock) -> None:
    """Time all that the backend and the sampler offer, and the scheduler's step. For the rest of the process."""
    for kind in (LlamaBackend, LlamaSampler):
        for name, member in list(vars(kind).items()):
            if callable(member) and not name.startswith("_"):
                setattr(kind, name, clock.backend(member))
    Scheduler.step = clock.step(Scheduler.step)  # type: ignore[method-assign]


async def ask(engine: Engine, session: str, prompt: list[int], boundaries: tuple[int, ...]) -> list[int]:
    """The answer's tokens."""
    request = engine_request(session, prompt, NUM_NEW, boundaries, is_completion=False)
    async for event in engine.generate(request):
        if isinstance(event, Finished):
            return [int(token) for token in event.tokens]
    raise RuntimeError("a generation ended without Finished")


def measure(engine: Engine, clock: Clock, lengths: list[int], num_sessions: int, repeats: int) -> dict[str, Any]:
    """Median microseconds of the step that matches, and of those that decode, at each length."""
    random = np.random.default_rng(0)

    def draw(count: int) -> list[int]:
        return list(random.integers(*TOKEN_RANGE, count).tolist())

    heads = [draw(40) for _ in range(10)]
    for number in range(num_sessions):
        prompt = heads[number % 10] + draw(20)
        asyncio.run(ask(engine, f"s{number}", prompt, (40, len(prompt))))
    held = read_status(engine.status()).num_sessions
    path, rows = draw(1), []
    for length in lengths:
        path += draw(length - len(path))
        asyncio.run(ask(engine, "long", path, (length - 1, length)))
        first, later = [], []
        for _ in range(repeats):
            clock.steps_us.clear()
            asyncio.run(ask(engine, "long", path[:-1] + draw(1), (length - 1,)))
            first.append(clock.steps_us[0])
            later += clock.steps_us[1:]
        rows.append([length, statistics.median(first), statistics.median(later)])
    return {"num_sessions": held, "rows": rows}


def main() -> None:
    """Load, measure, print."""
    settings = json.loads(sys.argv[1])
    clock = Clock()
    instrument(clock)
    setup = Setup(Path(settings["path"]), settings["n_ctx"], settings["n_threads"])
    engine = Engine.load(engine_config(setup), setup.path)
    found = measure(engine, clock, settings["lengths"], settings["num_sessions"], settings["repeats"])
    engine.close()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
