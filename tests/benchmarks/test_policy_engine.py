"""Our engine on a fake clock: real scheduling and reuse, simulated calls."""

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from qcn_agent.completion.rates import straight
from qcn_agent.engine.backend import Backend
from qcn_agent.engine.generator import Finished, GenerationRequest, Priority, TextDelta, Usage
from tests.bench.policy_engine import SimEngine, call_ms
from tests.fakes.virtual_time import run

RATES = straight(1000.0, 10.0)


def request(
    *tokens: int, num_new: int = 4, session: str = "s", priority: Priority = Priority.COMPLETION
) -> GenerationRequest:
    """Of tokens that are text."""
    boundaries = (len(tokens) // 2,)
    return GenerationRequest(session, np.array(tokens, np.int32), num_new, boundaries, priority=priority)


def simulate(real: Backend, work: Callable[[SimEngine], Awaitable[None]], *, is_hybrid: bool = True) -> SimEngine:
    """Run `work` beside a new engine."""

    async def main() -> SimEngine:
        engine = SimEngine(real, RATES, is_hybrid=is_hybrid)
        task = asyncio.create_task(engine.run())
        await work(engine)
        await asyncio.sleep(0.1)
        task.cancel()
        return engine

    return run(main())


async def used(engine: SimEngine, asked: GenerationRequest) -> Usage:
    """To the end."""
    async for event in engine.generate(asked):
        if isinstance(event, Finished):
            return event.usage
    raise AssertionError("no end")


def test_calls_take_what_the_rates_say(real: Backend) -> None:
    """100 tokens at 1000 a second, then three steps of 10 ms; the first token comes with the end of the prompt."""
    times: list[float] = []

    async def work(engine: SimEngine) -> None:
        async for event in engine.generate(request(*range(300, 400))):
            if isinstance(event, TextDelta):
                times.append(asyncio.get_running_loop().time())
        times.append(asyncio.get_running_loop().time())

    engine = simulate(real, work)

    assert times[0] == pytest.approx(0.1)
    assert times[-1] == pytest.approx(0.13)
    (one,) = engine.completions
    assert (one.num_evaluated_tokens, len(one.tokens)) == (103, 4)


@pytest.mark.parametrize(("is_hybrid", "num_reused"), [(True, 50), (False, 60)])
def test_reuse_is_the_products(real: Backend, is_hybrid: bool, num_reused: int) -> None:
    """A hybrid goes on from the boundary before the difference, another model from the difference itself."""
    found: list[int] = []

    async def work(engine: SimEngine) -> None:
        await used(engine, request(*range(300, 400)))
        found.append((await used(engine, request(*range(300, 360), *range(500, 540)))).num_reused_tokens)

    simulate(real, work, is_hybrid=is_hybrid)

    assert found == [num_reused]


def test_a_completion_goes_before_an_agent(real: Backend) -> None:
    """It waits for the call under way, and shares its steps with nobody."""
    took: list[float] = []

    async def work(engine: SimEngine) -> None:
        agent = asyncio.create_task(
            used(engine, request(*range(600, 900), num_new=500, session="a", priority=Priority.INTERACTIVE))
        )
        await asyncio.sleep(1.005)
        since = asyncio.get_running_loop().time()
        await used(engine, request(*range(300, 320)))
        took.append(asyncio.get_running_loop().time() - since)
        agent.cancel()

    engine = simulate(real, work)

    assert took[0] <= 0.02 + 0.03 + 2 * 0.01
    assert len(engine.completions) == 1


def test_a_cancel_is_seen_after_the_call(real: Backend) -> None:
    """No call is begun for what nobody wants."""

    async def work(engine: SimEngine) -> None:
        task = asyncio.create_task(used(engine, request(*range(300, 400), num_new=1000)))
        await asyncio.sleep(0.2)
        task.cancel()
        await asyncio.sleep(0.1)

    engine = simulate(real, work)

    assert engine.steps_after_cancel == [0]
    assert len(engine.completions[0].tokens) <= 12


def test_one_token_is_a_step_and_more_are_a_prefill() -> None:
    """Never less than a step."""
    assert [call_ms(RATES, size) for size in (1, 5, 100)] == [10.0, 10.0, 100.0]
