"""What the benchmark gives an engine and reads of it, with and without the newer fields."""

from dataclasses import dataclass, fields
from pathlib import Path

import pytest

from qcn_agent.config import ModelConfig
from tests.bench.engine_setup import (
    HOST_BYTES,
    MAX_DEVICE_STATES,
    STATE_BYTES,
    TOKEN_BYTES,
    Held,
    Setup,
    engine_config,
    engine_request,
    host_budget_mb,
    model_bytes_of,
    read_status,
)
from tests.random_models import HYBRID, write_attention, write_hybrid


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Setup:
    """The random hybrid."""
    path = tmp_path_factory.mktemp("models") / "m.gguf"
    write_hybrid(path)
    return Setup(path, 8192, 1)


@dataclass
class _Session:
    num_snapshots: int


@dataclass
class _OldStatus:
    sessions: tuple[_Session, ...] = (_Session(3), _Session(0))
    selftest: str = "passed"


@dataclass
class _NewStatus(_OldStatus):
    num_device_states: int = 9
    num_host_states: int = 4
    num_host_tokens: int = 100
    peak_host_states: int = 6
    peak_host_tokens: int = 200
    num_disk_bytes: int = 5
    pending_spill_bytes: int = 0


def test_limits_are_those_of_the_big_model() -> None:
    """Twelve device states and 4 GiB are allowed, one byte or state more is not."""
    assert Held(12, 54, 0).is_allowed
    assert not Held(13, 0, 0).is_allowed
    assert not Held(0, 55, 0).is_allowed
    assert Held(0, 1, 2).host_bytes == STATE_BYTES + 2 * TOKEN_BYTES


def test_most_takes_each_number_apart() -> None:
    """A peak is kept for each of them."""
    assert Held(1, 5, 2).most(Held(3, 4, 9)) == Held(3, 5, 9)


def test_model_bytes_come_from_the_file(setup: Setup) -> None:
    """Six recurrent layers' states; keys and values of two layers in 16 bits."""
    state, token = model_bytes_of(setup)
    per_layer = (HYBRID.kernel - 1) * HYBRID.channels + HYBRID.state_size * HYBRID.inner
    assert state == 6 * per_layer * 4
    assert token == 2 * 2 * HYBRID.kv_heads * HYBRID.head_size * 2


def test_budget_can_not_exceed_the_limit(setup: Setup) -> None:
    """Whether filled with states or with tokens, it is at most 4 GiB of the big model."""
    state, token = model_bytes_of(setup)
    budget = host_budget_mb(setup) << 20
    assert budget // state * STATE_BYTES <= HOST_BYTES
    assert budget // token * TOKEN_BYTES <= HOST_BYTES
    assert budget > 10 << 20


def test_budget_of_a_model_without_states(tmp_path: Path) -> None:
    """Only tokens count."""
    write_attention(tmp_path / "m.gguf")
    setup = Setup(tmp_path / "m.gguf", 4096, 1)
    assert model_bytes_of(setup)[0] == 0
    assert 0 < (host_budget_mb(setup) << 20) // model_bytes_of(setup)[1] * TOKEN_BYTES <= HOST_BYTES


def test_config_keeps_to_the_sequence_ids(setup: Setup) -> None:
    """The peer's numbers, and twelve sequences in all, by whichever settings there are."""
    config = engine_config(setup)
    assert (config.n_ctx, config.n_threads) == (8192, 1)
    if "max_states" in {field.name for field in fields(ModelConfig)}:
        assert getattr(config, "max_states") == MAX_DEVICE_STATES  # noqa: B009 - not there yet
    else:
        assert config.max_sessions + config.max_snapshots + 1 == MAX_DEVICE_STATES


def test_request_is_greedy() -> None:
    """Both sides take the most likely token."""
    request = engine_request("s", [1, 2, 3], 4, (2,), is_completion=True)
    assert request.prompt.tolist() == [1, 2, 3]
    assert (request.session, request.max_new_tokens, request.boundaries) == ("s", 4, (2,))
    assert request.sampling.temperature == 0.0


def test_status_without_the_newer_fields() -> None:
    """Sequences and snapshots are counted; what is unknown is None, not zero."""
    figures = read_status(_OldStatus())
    assert figures.held == Held(5, 0, 0)
    assert figures.pending_spill_bytes is None
    assert figures.num_sessions == 2


def test_status_with_the_newer_fields() -> None:
    """The engine's own counts win, peaks before current values."""
    figures = read_status(_NewStatus())
    assert figures.held == Held(9, 6, 200)
    assert (figures.pending_spill_bytes, figures.num_disk_bytes) == (0, 5)
