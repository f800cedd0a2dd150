"""One engine serves many conversations from one loop, and everything that can go wrong has its own error.

All that uses only the public interface is said of both kinds: in this process, and in one of its own.
"""

import asyncio
import dataclasses
import json
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import gguf as gguf_package
import numpy as np
import pytest

from qcn_agent import paths
from qcn_agent.config import ModelConfig
from qcn_agent.engine import memory
from qcn_agent.engine.engine import Engine
from qcn_agent.engine.generator import (
    Event,
    Finished,
    GenerationRequest,
    IntArray,
    LoadedEngine,
    PrefillProgress,
    Priority,
    SamplingParams,
    TextDelta,
)
from qcn_agent.engine.grammar import Grammar
from qcn_agent.engine.isolated_engine import IsolatedEngine
from qcn_agent.errors import (
    ConfigError,
    ContextFullError,
    EngineError,
    ModelFormatError,
    ModelNotFoundError,
    ModelTooLargeError,
    UsageError,
)

Finish = Callable[[AsyncIterator[Event]], Awaitable[tuple[str, Finished]]]
RandomTokens = Callable[[int, int], IntArray]
RequestFor = Callable[..., GenerationRequest]

AnyEngine = Engine | IsolatedEngine
LoadEngine = Callable[..., AnyEngine]

ENDLESS = Grammar("root ::= [a-z] root")


@pytest.fixture(params=[Engine, IsolatedEngine], ids=["off", "process"])
def load_engine(request: pytest.FixtureRequest) -> LoadEngine:
    """Loads an engine of either kind."""
    load: LoadEngine = request.param.load
    return load


@pytest.fixture
def engine(load_engine: LoadEngine, model_path: Path, config: ModelConfig) -> Iterator[AnyEngine]:
    """A running engine over the embedded model."""
    loaded = load_engine(config, model_path)
    yield loaded
    loaded.close()


async def test_events_come_in_order(engine: AnyEngine, request_for: RequestFor, random_tokens: RandomTokens) -> None:
    """Progress up to the whole prompt, then text, then one Finished."""
    generator: LoadedEngine = engine
    events = [
        event
        async for event in generator.generate(request_for(random_tokens(150, 1), grammar=ENDLESS, max_new_tokens=5))
    ]
    kinds = [type(event) for event in events]
    assert kinds == sorted(kinds, key=[PrefillProgress, TextDelta, Finished].index)
    progress = [event for event in events if isinstance(event, PrefillProgress)]
    assert progress[-1] == PrefillProgress(150, 150)
    assert kinds.count(Finished) == 1


async def test_a_conversation_pays_for_new_tokens_only(
    engine: AnyEngine, finish: Finish, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """The next turn of the same session reuses the answer that was fed back."""
    prompt = random_tokens(100, 1)
    _, first = await finish(engine.generate(request_for(prompt, grammar=ENDLESS)))
    turn = np.concatenate([prompt, first.tokens, random_tokens(20, 2)])
    _, second = await finish(engine.generate(request_for(turn, grammar=ENDLESS)))
    assert second.usage.num_reused_tokens == 107
    assert second.usage.num_evaluated_tokens == 1 + 20 + 7


async def test_closing_the_iterator_cancels(
    engine: AnyEngine, finish: Finish, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """An endless answer stops, and the next request is served by the same engine."""
    async with aclosing(
        engine.generate(request_for(random_tokens(50, 1), max_new_tokens=1900, grammar=ENDLESS))
    ) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                break
    await finish(engine.generate(request_for(random_tokens(50, 2), session="other")))
    assert engine.status().num_generated_tokens < 1900


async def test_cancelling_the_task_cancels(
    engine: AnyEngine, finish: Finish, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """The consumer's task ends with CancelledError and the engine is free."""
    started = asyncio.Event()

    async def consume() -> None:
        async for _ in engine.generate(request_for(random_tokens(50, 1), max_new_tokens=1900, grammar=ENDLESS)):
            started.set()

    task = asyncio.create_task(consume())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await finish(engine.generate(request_for(random_tokens(50, 2))))
    assert engine.status().num_generated_tokens < 1900


async def test_several_consumers_are_all_served(
    engine: AnyEngine, finish: Finish, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """Eight requests at once, more than there are sessions, each get their own answer.

    The first token of each is compared, and one may differ: attention adds up in the order of KV cells.
    """
    greedy = SamplingParams(temperature=0)
    prompts = [random_tokens(40, seed) for seed in range(8)]

    async def ask(seed: int, session: str) -> list[int]:
        request = request_for(prompts[seed], session=session, sampling=greedy)
        return [int(token) for token in (await finish(engine.generate(request)))[1].tokens]

    together = await asyncio.gather(*(ask(seed, f"s{seed}") for seed in range(8)))
    alone = [await ask(seed, "alone") for seed in range(8)]
    assert all(len(answer) == 8 for answer in together)
    assert sum(one[0] == other[0] for one, other in zip(together, alone, strict=True)) >= 7


async def test_what_does_not_fit_is_refused_before_it_starts(
    engine: AnyEngine, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """The sum of prompt and answer counts, and the message has the numbers."""
    with pytest.raises(ContextFullError, match="2000 prompt \\+ 49 new tokens exceed the context of 2048"):
        await anext(engine.generate(request_for(random_tokens(2000, 1), max_new_tokens=49)))
    assert engine.status().num_requests == 0


@pytest.mark.parametrize(
    ("prompt", "max_new_tokens"),
    [([], 5), ([5, -1], 5), ([5, 8192], 5), ([5], 0), ([[5, 6]], 5), ([0.5], 5)],
)
async def test_a_malformed_request_is_a_usage_error(
    engine: AnyEngine, request_for: RequestFor, prompt: list[float], max_new_tokens: int
) -> None:
    """Empty prompts, foreign token ids, no room for an answer: none of it reaches llama.cpp."""
    with pytest.raises(UsageError):
        await anext(engine.generate(request_for(np.array(prompt), max_new_tokens=max_new_tokens)))


@pytest.mark.parametrize("project", ["../x", "a.b", "_", "x" * 17, "\n"])
async def test_a_project_s_tag_can_be_part_of_a_file_name(
    engine: AnyEngine, request_for: RequestFor, random_tokens: RandomTokens, project: str
) -> None:
    """Anything else is a usage error."""
    with pytest.raises(UsageError, match="tag"):
        await anext(engine.generate(request_for(random_tokens(5, 1), project=project)))


async def test_a_request_s_own_error_reaches_its_consumer(
    engine: AnyEngine, finish: Finish, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """A grammar that does not parse fails one request; the next is served."""
    with pytest.raises(EngineError, match="does not parse"):
        await finish(engine.generate(request_for(random_tokens(10, 1), grammar=Grammar("root ::= ("))))
    await finish(engine.generate(request_for(random_tokens(10, 1))))


async def test_the_status_counts_and_is_json(
    engine: AnyEngine, finish: Finish, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """Totals, rates, sessions, and what the build can use."""
    for _ in range(2):
        await finish(engine.generate(request_for(random_tokens(100, 1), grammar=ENDLESS, boundaries=(30,))))
    status = engine.status()
    shown = json.loads(json.dumps(dataclasses.asdict(status)))
    assert shown["architecture"] == "qwen3next"
    assert shown["model_path"].endswith(".gguf")
    assert (shown["n_ctx"], shown["selftest"], shown["queue_length"]) == (2048, "passed", 0)
    assert (shown["num_requests"], shown["num_generated_tokens"]) == (2, 16)
    assert (shown["num_reused_tokens"], shown["num_evaluated_tokens"]) == (100, 107 + 7)
    assert shown["sessions"] == [{"name": "s", "num_tokens": 107, "num_snapshots": 2}]
    assert (shown["num_steps"], shown["max_completion_steps_waited"], shown["num_late"]) == (3 + 7 + 1 + 7, 0, 0)
    assert 16 <= shown["prefill_knee_tokens"] <= 64
    assert shown["decode_step_ms"] > 0
    assert shown["prefill_tokens_per_s"] > 0 < shown["decode_tokens_per_s"]
    assert shown["devices"]


async def test_a_dropped_session_is_forgotten(
    engine: AnyEngine, finish: Finish, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """Its tokens are read again."""
    await finish(engine.generate(request_for(random_tokens(100, 1))))
    engine.drop_session("s")
    _, again = await finish(engine.generate(request_for(random_tokens(100, 1))))
    assert again.usage.num_reused_tokens == 0


async def test_a_newer_completion_ends_an_older_one_silently(
    engine: AnyEngine, finish: Finish, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """Its iterator just ends, while an agent's endless answer goes on beside both."""
    endless = request_for(random_tokens(50, 1), max_new_tokens=1900, grammar=ENDLESS)
    typed = request_for(random_tokens(30, 2), session="t", priority=Priority.COMPLETION, grammar=ENDLESS)
    async with aclosing(engine.generate(endless)) as agent:
        await anext(agent)
        async with aclosing(engine.generate(replace(typed, max_new_tokens=1500))) as older:
            seen = [await anext(older)]
            _, newer = await finish(engine.generate(typed))
            seen += [event async for event in older]
        assert not any(isinstance(event, Finished) for event in seen)
        assert len(newer.tokens) == 8
        assert newer.usage.steps_waited <= 1
        assert isinstance(await anext(agent), PrefillProgress | TextDelta)


async def test_closing_ends_waiting_consumers(
    load_engine: LoadEngine,
    model_path: Path,
    config: ModelConfig,
    request_for: RequestFor,
    random_tokens: RandomTokens,
) -> None:
    """They get an error, later ones too, and closing twice is harmless."""
    engine = load_engine(config, model_path)
    events = engine.generate(request_for(random_tokens(50, 1), max_new_tokens=1900, grammar=ENDLESS))
    await anext(events)
    await asyncio.to_thread(engine.close)
    with pytest.raises(EngineError, match="closed"):
        async for _ in events:
            pass
    with pytest.raises(EngineError, match="closed"):
        await anext(engine.generate(request_for(random_tokens(50, 1))))
    engine.close()


def test_metadata_are_the_scalars_of_the_header(engine: AnyEngine) -> None:
    """As text; arrays are left out."""
    assert engine.metadata["general.architecture"] == "qwen3next"
    assert engine.metadata["qwen3next.block_count"].isdigit()
    assert "tokenizer.ggml.tokens" not in engine.metadata


def test_progress_is_reported_while_loading(load_engine: LoadEngine, model_path: Path, config: ModelConfig) -> None:
    """Up to 1.0."""
    seen: list[float] = []
    load_engine(config, model_path, on_progress=seen.append).close()
    assert seen[-1] == 1.0


def test_a_model_that_would_not_fit_is_not_loaded(
    model_path: Path, config: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error comes before the first progress."""
    monkeypatch.setattr(memory, "available_bytes", lambda root: 1 << 20)
    seen: list[float] = []
    with pytest.raises(ModelTooLargeError):
        Engine.load(config, model_path, on_progress=seen.append)
    assert not seen


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        (lambda data: data[:-5000], ModelFormatError, "5000 bytes are missing"),
        (lambda data: b"PK" + data[2:], ModelFormatError, "not a GGUF"),
        (lambda data: data[:200], ModelFormatError, "not a usable GGUF"),
        (lambda data: data.replace(b"qwen3next", b"qwen9next"), ModelFormatError, "qwen9next"),
        (lambda data: b"", ModelFormatError, "empty"),
    ],
)
def test_unusable_files_are_told_apart(
    load_engine: LoadEngine,
    model_path: Path,
    config: ModelConfig,
    tmp_path: Path,
    change: Callable[[bytes], bytes],
    error: type[Exception],
    reason: str,
) -> None:
    """Truncated, not a GGUF, cut inside the header, unknown architecture, empty."""
    path = tmp_path / "broken.gguf"
    path.write_bytes(change(model_path.read_bytes()))
    with pytest.raises(error, match=reason):
        load_engine(config, path)


def test_a_missing_file_is_not_found(load_engine: LoadEngine, config: ModelConfig, tmp_path: Path) -> None:
    """As the name says."""
    with pytest.raises(ModelNotFoundError):
        load_engine(config, tmp_path / "none.gguf")


def test_settings_that_do_not_go_together_free_the_model(
    load_engine: LoadEngine, model_path: Path, config: ModelConfig
) -> None:
    """The context is refused after the weights were loaded; the error is that of the setting."""
    with pytest.raises(ConfigError):
        load_engine(replace(config, kv_type="q4_0", flash_attention=False), model_path)


def _split(model_path: Path, folder: Path) -> list[Path]:
    """The embedded model as two files: all metadata and half of the tensors in the first one."""
    data, reader = model_path.read_bytes(), gguf_package.GGUFReader(model_path)
    pairs = data[24 : int(reader.tensors[0].field.offset)]
    num_pairs = struct.unpack_from("<Q", data, 16)[0]
    half = len(reader.tensors) // 2
    paths = []
    for number, tensors in enumerate((reader.tensors[:half], reader.tensors[half:])):
        infos, blob = b"", b""
        for tensor in tensors:
            shape = [int(extent) for extent in tensor.shape]
            name = tensor.name.encode()
            infos += struct.pack("<Q", len(name)) + name
            infos += struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, int(tensor.tensor_type), len(blob))
            begin = int(tensor.data_offset)
            blob += data[begin : begin + int(tensor.n_bytes)]
            blob += bytes(-len(blob) % 32)
        split = b"".join(
            struct.pack("<Q", len(key)) + key + struct.pack("<IH", 2, value)
            for key, value in ((b"split.no", number), (b"split.count", 2))
        )
        key = b"split.tensors.count"
        split += struct.pack("<Q", len(key)) + key + struct.pack("<Ii", 5, len(reader.tensors))
        count, kept = (num_pairs + 3, pairs) if number == 0 else (3, b"")
        header = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), count) + kept + split + infos
        paths.append(folder / f"mini-{number + 1:05d}-of-00002.gguf")
        paths[-1].write_bytes(header + bytes(-len(header) % 32) + blob)
    return paths


async def test_a_split_model_gives_the_answer_of_the_whole(
    load_engine: LoadEngine,
    engine: AnyEngine,
    config: ModelConfig,
    model_path: Path,
    tmp_path: Path,
    finish: Finish,
    request_for: RequestFor,
    random_tokens: RandomTokens,
) -> None:
    """Any of its files may be named."""
    paths = _split(model_path, tmp_path)
    request = request_for(random_tokens(60, 1), max_new_tokens=12, sampling=SamplingParams(temperature=0))
    expected = (await finish(engine.generate(request)))[1].tokens.tolist()
    for path in paths:
        split = load_engine(config, path)
        assert (await finish(split.generate(request)))[1].tokens.tolist() == expected
        assert split.status().model_bytes == pytest.approx(engine.status().model_bytes, abs=5000)
        split.close()
    paths[1].unlink()
    with pytest.raises(ModelNotFoundError, match="mini-00002-of-00002"):
        load_engine(config, paths[0])


async def test_a_pure_attention_model_is_served_the_same_way(
    load_engine: LoadEngine,
    attention_model_path: Path,
    config: ModelConfig,
    finish: Finish,
    request_for: RequestFor,
    random_tokens: RandomTokens,
) -> None:
    """Any divergence is cut back exactly to where the paths part."""
    engine = load_engine(config, attention_model_path)
    await finish(engine.generate(request_for(random_tokens(100, 1))))
    prompt = np.concatenate([random_tokens(100, 1)[:63], random_tokens(20, 2)])
    _, done = await finish(engine.generate(request_for(prompt)))
    assert done.usage.num_reused_tokens == 63
    assert engine.status().selftest == "not needed"
    engine.close()


async def test_a_conversation_outlives_the_engine(
    model_path: Path, config: ModelConfig, finish: Finish, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """Closed in order and loaded again, the next turn evaluates its new tokens and the answer's last one."""
    path = random_tokens(150, 1)
    for tail in (20, 30):
        loaded = Engine.load(config, model_path)
        try:
            _, finished = await finish(loaded.generate(request_for(path, grammar=ENDLESS)))
            restored = loaded.status().num_restored_disk_tokens
        finally:
            loaded.close()
        path = np.concatenate([path, finished.tokens, random_tokens(tail, tail)])
    assert (finished.usage.num_reused_tokens, restored) == (157, 157)


async def test_what_runs_at_the_end_is_read_at_the_next_start(
    load_engine: LoadEngine,
    model_path: Path,
    config: ModelConfig,
    finish: Finish,
    request_for: RequestFor,
    random_tokens: RandomTokens,
) -> None:
    """Closed in the middle of an answer: the same question again comes from the disk, up to its last boundary."""
    prompt = random_tokens(150, 1)
    request = request_for(prompt, boundaries=(90, 140), max_new_tokens=1800, grammar=ENDLESS, project="p1")
    loaded = load_engine(config, model_path)
    try:
        async for event in loaded.generate(request):
            if isinstance(event, TextDelta):
                break
    finally:
        begin = time.monotonic()
        await asyncio.to_thread(loaded.close)
    assert time.monotonic() - begin < 5
    loaded = load_engine(config, model_path)
    try:
        _, finished = await finish(loaded.generate(replace(request, max_new_tokens=1)))
        assert finished.usage.num_reused_tokens == 140
        assert loaded.status().num_restored_disk_tokens == 140
    finally:
        loaded.close()
    assert {file.suffix for file in paths.kv_cache_dir().rglob("*") if file.is_file()} == {".p1"}


async def test_without_host_memory_nothing_is_kept_on_disk_and_the_log_says_why(
    model_path: Path,
    config: ModelConfig,
    finish: Finish,
    request_for: RequestFor,
    random_tokens: RandomTokens,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What goes there passes through it. Nothing is pending for ever either."""
    loaded = Engine.load(dataclasses.replace(config, host_cache_mb=0), model_path)
    try:
        await finish(loaded.generate(request_for(random_tokens(150, 1))))
        assert loaded.status().pending_spill_bytes == 0
    finally:
        loaded.close()
    assert "model.host_cache_mb = 1 or more" in caplog.text
    assert not paths.kv_cache_dir().exists()


async def test_without_a_disk_cache_nothing_is_written(
    model_path: Path, config: ModelConfig, finish: Finish, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """`disk_cache_mb = 0` means no file."""
    loaded = Engine.load(dataclasses.replace(config, disk_cache_mb=0), model_path)
    try:
        await finish(loaded.generate(request_for(random_tokens(150, 1))))
    finally:
        loaded.close()
    assert not paths.kv_cache_dir().exists()
