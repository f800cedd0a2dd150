"""The vocabulary's special tokens are known by their strings, and it survives the end of its model."""

import numpy as np
import pytest

from qcn_agent.engine.llama_backend import LlamaBackend
from qcn_agent.engine.llama_vocab import LlamaVocab
from qcn_agent.errors import EngineError


@pytest.fixture
def vocab(backend: LlamaBackend) -> LlamaVocab:
    """The embedded model's."""
    return backend.model.vocab


def test_control_tokens_are_the_steering_ones_that_do_not_end(vocab: LlamaVocab) -> None:
    """Message starts and FIM markers are in, ends and declared text are out."""
    names = {vocab.piece(int(token), special=True).decode() for token in np.flatnonzero(vocab.is_control)}
    assert {"<|im_start|>", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"} <= names
    assert not names & {"<|im_end|>", "<|endoftext|>", "<tool_call>"}


def test_every_token_has_a_piece(vocab: LlamaVocab) -> None:
    """With control tokens spelled out no piece is empty, and without them only those are."""
    plain = {token for token in range(vocab.n_tokens) if not vocab.piece(token, special=False)}
    assert all(vocab.piece(token, special=True) for token in range(vocab.n_tokens))
    assert plain >= set(np.flatnonzero(vocab.is_control).tolist())
    assert all(vocab.is_end(token) or vocab.is_control[token] for token in plain)


def test_nothing_is_added_to_a_text(vocab: LlamaVocab) -> None:
    """No beginning or end token, and nothing for nothing."""
    assert len(vocab.tokenize(b"", parse_special=True)) == 0
    tokens = vocab.tokenize(b"hello world", parse_special=True)
    assert b"".join(vocab.piece(int(token), special=True) for token in tokens) == b"hello world"


def test_bytes_that_are_no_utf8_do_not_crash(vocab: LlamaVocab) -> None:
    """They become some tokens."""
    assert len(vocab.tokenize(b"\xff\xfe\x80 a", parse_special=False)) > 0


def test_after_close_nothing_is_looked_up_in_freed_memory(vocab: LlamaVocab) -> None:
    """Pieces seen before and the tokens that end an answer are remembered; all else is an error."""
    seen, is_end = vocab.piece(5, special=True), vocab.is_end(5)
    handle = vocab.handle
    vocab.close()
    assert vocab.piece(5, special=True) == seen
    assert vocab.is_end(5) is is_end
    for call in (
        lambda: vocab.tokenize(b"a", parse_special=False),
        lambda: vocab.piece(6, special=True),
    ):
        with pytest.raises(EngineError, match="closed"):
            call()
    vocab.handle = handle
