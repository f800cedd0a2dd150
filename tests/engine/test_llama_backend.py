"""Copies of state are bitwise exact, failures are told apart, and nothing reaches an assertion of llama.cpp."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qcn_agent.config import ModelConfig
from qcn_agent.engine.backend import AbortedError, AbortFlag, DecodeError, NoRoomError, Run
from qcn_agent.engine.generator import FloatArray, IntArray
from qcn_agent.engine.llama_backend import LlamaBackend, computes_on_cpu, num_sequences
from qcn_agent.engine.llama_cpp import api
from qcn_agent.engine.llama_model import load_model
from qcn_agent.errors import ConfigError, EngineError

Replay = Callable[..., FloatArray]
RandomTokens = Callable[[int, int], IntArray]
MakeBackend = Callable[..., LlamaBackend]

# chunk lengths around the convolution width (4) and the call size (64)
LENGTHS = [1, 2, 3, 4, 5, 63, 64]


@pytest.fixture(params=["cheap", "full copies"])
def either(request: pytest.FixtureRequest, backend: LlamaBackend) -> LlamaBackend:
    """The backend in both ways of copying."""
    backend.full_copies = request.param == "full copies"
    return backend


@pytest.mark.parametrize("length", LENGTHS)
def test_a_rollback_is_bitwise_a_replay(
    either: LlamaBackend, replay: Replay, random_tokens: RandomTokens, length: int
) -> None:
    """Head, wrong turn, back, right turn: the logits are those of head and right turn alone."""
    head, wrong, right = (random_tokens(length, seed) for seed in (1, 2, 3))
    either.decode([Run(0, head, 0)])
    either.snapshot(0, 5)
    either.decode([Run(0, wrong, length)])
    either.restore(5, 0, length)
    either.decode([Run(0, right, length, True)])
    expected = replay(np.concatenate([head, right]), (length, 2 * length))
    assert np.array_equal(either.logits(), expected)


def test_a_snapshot_survives_many_rollbacks(either: LlamaBackend, random_tokens: RandomTokens) -> None:
    """The same turn from the same snapshot gives the same logits each time, and the length is that of the path."""
    head, turn = random_tokens(40, 1), random_tokens(20, 2)
    either.decode([Run(0, head, 0)])
    either.snapshot(0, 5)
    seen = []
    for _ in range(4):
        either.decode([Run(0, turn, 40, True)])
        seen.append(either.logits())
        assert either.length(0) == 60
        either.restore(5, 0, 40)
        assert either.length(0) == 40
    assert all(np.array_equal(seen[0], logits) for logits in seen)


def test_a_fork_is_exact_and_leaves_its_source_alone(
    either: LlamaBackend, replay: Replay, random_tokens: RandomTokens
) -> None:
    """A fork from the middle of a path and the path itself both go on as if the other did not exist."""
    head, left, right, more = (random_tokens(48, seed) for seed in (1, 2, 3, 4))
    either.decode([Run(0, head, 0)])
    either.snapshot(0, 5)
    either.decode([Run(0, left, 48)])
    either.fork(0, 5, 1, 48)
    either.decode([Run(1, right, 48, True)])
    forked = either.logits()
    either.decode([Run(0, more, 96, True)])
    assert np.array_equal(forked, replay(np.concatenate([head, right]), (48, 96)))
    assert np.array_equal(either.logits(), replay(np.concatenate([head, left, more]), (48, 96, 144)))


def test_every_sequence_id_can_be_in_use(make_backend: MakeBackend, random_tokens: RandomTokens) -> None:
    """With a park at each id, states can't run out, and each restores exactly."""
    backend = make_backend()
    parks = range(1, backend.n_seq_max)
    chunks = [random_tokens(8, seed) for seed in range(backend.n_seq_max)]
    expected: list[FloatArray] = []
    for index, park in enumerate(parks):
        backend.decode([Run(0, chunks[index], 8 * index)])
        backend.snapshot(0, park)
    for index, park in reversed(list(enumerate(parks))):
        backend.restore(park, 0, 8 * (index + 1))
        backend.decode([Run(0, chunks[-1], 8 * (index + 1), True)])
        expected.append(backend.logits())
    backend.drop(0)
    backend.decode([Run(0, chunks[0], 0)])
    backend.decode([Run(0, chunks[-1], 8, True)])
    assert np.array_equal(backend.logits(), expected[-1])


def test_a_restore_without_a_trim_would_be_seen(backend: LlamaBackend, random_tokens: RandomTokens) -> None:
    """The control of these tests: leaving the old KV in place changes the logits plainly, without any error."""
    head, wrong, turn = random_tokens(64, 1), random_tokens(40, 2), random_tokens(5, 3)
    backend.decode([Run(0, head, 0)])
    backend.snapshot(0, 5)
    backend.decode([Run(0, turn, 64, True)])
    expected = backend.logits()
    backend.restore(5, 0, 64)
    backend.decode([Run(0, wrong, 64)])
    api.llama_memory_seq_cp(backend._memory, 5, 0, 0, 0)
    backend.decode([Run(0, turn, 64, True)])
    assert np.abs(backend.logits() - expected).max() > 0.15 * expected.std()


def test_pure_attention_is_cut_back_without_a_snapshot(
    make_backend: MakeBackend, attention_model_path: Path, random_tokens: RandomTokens
) -> None:
    """Trim and fork work at any position, and no state is kept."""
    backend, fresh = make_backend(path=attention_model_path), make_backend(path=attention_model_path)
    head, wrong, right = (random_tokens(30, seed) for seed in (1, 2, 3))
    assert not backend.needs_snapshots
    assert backend.info.state_bytes == 0
    backend.decode([Run(0, head, 0)])
    backend.decode([Run(0, wrong, 30)])
    backend.fork(0, 0, 1, 30)
    backend.restore(0, 0, 30)
    for begin, tokens in ((0, head), (30, right)):
        fresh.decode([Run(0, tokens, begin, True)])
    for seq_id in (0, 1):
        backend.decode([Run(seq_id, right, 30, True)])
        np.testing.assert_allclose(backend.logits(), fresh.logits(), atol=1e-4)


def test_a_full_cache_changes_nothing(make_backend: MakeBackend, random_tokens: RandomTokens) -> None:
    """NoRoomError, and after room was made the sequence goes on exactly."""
    backend = make_backend(n_ctx=256)
    head, turn = random_tokens(64, 1), random_tokens(64, 2)
    backend.decode([Run(0, head, 0)])
    backend.snapshot(0, 5)
    backend.decode([Run(0, turn, 64, True)])
    expected = backend.logits()
    backend.restore(5, 0, 64)
    for begin in range(0, 192, 64):
        backend.decode([Run(1, head, begin)])
    with pytest.raises(NoRoomError):
        backend.decode([Run(0, turn, 64)])
    backend.drop(1)
    backend.decode([Run(0, turn, 64, True)])
    assert np.array_equal(backend.logits(), expected)


def test_an_aborted_call_is_a_decode_error_and_a_restore_repairs_it(
    backend: LlamaBackend, replay: Replay, random_tokens: RandomTokens
) -> None:
    """llama.cpp is really stopped half-way; the snapshot then gives bitwise what a fresh context gives."""
    head, turn = random_tokens(64, 1), random_tokens(64, 2)
    backend.decode([Run(0, head, 0)])
    backend.snapshot(0, 5)
    calls = iter(range(10_000))
    abort = api.ggml_abort_callback(lambda _: next(calls) > 40)
    api.llama_set_abort_callback(backend._context, abort, None)
    with pytest.raises(DecodeError, match="code 2"):
        backend.decode([Run(0, turn, 64, True)])
    api.llama_set_abort_callback(backend._context, api.ggml_abort_callback(0), None)
    backend.restore(5, 0, 64)
    backend.decode([Run(0, turn, 64, True)])
    assert np.array_equal(backend.logits(), replay(np.concatenate([head, turn]), (64, 128)))


def test_an_abort_flag_stops_a_call_until_it_is_cleared(
    backend: LlamaBackend, replay: Replay, random_tokens: RandomTokens
) -> None:
    """AbortedError, and a restore repairs it; a flag that is not set, or no longer looked at, changes nothing."""
    head, turn = random_tokens(64, 1), random_tokens(64, 2)
    flag = AbortFlag()
    backend.abort_when(flag)
    backend.decode([Run(0, head, 0)])
    backend.snapshot(0, 5)
    flag.set()
    for _ in range(2):
        with pytest.raises(AbortedError):
            backend.decode([Run(0, turn, 64, True)])
        backend.restore(5, 0, 64)
    backend.abort_when(None)
    backend.decode([Run(0, turn, 64, True)])
    expected = replay(np.concatenate([head, turn]), (64, 128))
    assert np.array_equal(backend.logits(), expected)
    backend.restore(5, 0, 64)
    backend.abort_when(flag)
    flag.clear()
    backend.decode([Run(0, turn, 64, True)])
    assert np.array_equal(backend.logits(), expected)


def test_a_flag_set_by_another_thread_stops_a_running_call(
    make_backend: MakeBackend, random_tokens: RandomTokens
) -> None:
    """The call polls memory, not the interpreter: it ends early although it began before the flag was set.

    Without that it would end well; so the call is made again, longer before the flag each time, until it is hit.
    """
    backend, flag, hit = make_backend(n_ubatch=2048), AbortFlag(), False
    backend.abort_when(flag)
    for attempt in range(1, 50):
        flag.clear()
        timer = threading.Timer(0.001 * attempt, flag.set)
        timer.start()
        try:
            backend.decode([Run(0, random_tokens(1500, 1), 0)])
        except AbortedError:
            hit = True
        timer.join()
        backend.drop(0)
        if hit:
            break
    assert hit


@pytest.mark.parametrize(
    ("supports", "changes", "expected"), [(False, {}, True), (True, {}, False), (True, {"n_cpu_moe": 4}, True)]
)
def test_only_the_cpu_can_abort(
    monkeypatch: pytest.MonkeyPatch, config: ModelConfig, supports: bool, changes: dict[str, Any], expected: bool
) -> None:
    """A build without a GPU can, one that puts everything on the GPU can't, experts in RAM can."""
    monkeypatch.setattr(api, "llama_supports_gpu_offload", lambda: supports)
    assert computes_on_cpu(replace(config, **changes)) is expected


@pytest.mark.parametrize("flash_attention", [True, False])
def test_rows_of_a_common_call_are_those_of_single_calls(
    make_backend: MakeBackend, random_tokens: RandomTokens, flash_attention: bool
) -> None:
    """Three sequences of different lengths, fed together and apart: bitwise the same logits, row by row."""
    backend = make_backend(flash_attention=flash_attention)
    paths = [random_tokens(length, length) for length in (20, 33, 47)]
    expected: list[list[FloatArray]] = []
    for together in (False, True):
        for seq_id, path in enumerate(paths):
            backend.drop(seq_id)
            backend.decode([Run(seq_id, path[:-5], 0)])
        for step in range(5, 0, -1):
            runs = [Run(i, path[len(path) - step :][:1], len(path) - step, True) for i, path in enumerate(paths)]
            if together:
                backend.decode(runs)
                rows = expected.pop(0)
                assert all(np.array_equal(backend.logits(row), rows[row]) for row in range(3))
            else:
                expected.append([_logits_after(backend, run) for run in runs])


def _logits_after(backend: LlamaBackend, run: Run) -> FloatArray:
    backend.decode([run])
    return backend.logits()


def test_a_gap_in_positions_is_a_decode_error(backend: LlamaBackend, random_tokens: RandomTokens) -> None:
    """Tokens must continue where the sequence ends."""
    backend.decode([Run(0, random_tokens(8, 1), 0)])
    with pytest.raises(DecodeError):
        backend.decode([Run(0, random_tokens(8, 2), 20)])


@pytest.mark.parametrize("seq_id", [-1, 10, 1 << 30])
def test_a_wrong_sequence_id_is_refused(backend: LlamaBackend, random_tokens: RandomTokens, seq_id: int) -> None:
    """Each call that takes an id checks it: llama.cpp would end the process."""
    calls: list[Callable[[], Any]] = [
        lambda: backend.decode([Run(seq_id, random_tokens(1, 1), 0)]),
        lambda: backend.snapshot(0, seq_id),
        lambda: backend.restore(seq_id, 0, 0),
        lambda: backend.fork(0, 1, seq_id, 0),
        lambda: backend.drop(seq_id),
        lambda: backend.length(seq_id),
    ]
    for call in calls:
        with pytest.raises(EngineError, match="no sequence"):
            call()


@pytest.mark.parametrize("count", [0, 65])
def test_a_call_of_impossible_size_is_refused(backend: LlamaBackend, random_tokens: RandomTokens, count: int) -> None:
    """Empty calls and calls beyond the batch size are errors of ours, not assertions of llama.cpp's."""
    with pytest.raises(EngineError, match=r"1 \.\. 64"):
        backend.decode([Run(0, random_tokens(count, 1), 0)])


def test_logits_exist_only_where_they_were_asked_for(backend: LlamaBackend, random_tokens: RandomTokens) -> None:
    """Reading them after a call without logits is an error, not an old row."""
    backend.decode([Run(0, random_tokens(8, 1), 0)])
    with pytest.raises(EngineError, match="no logits"):
        backend.logits()


def test_a_token_outside_the_vocabulary_has_no_piece(backend: LlamaBackend) -> None:
    """Ids are checked before llama.cpp indexes with them."""
    for token in (-1, backend.n_vocab):
        with pytest.raises(EngineError, match="no token"):
            backend.piece(token, special=True)


def test_a_long_piece_is_complete(backend: LlamaBackend) -> None:
    """The longest tokens of the vocabulary exceed the first buffer and are still whole."""
    longest = max((backend.piece(token, special=True) for token in range(backend.n_vocab)), key=len)
    assert backend.tokenize(longest, parse_special=False).tolist()
    assert len(longest) > 100


def test_info_tells_the_size_of_a_state(backend: LlamaBackend) -> None:
    """2 recurrent layers of 17,920 floats, and a small header."""
    assert 0 <= backend.info.state_bytes - 2 * 17_920 * 4 < 200
    assert "CPU" in backend.info.system
    assert backend.info.num_params > 1_000_000


def test_a_closed_backend_refuses_text_and_closes_twice(make_backend: MakeBackend) -> None:
    """Late calls from other threads get an error instead of freed memory."""
    backend = make_backend()
    backend.close()
    backend.close()
    with pytest.raises(EngineError, match="closed"):
        backend.tokenize(b"a", parse_special=False)


@pytest.mark.parametrize("kv_type", ["q8_0", "q4_0"])
def test_quantised_caches_load_and_decode(make_backend: MakeBackend, random_tokens: RandomTokens, kv_type: str) -> None:
    """The other cache types give finite logits."""
    backend = make_backend(kv_type=kv_type)
    backend.decode([Run(0, random_tokens(8, 1), 0, True)])
    assert np.isfinite(backend.logits()).all()


def test_a_quantised_cache_needs_flash_attention(make_backend: MakeBackend) -> None:
    """The error names both settings."""
    with pytest.raises(ConfigError, match=r"model\.kv_type q8_0 needs model\.flash_attention"):
        make_backend(kv_type="q8_0", flash_attention=False)


def test_a_context_of_no_use_is_refused(make_backend: MakeBackend) -> None:
    """By the name of its setting."""
    with pytest.raises(ConfigError, match="a context of 7 tokens") as caught:
        make_backend(n_ctx=7)
    assert "model.n_ctx" in caught.value.hint


def test_more_sequences_than_a_batch_has_tokens(make_backend: MakeBackend, random_tokens: RandomTokens) -> None:
    """The smallest chunk and the most sessions and snapshots together do not assert."""
    backend = make_backend(n_ubatch=16, max_states=192)
    backend.decode([Run(192, random_tokens(16, 1), 0, True)])
    assert backend.n_seq_max == 193


def test_the_number_of_sequences_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than llama.cpp can take is a setting's fault."""
    monkeypatch.setattr(api, "llama_max_parallel_sequences", lambda: 16)
    with pytest.raises(ConfigError, match="is over 15"):
        num_sequences(ModelConfig())


def test_a_context_that_can_t_be_made_is_an_error(model_path: Path, config: ModelConfig) -> None:
    """llama.cpp refuses a model that was freed; nothing crashes."""
    model = load_model(config, (model_path,))
    model.close()
    with pytest.raises(Exception, match="no context could be created"):
        LlamaBackend(model, config)
