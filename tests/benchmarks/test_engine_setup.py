"""What the benchmark gives an engine and reads of it."""

import dataclasses
from pathlib import Path

import pytest

from qcn_agent.benchmark.held import HOST_BYTES, MAX_DEVICE_STATES, STATE_BYTES, TOKEN_BYTES, Held, Setup
from qcn_agent.engine.engine import Engine
from tests.bench.engine_setup import engine_config, engine_request, host_budget_mb, model_bytes_of, read_status
from tests.random_models import HYBRID, write_attention, write_hybrid


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Setup:
    """The random hybrid."""
    path = tmp_path_factory.mktemp("models") / "m.gguf"
    write_hybrid(path)
    return Setup(path, 8192, 1)


def test_limits_are_those_of_the_big_model() -> None:
    """Twelve device states and 4 GiB are allowed, one byte or state more is not."""
    assert Held(12, 54, 0).is_allowed
    assert not Held(13, 0, 0).is_allowed
    assert not Held(0, 55, 0).is_allowed
    assert Held(0, 1, 2).host_bytes == STATE_BYTES + 2 * TOKEN_BYTES


def test_most_takes_what_was_held_at_one_time() -> None:
    """Host states and tokens belong together; device states have a peak of their own."""
    assert Held(1, 5, 2).most(Held(3, 4, 9)) == Held(3, 5, 2)


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
    """The peer's numbers, and twelve sequences in all, the spare one included."""
    config = engine_config(setup)
    assert (config.n_ctx, config.n_threads) == (8192, 1)
    assert config.max_states + 1 == MAX_DEVICE_STATES


def test_request_is_greedy() -> None:
    """Both sides take the most likely token."""
    request = engine_request("s", [1, 2, 3], 4, (2,), is_completion=True)
    assert request.prompt.tolist() == [1, 2, 3]
    assert (request.session, request.max_new_tokens, request.boundaries) == ("s", 4, (2,))
    assert request.sampling.temperature == 0.0


def test_status_is_read_with_its_peaks(setup: Setup) -> None:
    """A real engine's own counts, and the spare sequence."""
    engine = Engine.load(dataclasses.replace(engine_config(setup), disk_cache_mb=0), setup.path)
    try:
        figures = read_status(engine.status())
    finally:
        engine.close()
    assert figures.held == Held(1, 0, 0)
    assert (figures.pending_spill_bytes, figures.num_disk_bytes, figures.num_sessions) == (0, 0, 0)
    assert figures.selftest == "passed"
