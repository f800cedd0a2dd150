"""The llama-server-like engine."""

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from qcn_agent.completion.rates import straight
from qcn_agent.engine.backend import Backend
from tests.bench.policy_server import Kind, LlamaServer, StopAt, never
from tests.fakes.virtual_time import run


def prompt(*parts: range) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    """Tokens."""
    return np.concatenate([np.array(part, np.int32) for part in parts])


async def ask(
    server: LlamaServer, tokens: np.ndarray[tuple[int], np.dtype[np.int32]], num: int, **options: object
) -> float:
    """Seconds to the end of the answer."""
    since = asyncio.get_running_loop().time()
    slot: int = options.get("slot", 0)  # type: ignore[assignment]
    kind: Kind = options.get("kind", "infill")  # type: ignore[assignment]
    stop_at: StopAt = options.get("stop_at", never)  # type: ignore[assignment]
    async for _ in server.complete(slot, kind, tokens, num, stop_at):
        pass
    return asyncio.get_running_loop().time() - since


def simulate(real: Backend, work: Callable[[LlamaServer], Awaitable[None]], *, is_hybrid: bool = True) -> LlamaServer:
    """Run `work` beside a new server."""

    async def main() -> LlamaServer:
        server = LlamaServer(real, straight(1000.0, 10.0), is_hybrid=is_hybrid)
        task = asyncio.create_task(server.run())
        await work(server)
        task.cancel()
        return server

    return run(main())


@pytest.mark.parametrize(("is_hybrid", "num_read"), [(True, 100), (False, 40)])
def test_a_hybrid_reads_again_what_goes_on_elsewhere(real: Backend, is_hybrid: bool, num_read: int) -> None:
    """Other models go on from the difference."""

    async def work(server: LlamaServer) -> None:
        await ask(server, prompt(range(300, 400)), 2)
        await ask(server, prompt(range(300, 360), range(500, 540)), 1)

    server = simulate(real, work, is_hybrid=is_hybrid)

    assert server.tasks[1].num_evaluated == num_read


def test_what_goes_on_with_all_of_it_is_reused(real: Backend) -> None:
    """Also by a hybrid: prompt and answer."""

    async def work(server: LlamaServer) -> None:
        await ask(server, prompt(range(300, 400)), 1)
        await ask(server, prompt(range(300, 400), range(399, 400), range(700, 710)), 1)

    assert simulate(real, work).tasks[1].num_evaluated == 11


def test_infill_waits_until_a_completion_has_ended(real: Backend) -> None:
    """Tasks of two kinds are not served together; two of a kind are."""
    took: dict[str, float] = {}

    async def work(server: LlamaServer) -> None:
        agent = asyncio.create_task(ask(server, prompt(range(300, 310)), 100, slot=1, kind="completion"))
        await asyncio.sleep(0.1)
        took["infill"] = await ask(server, prompt(range(400, 410)), 2)
        await agent
        agent = asyncio.create_task(ask(server, prompt(range(500, 510)), 100, slot=1, kind="completion"))
        await asyncio.sleep(0.1)
        took["completion"] = await ask(server, prompt(range(600, 610)), 2, kind="completion")
        await agent

    simulate(real, work)

    assert took["infill"] > 0.8
    assert took["completion"] < 0.05


def test_a_stop_ends_it(real: Backend) -> None:
    """With the text up to there."""

    async def work(server: LlamaServer) -> None:
        await ask(server, prompt(range(300, 310)), 50, stop_at=lambda text, ms: 2 if ms > 45 else None)

    (task,) = simulate(real, work).tasks

    assert (len(task.text), len(task.tokens)) == (2, 6)


def test_who_goes_away_is_forgotten_after_the_call(real: Backend) -> None:
    """Whether it runs or waits."""

    async def work(server: LlamaServer) -> None:
        running = asyncio.create_task(ask(server, prompt(range(300, 400)), 500))
        waiting = asyncio.create_task(ask(server, prompt(range(300, 400)), 500))
        await asyncio.sleep(0.15)
        running.cancel()
        waiting.cancel()
        await asyncio.sleep(0.5)

    running, waiting = simulate(real, work).tasks

    assert len(running.tokens) <= 7
    assert waiting.num_evaluated == 0
