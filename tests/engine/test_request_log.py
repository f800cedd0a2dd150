"""What each request cost can be read afterwards, from any thread, without a word of what was asked."""

import asyncio
import dataclasses
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qcn_agent.config import ModelConfig
from qcn_agent.engine.engine import Engine
from qcn_agent.engine.generator import GenerationRequest, IntArray, Priority, SamplingParams
from qcn_agent.engine.grammar import Grammar
from qcn_agent.engine.llama_backend import LlamaBackend
from qcn_agent.engine.request_log import MAX_RECORDS
from qcn_agent.engine.session import SessionManager
from qcn_agent.engine.status import RequestRecord
from tests.fakes.desk import Desk

RandomTokens = Callable[[int, int], IntArray]
RequestFor = Callable[..., GenerationRequest]
ENDLESS = Grammar("root ::= [a-z] root")


@pytest.fixture
def desk(backend: LlamaBackend) -> Desk:
    """Over the embedded model; a call takes 4 ms and 1 ms a token."""
    return Desk(backend)


def latest(desk: Desk) -> RequestRecord:
    """The newest record."""
    return desk.scheduler.stats.requests.latest[-1]


def test_times_and_tokens_of_one_request(desk: Desk, request_for: RequestFor, random_tokens: RandomTokens) -> None:
    """130 tokens are read, in calls of 64, 64 and 2; 8 are drawn, 7 of them fed back."""
    desk.run(request_for(random_tokens(130, 1), grammar=ENDLESS))
    record = latest(desk)
    assert (record.session, record.priority, record.ended) == ("s", "interactive", "length")
    assert (record.restored_from, record.num_reused_tokens) == ("none", 0)
    assert (record.num_prompt_tokens, record.num_evaluated_tokens, record.num_generated_tokens) == (130, 137, 8)
    assert (record.queue_ms, record.restore_ms) == (0, 0)  # this clock moves in calls only
    assert record.decode_ms == pytest.approx(7 * 5)
    assert record.ttft_ms == record.prefill_ms > 130


def test_each_ending_has_its_name(desk: Desk, request_for: RequestFor, random_tokens: RandomTokens) -> None:
    """Cancelled, superseded, too late, failed and answered requests are told apart; without a token no first one."""
    typing: Any = {"session": "typing", "priority": Priority.COMPLETION, "grammar": ENDLESS}
    desk.submit(request_for(random_tokens(30, 1), **typing))
    desk.scheduler.step()
    desk.submit(request_for(random_tokens(30, 2), **typing))
    desk.finish()
    cancelled, _ = desk.submit(request_for(random_tokens(30, 3)))
    cancelled.cancel()
    desk.finish()
    desk.submit(request_for(random_tokens(30, 4), deadline_ms=50))
    desk.log.now += 1.0
    desk.finish()
    desk.submit(request_for(random_tokens(30, 5), sampling=SamplingParams(temperature=-1.0)))
    desk.finish()
    records = desk.scheduler.stats.requests.latest
    assert [record.ended for record in records] == ["superseded", "length", "cancelled", "deadline", "error"]
    assert [record.ttft_ms is None for record in records] == [False, False, True, True, True]


def test_a_next_turn_is_restored_from_the_device(
    desk: Desk, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """Its own branch goes on; another session starts at the shared head."""
    head = random_tokens(100, 1)
    desk.run(request_for(head, boundaries=(100,)))
    for name in ("s", "other"):
        desk.run(request_for(np.concatenate([head, random_tokens(20, 2)]), session=name, boundaries=(100,)))
        record = latest(desk)
        assert record.restored_from == "device"
        assert record.num_device_tokens == record.num_reused_tokens >= 100
        assert record.num_host_tokens == record.num_disk_tokens == 0


def test_what_was_displaced_is_restored_from_the_host(
    backend: LlamaBackend, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """With four states, a session that others pushed out comes back from its copies."""
    desk = Desk(backend, max_states=4)
    desk.sessions = SessionManager(backend, 4, host_bytes=64 << 20)
    desk.scheduler = type(desk.scheduler)(backend, desk.sessions, {}, clock=desk.log.clock)
    prompts = {name: random_tokens(150, ord(name)) for name in "abcdef"}
    for name, prompt in prompts.items():
        desk.run(request_for(prompt, session=name))
    desk.run(request_for(np.concatenate([prompts["a"], random_tokens(5, 1)]), session="a"))
    record = latest(desk)
    assert record.restored_from == "host"
    assert record.num_host_tokens + record.num_device_tokens == record.num_reused_tokens == 150
    assert record.num_host_tokens > 0


async def test_after_a_restart_a_session_is_restored_from_disk(
    model_path: Path, config: ModelConfig, request_for: RequestFor, random_tokens: RandomTokens, finish: Any
) -> None:
    """The status says so, is JSON, and holds neither the prompt nor the answer."""
    settings = replace(config, disk_cache_mb=64)
    prompt = random_tokens(150, 1)
    first = await asyncio.to_thread(Engine.load, settings, model_path)
    _, turn = await finish(first.generate(request_for(prompt)))
    await asyncio.to_thread(first.close)
    path = np.concatenate([prompt, turn.tokens, random_tokens(9, 2)])
    second = await asyncio.to_thread(Engine.load, settings, model_path)
    try:
        text, finished = await finish(second.generate(request_for(path)))
        (record,) = second.status().requests
    finally:
        await asyncio.to_thread(second.close)
    assert record.restored_from == "disk"
    assert record.num_disk_tokens == record.num_reused_tokens == finished.usage.num_reused_tokens >= 150
    assert record.restore_ms > 0
    assert record.queue_ms >= record.restore_ms
    shown = json.loads(json.dumps(dataclasses.asdict(record)))
    assert all(isinstance(value, str | int | float) for value in shown.values())
    assert text not in "".join(str(value) for value in shown.values())


def test_pure_attention_names_its_tier(
    make_backend: Callable[..., LlamaBackend],
    attention_model_path: Path,
    request_for: RequestFor,
    random_tokens: RandomTokens,
) -> None:
    """There are no states; KV alone decides."""
    desk = Desk(make_backend(attention_model_path))
    head = random_tokens(100, 1)
    desk.run(request_for(head))
    desk.run(request_for(np.concatenate([head[:70], random_tokens(20, 2)]), session="other"))
    assert (latest(desk).restored_from, latest(desk).num_device_tokens) == ("device", 70)


def test_only_the_latest_are_kept(desk: Desk, request_for: RequestFor, random_tokens: RandomTokens) -> None:
    """However many there were; what a reader holds does not change under it."""
    held = desk.scheduler.stats.requests.latest
    for number in range(MAX_RECORDS + 3):
        desk.run(request_for(random_tokens(3, number), session=f"s{number}", max_new_tokens=1))
    names = [record.session for record in desk.scheduler.stats.requests.latest]
    assert names == [f"s{number}" for number in range(3, MAX_RECORDS + 3)]
    assert held == ()
