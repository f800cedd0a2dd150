"""KV stretches and states as bytes: what is imported continues bitwise like what was exported."""

from collections.abc import Callable

import numpy as np
import pytest

from qcn_agent.engine.backend import BlobLostError, Bytes, NoRoomError, Run
from qcn_agent.engine.generator import FloatArray, IntArray
from qcn_agent.engine.llama_backend import LlamaBackend

RandomTokens = Callable[[int, int], IntArray]
MakeBackend = Callable[..., LlamaBackend]
VIA = 9


def _feed(backend: LlamaBackend, seq_id: int, tokens: IntArray, position: int) -> FloatArray:
    backend.decode([Run(seq_id, tokens, position, num_logits=1)])
    return backend.logits()


def _load(backend: LlamaBackend, dst: int, stretches: list[tuple[Bytes, int, int]], state: Bytes) -> None:
    for data, begin, end in stretches:
        backend.import_kv(data, VIA)
        backend.share_kv(VIA, dst, begin, end)
        backend.drop(VIA)
    backend.import_state(state, dst)


@pytest.fixture
def tokens(random_tokens: RandomTokens) -> list[IntArray]:
    """Three calls."""
    return [random_tokens(count, seed) for count, seed in ((64, 1), (50, 2), (30, 3))]


def test_stretches_and_a_state_bring_a_sequence_back(backend: LlamaBackend, tokens: list[IntArray]) -> None:
    """From two stretches and the state at their end, and again from the first one and a park's state."""
    head, middle, tail = tokens
    _feed(backend, 0, head, 0)
    backend.snapshot(0, 5)
    after_middle = _feed(backend, 0, middle, 64)
    stretches = [(backend.export_kv(0, 0, 64, VIA), 0, 64), (backend.export_kv(0, 64, 114, VIA), 64, 114)]
    states = backend.export_state(5), backend.export_state(0)
    after_tail = _feed(backend, 0, tail, 114)
    for seq_id in (0, 5):
        backend.drop(seq_id)
    _load(backend, 1, stretches, states[1])
    assert backend.length(1) == 114
    assert np.array_equal(_feed(backend, 1, tail, 114), after_tail)
    _load(backend, 2, stretches[:1], states[0])
    assert np.array_equal(_feed(backend, 2, middle, 64), after_middle)


def test_a_stretch_holds_no_state(backend: LlamaBackend, tokens: list[IntArray]) -> None:
    """Its size is that of its KV, and exporting leaves the source and the way between untouched."""
    _feed(backend, 0, tokens[0], 0)
    data = backend.export_kv(0, 0, 64, VIA)
    assert len(data) < 64 * backend.info.kv_bytes_per_token + 2048 < backend.info.state_bytes
    assert (backend.length(0), backend.length(VIA)) == (64, 0)


def test_a_damaged_state_is_refused(backend: LlamaBackend, tokens: list[IntArray]) -> None:
    """Too short, or of other layers: an error of ours, not an end of the process."""
    _feed(backend, 0, tokens[0], 0)
    state = backend.export_state(0)
    for bad in (state[:100], np.zeros(len(state), np.uint8)):
        with pytest.raises((BlobLostError, NoRoomError)):
            backend.import_state(bad, 1)


def test_no_room_is_said(make_backend: MakeBackend, tokens: list[IntArray], random_tokens: RandomTokens) -> None:
    """A stretch that finds no cells raises, and the cells that are in use keep their tokens."""
    backend = make_backend(n_ctx=256)
    _feed(backend, 0, tokens[0], 0)
    data = backend.export_kv(0, 0, 64, VIA)
    for number in range(1, 4):
        _feed(backend, number, random_tokens(64, 10 + number), 0)
    with pytest.raises(NoRoomError):
        backend.import_kv(data, VIA)
    assert [backend.length(seq_id) for seq_id in (0, 1, 2, 3)] == [64] * 4
