"""What a traced engine writes, and that a trace changes nothing else."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from qcn_agent.config import ModelConfig
from qcn_agent.engine import trace
from qcn_agent.engine.engine import Engine
from qcn_agent.engine.generator import GenerationRequest, IntArray, Priority, SamplingParams

RandomTokens = Callable[[int, int], IntArray]
GREEDY = SamplingParams(temperature=0.0)


async def events_of(
    model_path: Path, config: ModelConfig, requests: list[GenerationRequest], path: Path, finish: Any
) -> tuple[list[dict[str, Any]], list[list[int]]]:
    """Serve the requests one after another; the trace, and the answers."""
    engine = await asyncio.to_thread(lambda: Engine.load(config, model_path, trace=path))
    try:
        answers = [(await finish(engine.generate(request)))[1].tokens.tolist() for request in requests]
    finally:
        await asyncio.to_thread(engine.close)
    return trace.read(path), answers


async def test_every_call_and_every_request_is_in_the_trace(
    model_path: Path, config: ModelConfig, tmp_path: Path, random_tokens: RandomTokens, finish: Any
) -> None:
    """Six sessions over four states: prefills, decodes, restores from device and host, snapshots, spills, counters."""
    small = replace(config, max_states=4, host_cache_mb=64, disk_cache_mb=0)
    prompts = [random_tokens(150, number) for number in range(6)]
    requests = [GenerationRequest(f"s{n}", prompt, 5, sampling=GREEDY) for n, prompt in enumerate(prompts)]
    again = np.concatenate([prompts[0], random_tokens(9, 99)])
    requests.append(GenerationRequest("s0", again, 5, sampling=GREEDY, priority=Priority.COMPLETION))
    events, _ = await events_of(model_path, small, requests, tmp_path / "trace.json", finish)
    engine = [event for event in events if event["ph"] == "X" and event["tid"] == 0]
    by_name = {name: [e["args"] for e in engine if e["name"] == name] for name in {e["name"] for e in engine}}
    assert by_name.keys() == {"prefill", "decode", "restore", "snapshot", "spill"}
    assert sum(args["tokens"] for args in by_name["prefill"]) == 6 * 150 + 9
    assert all(args["rows"] == args["tokens"] == 1 for args in by_name["decode"])
    assert {args["class"] for args in by_name["prefill"]} == {"interactive", "completion"}
    assert len(by_name["restore"]) == 7
    last = by_name["restore"][-1]
    assert (last["from"], last["device"] + last["host"], last["disk"]) == ("host", 150, 0)
    assert sum(args["bytes"] for args in by_name["spill"]) > 0
    tracks = [event for event in events if event["ph"] == "X" and event["tid"] > 0]
    assert {event["tid"] for event in tracks} == set(range(1, 8))
    assert {event["name"] for event in tracks} == {"queue", "prefill", "decode"}
    counters = {event["name"] for event in events if event["ph"] == "C"}
    assert counters == {"device states", "host bytes", "pending spill"}


async def test_spans_of_the_engine_are_nested_or_apart(
    model_path: Path, config: ModelConfig, tmp_path: Path, random_tokens: RandomTokens, finish: Any
) -> None:
    """One thread does one thing at a time, so no two overlap half-way (0.2 µs are rounding)."""
    requests = [GenerationRequest(f"s{n}", random_tokens(100, n), 3, boundaries=(50,)) for n in range(4)]
    small = replace(config, max_states=4, host_cache_mb=64, disk_cache_mb=0)
    events, _ = await events_of(model_path, small, requests, tmp_path / "trace.json", finish)
    spans = sorted((e["ts"], -e["dur"]) for e in events if e["ph"] == "X" and e["tid"] == 0)
    open_until: list[float] = []
    for begin, negative in spans:
        while open_until and open_until[-1] <= begin + 0.2:
            open_until.pop()
        assert not open_until or begin - negative <= open_until[-1] + 0.2
        open_until.append(begin - negative)


async def test_a_trace_changes_no_token(
    model_path: Path, config: ModelConfig, tmp_path: Path, random_tokens: RandomTokens, finish: Any
) -> None:
    """Answers are those of an engine without one."""
    requests = [GenerationRequest("s", random_tokens(90, n), 6, sampling=GREEDY) for n in range(3)]
    settings = replace(config, disk_cache_mb=0)
    _, traced = await events_of(model_path, settings, requests, tmp_path / "trace.json", finish)
    engine = await asyncio.to_thread(Engine.load, settings, model_path)
    plain = [(await finish(engine.generate(request)))[1].tokens.tolist() for request in requests]
    await asyncio.to_thread(engine.close)
    assert traced == plain


async def test_a_call_that_fails_says_so(
    model_path: Path, config: ModelConfig, tmp_path: Path, random_tokens: RandomTokens, finish: Any
) -> None:
    """Two generations that don't fit together: the call without room is in the trace, and both are served."""
    small = replace(config, n_ctx=512, disk_cache_mb=0, host_cache_mb=0)
    path = tmp_path / "trace.json"
    engine = await asyncio.to_thread(lambda: Engine.load(small, model_path, trace=path))
    requests = [GenerationRequest(name, random_tokens(400, ord(name)), 3, sampling=GREEDY) for name in "ab"]
    await asyncio.gather(*(finish(engine.generate(request)) for request in requests))
    await asyncio.to_thread(engine.close)
    failed = [event["args"]["failed"] for event in trace.read(path) if "failed" in event.get("args", {})]
    assert set(failed) == {"ContextFullError"}
