"""Completions in a context of their own, over the agent's weights or a second model's, in both kinds of hosting."""

import asyncio
import contextlib
import dataclasses
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qcn_agent.config import CompletionConfig, ModelConfig, SchedulerConfig
from qcn_agent.engine import memory
from qcn_agent.engine.engine import Engine
from qcn_agent.engine.engines import Engines
from qcn_agent.engine.generator import (
    Event,
    Finished,
    GenerationRequest,
    IntArray,
    Priority,
    SamplingParams,
    TextDelta,
    Usage,
)
from qcn_agent.engine.grammar import Grammar
from qcn_agent.engine.isolated_engine import IsolatedEngine
from qcn_agent.errors import ContextFullError, EngineError, RequestCancelledError

Finish = Callable[[AsyncIterator[Event]], Awaitable[tuple[str, Finished]]]
RandomTokens = Callable[[int, int], IntArray]
RequestFor = Callable[..., GenerationRequest]
AnyEngines = Engines | IsolatedEngine
Load = Callable[..., AnyEngines]

ENDLESS = Grammar("root ::= [a-z] root")
GREEDY = SamplingParams(temperature=0)
OWN = CompletionConfig(context="own", n_ctx=1024)


@pytest.fixture(params=[Engines, IsolatedEngine], ids=["off", "process"])
def load(request: pytest.FixtureRequest, model_path: Path, config: ModelConfig) -> Iterator[Load]:
    """`load(completion, ...)`: the embedded model as the agent's, in this process or in one of its own."""
    with contextlib.ExitStack() as cleanup:

        def make(completion: CompletionConfig, **options: Any) -> AnyEngines:
            engines: AnyEngines = request.param.load(config, model_path, completion=completion, **options)
            cleanup.callback(engines.close)
            return engines

        yield make


@pytest.fixture
def engines(model_path: Path, config: ModelConfig) -> Iterator[Engines]:
    """Two contexts over the embedded model, in this process."""
    loaded = Engines.load(config, model_path, completion=OWN)
    yield loaded
    loaded.close()


@pytest.fixture
def completion_for(request_for: RequestFor, random_tokens: RandomTokens) -> RequestFor:
    """`completion_for(seed, ...)`: 30 tokens of prompt, 8 of answer, in session "typing"."""

    def make(seed: int, **changes: Any) -> GenerationRequest:
        request = request_for(random_tokens(30, seed), session="typing", grammar=ENDLESS, priority=Priority.COMPLETION)
        return dataclasses.replace(request, **changes)

    return make


async def test_by_default_there_is_one_context(load: Load, finish: Finish, completion_for: RequestFor) -> None:
    """Both roles are served from the agent's, and nothing is said about it."""
    engines = load(CompletionConfig())
    await finish(engines.generate(completion_for(1)))
    status = await asyncio.to_thread(engines.status)
    (context,) = status.contexts
    assert (context.roles, status.completion_note) == (("agent", "completion"), "")
    assert (context.num_requests, status.num_requests) == (1, 1)
    assert engines.completion.n_ctx == engines.n_ctx


async def test_each_role_has_its_own_context(
    load: Load, finish: Finish, completion_for: RequestFor, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """Requests go by their priority; the status tells them apart, and its list of requests holds both."""
    engines = load(OWN)
    await finish(engines.generate(request_for(random_tokens(100, 1))))
    _, done = await finish(engines.generate(completion_for(1)))
    _, again = await finish(engines.generate(completion_for(1)))
    status = await asyncio.to_thread(engines.status)
    agent, own = status.contexts
    assert (agent.roles, agent.n_ctx, agent.num_requests) == (("agent",), 2048, 1)
    assert (own.roles, own.n_ctx, own.num_requests) == (("completion",), 1024, 2)
    assert own.model_path == agent.model_path
    assert (done.usage.num_reused_tokens, again.usage.num_reused_tokens) == (0, 30)
    assert [record.priority for record in status.requests] == ["interactive", "completion", "completion"]
    assert engines.completion.n_ctx == 1024
    with pytest.raises(ContextFullError):
        await finish(engines.generate(completion_for(1, prompt=random_tokens(1020, 1))))


async def test_a_second_model_makes_the_completions(
    load: Load,
    finish: Finish,
    completion_for: RequestFor,
    attention_model_path: Path,
    model_path: Path,
    config: ModelConfig,
) -> None:
    """Each answer is that of the model which is meant, alone; other work reaches the second model directly."""
    engines = load(CompletionConfig(model=str(attention_model_path)))
    request = completion_for(1, sampling=GREEDY, grammar=None)
    typed, warmed, asked = [
        (await finish(generate(dataclasses.replace(request, priority=priority, session=f"s{n}"))))[1].tokens.tolist()
        for n, (generate, priority) in enumerate(
            (
                (engines.generate, Priority.COMPLETION),
                (engines.completion.generate, Priority.BACKGROUND),
                (engines.generate, Priority.INTERACTIVE),
            )
        )
    ]
    expected = []
    for path in (attention_model_path, model_path):
        alone = Engine.load(config, path)
        expected.append((await finish(alone.generate(request)))[1].tokens.tolist())
        alone.close()
    assert typed == warmed == expected[0]
    assert asked == expected[1]
    assert expected[0] != expected[1]
    status = await asyncio.to_thread(engines.status)
    assert [context.model_path for context in status.contexts] == [str(model_path), str(attention_model_path)]
    assert [context.num_requests for context in status.contexts] == [1, 2]
    assert engines.completion.vocabulary.decode(engines.completion.vocabulary.encode([("def f", False)])) == "def f"


async def test_the_agent_s_own_file_is_no_second_model(load: Load, model_path: Path, tmp_path: Path) -> None:
    """Under another name, too: then nothing is loaded twice, and one context is shared unless told otherwise."""
    (tmp_path / "link.gguf").symlink_to(model_path)
    engines = load(CompletionConfig(model=str(tmp_path / "link.gguf")))
    assert len((await asyncio.to_thread(engines.status)).contexts) == 1


@pytest.mark.parametrize("name", ["missing.gguf", "damaged.gguf", "tokenless.gguf"])
async def test_a_second_model_that_can_not_be_used_leaves_the_agent_s(
    load: Load,
    finish: Finish,
    completion_for: RequestFor,
    tokenless_model_path: Path,
    tmp_path: Path,
    name: str,
) -> None:
    """Completions are made by the agent's model, and the status says why: found out before or while loading."""
    (tmp_path / "damaged.gguf").write_bytes(b"no model")
    (tmp_path / "tokenless.gguf").symlink_to(tokenless_model_path)
    engines = load(CompletionConfig(model=str(tmp_path / name)))
    _, done = await finish(engines.generate(completion_for(1)))
    status = await asyncio.to_thread(engines.status)
    assert done.reason == "length"
    assert status.contexts[0].roles == ("agent", "completion")
    assert name in status.completion_note or "left to right" in status.completion_note


def test_a_context_that_does_not_fit_is_done_without(
    model_path: Path, config: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory for the agent's alone: completions share it, and the status says how much is missing."""
    asked: list[int] = []

    def available(*_: object) -> int:
        asked.append(len(asked))
        return 10 << 20 if len(asked) == 1 else 1 << 40

    monkeypatch.setattr(memory, "available_bytes", available)
    engines = Engines.load(config, model_path, completion=OWN)
    assert len(engines.status().contexts) == 1
    assert "are available" in engines.status().completion_note
    engines.close()


def test_the_weights_are_loaded_once_and_everything_is_freed(engines: Engines) -> None:
    """Two contexts, one model; after `close` neither is left."""
    backends = [engine._backend for engine in (engines.agent, engines.completion)]
    assert backends[0].model is backends[1].model
    assert backends[0]._context != backends[1]._context
    engines.close()
    assert [backend._context for backend in backends] == [None, None]
    assert backends[0].model.handle is None


def test_a_load_that_is_given_up_at_the_second_model_leaves_nothing(
    model_path: Path, attention_model_path: Path, config: ModelConfig
) -> None:
    """The first one is unloaded, its engine thread gone."""
    heard: list[float] = []

    def give_up_late(fraction: float) -> bool:
        heard.append(fraction)
        return len(heard) < 2 or fraction >= heard[-2]  # until it begins anew

    with pytest.raises(RequestCancelledError):
        Engines.load(
            config,
            model_path,
            completion=CompletionConfig(model=str(attention_model_path)),
            on_progress=give_up_late,
        )
    assert not [thread for thread in threading.enumerate() if thread.name == "qcn-engine"]


async def test_a_newer_completion_ends_the_older_one(load: Load, finish: Finish, completion_for: RequestFor) -> None:
    """In their own context as in a shared one; a cancelled one frees it."""
    engines = load(OWN)
    old = asyncio.create_task(anext_end(engines.generate(completion_for(1, max_new_tokens=900))))
    async with contextlib.aclosing(engines.generate(completion_for(2, max_new_tokens=900, session="other"))) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                break
    _, new = await finish(engines.generate(completion_for(3)))
    assert await old is None
    assert new.reason == "length"
    assert (await asyncio.to_thread(engines.status)).contexts[1].num_generated_tokens < 1800


async def anext_end(events: AsyncIterator[Event]) -> Finished | None:
    """The Finished event, if there is one."""
    async for event in events:
        if isinstance(event, Finished):
            return event
    return None


class Overlap:
    """Counts the calls of the model that are under way at once."""

    def __init__(self, engines: Engines) -> None:
        self.most = self._now = 0
        self._lock = threading.Lock()
        for engine in (engines.agent, engines.completion):
            self._watch(engine._backend)

    def _watch(self, backend: Any) -> None:
        decode = backend.decode

        def counted(runs: Any) -> None:
            self._count(1)
            try:
                decode(runs)
            finally:
                self._count(-1)

        backend.decode = counted

    def _count(self, number: int) -> None:
        with self._lock:
            self._now += number
            self.most = max(self.most, self._now)


async def test_completions_wait_for_one_call_of_the_agent_at_most(
    engines: Engines, finish: Finish, completion_for: RequestFor, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """While the agent reads and writes, forty of two editors: no two calls at once, none waits for a second turn."""
    overlap = Overlap(engines)
    prompts = (random_tokens(60, 1), random_tokens(1500, 2))
    load = [
        asyncio.create_task(
            anext_end(engines.generate(request_for(p, session=f"a{n}", max_new_tokens=400, grammar=ENDLESS)))
        )
        for n, p in enumerate(prompts)
    ]
    usages: list[Usage] = []
    for seed in range(40):
        request = completion_for(seed, session=f"editor{seed % 2}", max_new_tokens=1 + seed % 12)
        usages.append((await finish(engines.generate(request)))[1].usage)
    still_busy = not all(task.done() for task in load)
    ends = await asyncio.gather(*load)
    assert still_busy
    assert overlap.most == 1
    assert [usage.steps_waited for usage in usages if usage.steps_waited > 1] == []
    assert sum(usage.steps_waited for usage in usages) > 0
    assert engines.status().max_completion_steps_waited <= 1
    assert all(end is not None and end.reason == "length" for end in ends)


async def test_a_completion_cuts_the_agent_s_call_short(
    model_path: Path,
    config: ModelConfig,
    finish: Finish,
    completion_for: RequestFor,
    request_for: RequestFor,
    random_tokens: RandomTokens,
) -> None:
    """Across contexts as within one; the chunk is read again, and the answer comes to its end."""
    engines = Engines.load(
        dataclasses.replace(config, n_ubatch=512),
        model_path,
        completion=OWN,
        scheduling=SchedulerConfig(abort_ms=0.001),
    )
    await finish(engines.generate(request_for(random_tokens(600, 5), session="first")))  # so that times are known
    reading = asyncio.create_task(anext_end(engines.generate(request_for(random_tokens(1900, 2), session="agent"))))
    seed = 0
    while not reading.done():
        await finish(engines.generate(completion_for(seed, max_new_tokens=1)))
        seed += 1
    end, status = await reading, engines.status()
    engines.close()
    assert status.num_aborted_steps > 0
    assert status.max_completion_steps_waited <= 1
    assert end is not None
    assert end.usage.num_generated_tokens > 0


async def test_requests_of_both_contexts_end_when_the_engines_are_closed(
    model_path: Path,
    config: ModelConfig,
    completion_for: RequestFor,
    request_for: RequestFor,
    random_tokens: RandomTokens,
) -> None:
    """Each with an EngineError; nobody waits for ever at the gate."""
    engines = Engines.load(config, model_path, completion=OWN)
    requests = (
        request_for(random_tokens(50, 1), max_new_tokens=1900, grammar=ENDLESS),
        completion_for(1, max_new_tokens=900),
    )
    streams = [engines.generate(request) for request in requests]
    for stream in streams:
        await anext(stream)
    await asyncio.to_thread(engines.close)
    for stream in streams:
        with pytest.raises(EngineError, match="closed"):
            await anext_end(stream)


async def test_a_session_is_forgotten_in_both(
    engines: Engines, finish: Finish, completion_for: RequestFor, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """By its name, whoever made it; completions leave nothing on disk."""
    await finish(engines.generate(request_for(random_tokens(50, 1), session="x")))
    await finish(engines.generate(completion_for(1, session="x")))
    engines.drop_session("x")
    await finish(engines.generate(request_for(random_tokens(50, 2), session="y")))
    await finish(engines.generate(completion_for(2, session="y")))
    for engine in (engines.agent, engines.completion):
        assert [session.name for session in engine.status().sessions] == ["y"]
    assert np.isclose(engines.completion.status().num_disk_bytes, 0)
