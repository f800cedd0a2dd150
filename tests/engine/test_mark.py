"""Tokens that were only guessed leave no trace: not in the branch, not in what rests beside it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from qcn_agent.engine.backend import DecodeError, Run
from qcn_agent.engine.generator import FloatArray, GenerationRequest, IntArray
from qcn_agent.engine.llama_backend import LlamaBackend
from qcn_agent.engine.mark import Mark
from qcn_agent.engine.residency import Branch
from qcn_agent.engine.session import SessionManager, Step
from qcn_agent.errors import EngineError

RandomTokens = Callable[[int, int], IntArray]
MakeBackend = Callable[..., LlamaBackend]
Replay = Callable[..., FloatArray]


def _begin(manager: SessionManager, name: str, prompt: IntArray) -> Branch:
    session = manager.prepare(GenerationRequest(name, prompt, 1)).session
    manager.extend([Step(session, prompt[len(session.ledger) :], 1)])
    return session


@pytest.mark.parametrize("num_kept", [40, 43, 47, 48])
def test_a_hybrid_goes_back_to_the_mark_bitwise(
    backend: LlamaBackend, replay: Replay, random_tokens: RandomTokens, num_kept: int
) -> None:
    """Unless all is kept; either way it goes on as a replay of its ledger does."""
    manager = SessionManager(backend, 4)
    session = _begin(manager, "s", random_tokens(40, 1))
    assert manager.try_extend(Step(session, random_tokens(8, 2), 8))
    manager.keep(session, num_kept)
    assert len(session.ledger) == backend.length(session.seq_id) == (48 if num_kept == 48 else 40)
    manager.check_integrity()
    manager.extend([Step(session, random_tokens(3, 3), 1)])
    assert np.array_equal(backend.logits(), replay(session.ledger.tokens, session.ledger.splits))


@pytest.mark.parametrize("num_kept", [40, 43, 48])
def test_attention_is_cut_exactly_there(
    make_backend: MakeBackend, attention_model_path: Path, replay: Replay, random_tokens: RandomTokens, num_kept: int
) -> None:
    """Nothing that is right has to be read again."""
    backend = make_backend(attention_model_path, flash_attention=False)
    manager = SessionManager(backend, 4)
    session = _begin(manager, "s", random_tokens(40, 1))
    guessed = random_tokens(8, 2)
    assert manager.try_extend(Step(session, guessed, 8))
    manager.keep(session, num_kept)
    assert len(session.ledger) == backend.length(session.seq_id) == num_kept
    assert session.ledger.tokens[40:].tolist() == guessed[: num_kept - 40].tolist()
    manager.check_integrity()
    manager.extend([Step(session, random_tokens(3, 3), 1)])
    expected = replay(session.ledger.tokens, session.ledger.splits, path=attention_model_path, flash_attention=False)
    assert np.abs(backend.logits() - expected).max() < 2e-3 * expected.std()


def test_every_row_of_the_call_has_its_logits(
    backend: LlamaBackend, replay: Replay, random_tokens: RandomTokens
) -> None:
    """Each is about what a call that ends there would give."""
    manager = SessionManager(backend, 4)
    prompt, guessed = random_tokens(40, 1), random_tokens(8, 2)
    session = _begin(manager, "s", prompt)
    manager.try_extend(Step(session, guessed, 5))
    for row in range(3, 8):
        expected = replay(np.concatenate([prompt, guessed[: row + 1]]), (40, 41 + row))
        assert np.abs(backend.logits(row) - expected).max() < 0.1 * expected.std()
    with pytest.raises(EngineError, match="no logits"):
        backend.logits(2)
    manager.keep(session, 48)


def test_with_all_sequences_in_use_nothing_that_rests_is_given_up(
    backend: LlamaBackend, random_tokens: RandomTokens
) -> None:
    """The mark lies in none of theirs."""
    manager = SessionManager(backend, 4)
    for seed in range(4):
        manager.release(_begin(manager, f"s{seed}", random_tokens(30, seed)))
    session = _begin(manager, "s3", np.concatenate([random_tokens(30, 3), random_tokens(10, 9)]))
    before = manager.cache.num_device_states, sorted(info.num_tokens for info in manager.sessions)
    assert before == (4, [30, 30, 30, 40])
    for _ in range(3):
        assert manager.try_extend(Step(session, random_tokens(5, 5), 5))
        manager.keep(session, 41)
        manager.check_integrity()
    assert (manager.cache.num_device_states, sorted(info.num_tokens for info in manager.sessions)) == before


def test_nothing_is_evicted_for_a_guess(make_backend: MakeBackend, random_tokens: RandomTokens) -> None:
    """Without free cells the call is not made; one of the branch's own tokens still gets its room."""
    backend = make_backend(n_ctx=256)
    manager = SessionManager(backend, 4)
    manager.release(_begin(manager, "idle", random_tokens(60, 1)))
    session = _begin(manager, "s", random_tokens(60, 2))
    for seed in range(3):
        manager.extend([Step(session, random_tokens(44, seed + 5))])
    assert not manager.try_extend(Step(session, random_tokens(8, 3), 8))
    assert len(session.ledger) == backend.length(session.seq_id) == 192
    assert [info.name for info in manager.sessions] == ["idle", "s"]
    manager.check_integrity()
    manager.extend([Step(session, random_tokens(8, 3))])
    assert [info.name for info in manager.sessions] == ["s"]


def test_a_call_that_fails_puts_the_branch_back(
    backend: LlamaBackend, replay: Replay, random_tokens: RandomTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although the state has taken in all of it."""
    manager = SessionManager(backend, 4)
    session = _begin(manager, "s", random_tokens(40, 1))
    decode = backend.decode

    def fail(runs: list[Run]) -> None:
        decode(runs)
        raise DecodeError("forced")

    monkeypatch.setattr(backend, "decode", fail)
    with pytest.raises(DecodeError, match="forced"):
        manager.try_extend(Step(session, random_tokens(8, 2), 8))
    monkeypatch.undo()
    manager.check_integrity()
    manager.extend([Step(session, random_tokens(3, 3), 1)])
    assert np.array_equal(backend.logits(), replay(session.ledger.tokens, session.ledger.splits))


def test_a_mark_that_is_left_is_found(backend: LlamaBackend, random_tokens: RandomTokens) -> None:
    """Copies would go through it."""
    manager = SessionManager(backend, 4)
    session = _begin(manager, "s", random_tokens(40, 1))
    manager.try_extend(Step(session, random_tokens(8, 2), 8))
    with pytest.raises(EngineError, match="a mark was left"):
        manager.check_integrity()
    manager.keep(session, 48)
    manager.check_integrity()


def test_clearing_is_harmless(backend: LlamaBackend, random_tokens: RandomTokens) -> None:
    """With and without a mark."""
    manager, mark = SessionManager(backend, 4), Mark(backend, 4)
    mark.clear()
    mark.set(_begin(manager, "s", random_tokens(40, 1)))
    assert mark.is_set
    mark.clear()
    mark.clear()
    assert not mark.is_set
