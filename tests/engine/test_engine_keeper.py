"""After a crash of llama.cpp one request is lost; the others, the sessions and the engine come back."""

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qcn_agent.config import CompletionConfig, ModelConfig
from qcn_agent.engine.engine_keeper import Call
from qcn_agent.engine.engine_messages import MarkedRequest
from qcn_agent.engine.generator import Event, Finished, GenerationRequest, IntArray, Priority, TextDelta
from qcn_agent.engine.grammar import Grammar
from qcn_agent.engine.isolated_engine import IsolatedEngine
from qcn_agent.engine.status import EngineStatus
from qcn_agent.engine.stream import EventStream
from qcn_agent.errors import EngineDiedError, EngineError, ModelTooLargeError, QuarantinedError
from tests.engine import faulty_process
from tests.engine.faulty_process import POISON

Finish = Callable[[AsyncIterator[Event]], Coroutine[Any, Any, tuple[str, Finished]]]
RandomTokens = Callable[[int, int], IntArray]
RequestFor = Callable[..., GenerationRequest]
ENDLESS = Grammar("root ::= [a-z] root")
ROOT = Path(__file__).parents[2]


def load(config: ModelConfig, path: Path) -> IsolatedEngine:
    """An engine whose process has faults."""
    return IsolatedEngine.load(config, path, module=faulty_process.MODULE)


@pytest.fixture(autouse=True)
def fault(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """`fault(kind)` chooses the fault of processes started from now on."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))))
    monkeypatch.setenv("QCN_TEST_FAULT", "decode")
    return lambda kind: monkeypatch.setenv("QCN_TEST_FAULT", kind)


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pipe: whoever opens it waits for a call that reads POISON; when it is closed, that call aborts."""
    path = tmp_path / "gate"
    os.mkfifo(path)
    monkeypatch.setenv("QCN_TEST_GATE", str(path))
    return path


@pytest.fixture
def engine(model_path: Path, config: ModelConfig) -> Iterator[IsolatedEngine]:
    """A running engine that aborts at POISON."""
    loaded = load(config, model_path)
    yield loaded
    loaded.close()


@pytest.fixture
def poisoned(request_for: RequestFor, random_tokens: RandomTokens) -> Callable[..., GenerationRequest]:
    """`poisoned(seed)`: a request at which the process aborts."""

    def make(seed: int = 7) -> GenerationRequest:
        return request_for(np.append(random_tokens(30, seed), np.int32(POISON)), session="poisoned")

    return make


async def status_when(engine: IsolatedEngine, is_met: Callable[[EngineStatus], bool]) -> EngineStatus:
    """Ask, one round trip after the other, until a condition is met."""
    async with asyncio.timeout(30):
        while not is_met(status := await asyncio.to_thread(engine.status)):
            pass
    return status


async def test_the_request_at_work_is_quarantined(
    engine: IsolatedEngine, finish: Finish, poisoned: Callable[..., GenerationRequest]
) -> None:
    """It ends with an error that says so; the same work is refused, also in another session, without a crash."""
    with pytest.raises(QuarantinedError, match=r"ended \(SIGABRT\).*this request is quarantined") as caught:
        await finish(engine.generate(poisoned()))
    assert caught.value.hint
    for again in (poisoned(), replace(poisoned(), session="other")):
        with pytest.raises(QuarantinedError, match="not run again"):
            await finish(engine.generate(again))
    status = await status_when(engine, lambda status: status.num_restarts == 1)
    assert status.isolation == "process"


async def test_the_engine_is_started_again(
    engine: IsolatedEngine,
    finish: Finish,
    request_for: RequestFor,
    random_tokens: RandomTokens,
    poisoned: Callable[..., GenerationRequest],
) -> None:
    """With the same model and settings in another process, and the next request is served."""
    before = engine.status()
    with pytest.raises(QuarantinedError):
        await finish(engine.generate(poisoned()))
    _, done = await finish(engine.generate(request_for(random_tokens(40, 1), grammar=ENDLESS)))
    after = engine.status()
    assert len(done.tokens) == 8
    assert (after.model_path, after.n_ctx) == (before.model_path, before.n_ctx)
    assert after.engine_pid != before.engine_pid
    assert (after.num_requests, after.num_restarts) == (1, 1)
    assert engine.vocabulary.decode(engine.vocabulary.encode([("x", False)])) == "x"


async def test_sessions_come_back_from_disk(
    engine: IsolatedEngine,
    finish: Finish,
    request_for: RequestFor,
    random_tokens: RandomTokens,
    poisoned: Callable[..., GenerationRequest],
) -> None:
    """What had been written behind is read, not evaluated."""
    prompt = random_tokens(200, 1)
    _, first = await finish(engine.generate(request_for(prompt, grammar=ENDLESS)))
    await status_when(engine, lambda status: status.num_disk_bytes > 0 == status.pending_spill_bytes)
    with pytest.raises(QuarantinedError):
        await finish(engine.generate(poisoned()))
    turn = np.concatenate([prompt, first.tokens, random_tokens(20, 2)])
    _, second = await finish(engine.generate(request_for(turn, grammar=ENDLESS)))
    assert second.usage.num_reused_tokens == 207
    assert engine.status().num_restored_disk_tokens >= 207


async def test_who_only_waited_is_served_by_the_next_process(
    gate: Path,
    model_path: Path,
    config: ModelConfig,
    finish: Finish,
    request_for: RequestFor,
    random_tokens: RandomTokens,
    poisoned: Callable[..., GenerationRequest],
) -> None:
    """Two wait beside the call that aborts: both get whole answers, and nobody sees a part twice."""
    engine = load(config, model_path)
    bad = asyncio.create_task(finish(engine.generate(poisoned())))
    opened = await asyncio.to_thread(gate.open, "wb")
    waiting = [
        asyncio.create_task(finish(engine.generate(request_for(random_tokens(40, seed), session=f"s{seed}"))))
        for seed in range(2)
    ]
    await status_when(engine, lambda status: status.queue_length == 3)
    opened.close()
    with pytest.raises(QuarantinedError):
        await bad
    for _, done in await asyncio.gather(*waiting):
        assert done.usage.num_prompt_tokens == 40
        assert done.usage.num_generated_tokens == len(done.tokens) > 0
    assert engine.status().num_restarts == 1
    engine.close()


async def test_a_deadline_is_not_put_off_by_a_restart(request_for: RequestFor, random_tokens: RandomTokens) -> None:
    """What is sent again has so much less time; what has no deadline gets none."""
    fields = vars(request_for(random_tokens(5, 1)))
    stream = EventStream(asyncio.get_running_loop())
    call = Call(1, MarkedRequest(**fields | {"deadline_ms": 500.0}), stream, asked_at=100.0)
    assert call.request_at(100.2).deadline_ms == pytest.approx(300.0)
    assert Call(1, MarkedRequest(**fields), stream).request_at(100.2).deadline_ms is None


async def test_who_has_had_a_part_is_told_to_ask_again(
    engine: IsolatedEngine,
    finish: Finish,
    request_for: RequestFor,
    random_tokens: RandomTokens,
    poisoned: Callable[..., GenerationRequest],
) -> None:
    """An answer breaks off with an error of its own, and the same request is not kept out."""
    request = request_for(random_tokens(50, 1), max_new_tokens=1900, grammar=ENDLESS)
    async with aclosing(engine.generate(request)) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                break
        with pytest.raises(QuarantinedError):
            await finish(engine.generate(poisoned()))
        with pytest.raises(EngineDiedError, match="not because of this request"):
            async for _ in events:
                pass
    async with aclosing(engine.generate(request)) as events:
        await anext(events)


async def test_a_cancelled_request_is_to_blame_all_the_same(
    gate: Path,
    model_path: Path,
    config: ModelConfig,
    finish: Finish,
    poisoned: Callable[..., GenerationRequest],
) -> None:
    """Its consumer went while the fatal call was under way; who asks for the same is refused."""
    engine = load(config, model_path)
    bad = asyncio.create_task(finish(engine.generate(poisoned())))
    opened = await asyncio.to_thread(gate.open, "wb")
    bad.cancel()
    with pytest.raises(asyncio.CancelledError):
        await bad
    opened.close()
    await status_when(engine, lambda status: status.num_restarts == 1)
    with pytest.raises(QuarantinedError, match="not run again"):
        await finish(engine.generate(poisoned()))
    engine.close()


async def test_three_crashes_end_the_restarts(
    engine: IsolatedEngine,
    finish: Finish,
    request_for: RequestFor,
    random_tokens: RandomTokens,
    poisoned: Callable[..., GenerationRequest],
) -> None:
    """Then all is answered with the same message, at once; closing still works."""
    for seed in range(3):
        with pytest.raises(QuarantinedError):
            await finish(engine.generate(poisoned(seed)))
    with pytest.raises(EngineError, match="three times within five minutes") as caught:
        await finish(engine.generate(request_for(random_tokens(10, 1))))
    with pytest.raises(EngineError, match="three times within five minutes"):
        engine.vocabulary.encode([("x", False)])
    assert "qcn-agent stop" in caught.value.hint
    status = engine.status()
    assert status.num_restarts == 2
    assert "three times within five minutes" in status.fault
    engine.close()


async def test_a_process_killed_at_rest_blames_nobody(
    engine: IsolatedEngine, finish: Finish, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """The same request as before is served by the next one."""
    request = request_for(random_tokens(40, 1), grammar=ENDLESS)
    await finish(engine.generate(request))
    pid = (await status_when(engine, lambda status: status.queue_length == 0)).engine_pid
    os.kill(pid, signal.SIGKILL)  # takes its time: until it is gone it may begin what it is sent
    status = await status_when(engine, lambda status: status.engine_pid != pid)
    await finish(engine.generate(request))
    assert status.num_restarts == 1


async def test_a_signal_without_a_name_is_a_death_like_any_other(engine: IsolatedEngine) -> None:
    """A real-time signal ends the process; the next one comes."""
    os.kill(engine.status().engine_pid, signal.SIGRTMAX - 1)
    status = await status_when(engine, lambda status: status.num_restarts == 1)
    assert status.fault == ""


async def test_a_process_that_is_halted_does_not_halt_us(engine: IsolatedEngine) -> None:
    """The status is the latest known one meanwhile; an answer that comes too late harms nobody."""
    known = engine.status()
    os.kill(known.engine_pid, signal.SIGSTOP)
    try:
        halted = await asyncio.wait_for(asyncio.to_thread(engine.status), 10)
    finally:
        os.kill(known.engine_pid, signal.SIGCONT)
    assert halted.engine_pid == known.engine_pid
    assert engine.vocabulary.decode(engine.vocabulary.encode([("x", False)])) == "x"
    assert engine.status().num_restarts == 0


async def test_a_model_that_can_not_be_loaded_again_ends_the_engine(
    tmp_path: Path, model_path: Path, config: ModelConfig, finish: Finish, poisoned: Callable[..., GenerationRequest]
) -> None:
    """The file is gone at the restart: whoever waits is told that, not something else."""
    path = tmp_path / "model.gguf"
    path.write_bytes(model_path.read_bytes())
    engine = load(config, path)
    path.unlink()
    with pytest.raises(QuarantinedError):
        await finish(engine.generate(poisoned()))
    with pytest.raises(Exception, match=r"model\.gguf"):
        await finish(engine.generate(replace(poisoned(8), session="other")))
    engine.close()


def test_an_abort_while_loading_is_an_error(
    model_path: Path, config: ModelConfig, fault: Callable[[str], None]
) -> None:
    """It is not tried again."""
    fault("load")
    with pytest.raises(EngineError, match=r"while it loaded the model \(SIGABRT\)"):
        load(config, model_path)


def test_a_model_that_would_not_fit_is_not_loaded(
    model_path: Path, config: ModelConfig, fault: Callable[[str], None]
) -> None:
    """The error of the child's own check comes over whole."""
    fault("memory")
    with pytest.raises(ModelTooLargeError) as caught:
        load(config, model_path)
    assert caught.value.hint


def test_a_process_that_makes_no_sense_is_ended(
    model_path: Path, config: ModelConfig, fault: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody waits for ever: an internal error, and the child is gone."""
    fault("babble")
    with pytest.raises(EngineError, match="internal error"):
        load(config, model_path)
    assert "unexpected" in caplog.text
    assert "qcn-engine-keeper" not in {thread.name for thread in threading.enumerate()}


async def test_a_completion_s_crash_is_not_the_agent_s(
    model_path: Path,
    config: ModelConfig,
    finish: Finish,
    request_for: RequestFor,
    random_tokens: RandomTokens,
    poisoned: Callable[..., GenerationRequest],
) -> None:
    """In a context of its own it dies while the agent's request waits at the gate: that one may be asked for again."""
    completion = CompletionConfig(context="own")
    engine = IsolatedEngine.load(config, model_path, completion=completion, module=faulty_process.MODULE)
    asked = request_for(random_tokens(40, 1), max_new_tokens=1500, grammar=ENDLESS)
    with pytest.raises(EngineDiedError):
        async with aclosing(engine.generate(asked)) as events:
            await anext(events)
            with pytest.raises(QuarantinedError):
                await finish(engine.generate(replace(poisoned(), priority=Priority.COMPLETION)))
            async for _ in events:
                pass
    _, done = await finish(engine.generate(asked))
    status = await asyncio.to_thread(engine.status)
    await asyncio.to_thread(engine.close)
    assert len(done.tokens) == 1500
    assert [context.roles for context in status.contexts] == [("agent",), ("completion",)]
