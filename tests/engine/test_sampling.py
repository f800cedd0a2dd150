"""Settings are resolved from request, model and family; seeds belong to positions."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcn_agent.engine.generator import SamplingParams
from qcn_agent.engine.sampling import SamplingSettings, mix_seed, resolve
from qcn_agent.errors import UsageError


def test_nothing_said_means_the_family_s_defaults() -> None:
    """Without request values and metadata the family's recommendation holds."""
    assert resolve(SamplingParams(), {}) == SamplingSettings(1.0, 40, 0.95, 0.0, 1.0, 0)


def test_the_model_s_metadata_stand_before_the_family() -> None:
    """Each `general.sampling.*` key is taken from the GGUF."""
    metadata = {
        "general.sampling.temp": "0.7",
        "general.sampling.top_k": "20",
        "general.sampling.top_p": "0.8",
        "general.sampling.min_p": "0.05",
        "general.sampling.penalty_repeat": "1.1",
    }
    assert resolve(SamplingParams(seed=7), metadata) == SamplingSettings(0.7, 20, 0.8, 0.05, 1.1, 7)


def test_the_request_stands_before_the_model() -> None:
    """A value that was asked for wins, zero included."""
    settings = resolve(SamplingParams(temperature=0.0, top_k=0), {"general.sampling.temp": "0.7"})
    assert (settings.temperature, settings.top_k, settings.top_p) == (0.0, 0, 0.95)


@pytest.mark.parametrize("text", ["nan", "-1", "warm", "inf"])
def test_unusable_metadata_are_ignored(text: str) -> None:
    """A model file can't bring a value that a request could not."""
    assert resolve(SamplingParams(), {"general.sampling.temp": text}).temperature == 1.0


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(temperature=-0.1),
        SamplingParams(temperature=float("nan")),
        SamplingParams(top_p=1.5),
        SamplingParams(min_p=-1.0),
        SamplingParams(top_k=-1),
        SamplingParams(repeat_penalty=0.0),
    ],
)
def test_a_value_out_of_range_is_refused(params: SamplingParams) -> None:
    """The message names the value and the range."""
    with pytest.raises(UsageError, match=r"is outside .* \.\. "):
        resolve(params, {})


@given(st.integers(), st.integers(0, 1 << 20))
def test_a_mixed_seed_is_32_bits_and_never_the_reserved_one(seed: int, position: int) -> None:
    """llama.cpp takes 0xFFFFFFFF for "random", so it must not occur."""
    assert 0 <= mix_seed(seed, position) < 0xFFFFFFFF


def test_the_reserved_seed_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the mix would give the reserved value, another one is given."""
    monkeypatch.setattr("qcn_agent.engine.sampling._RESERVED_SEED", mix_seed(3, 4))
    assert mix_seed(3, 4) == 0


def test_neighbouring_positions_and_seeds_get_different_seeds() -> None:
    """A thousand positions of a dozen seeds do not collide."""
    assert len({mix_seed(seed, position) for seed in range(12) for position in range(1000)}) == 12_000


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(presence_penalty=math.nan),
        SamplingParams(frequency_penalty=-101),
        SamplingParams(dry_multiplier=-1),
        SamplingParams(dry_base=0.5),
        SamplingParams(dry_allowed_length=0),
        SamplingParams(top_logprobs=101),
        SamplingParams(logit_bias=((1, math.nan),)),
        SamplingParams(logit_bias=((1, math.inf),)),
        SamplingParams(logit_bias=((1, 1.0),) * 1025),
    ],
)
def test_what_llama_cpp_could_not_take_is_refused(params: SamplingParams) -> None:
    """Each of the settings without a default of the model has its range."""
    with pytest.raises(UsageError, match="sampling"):
        resolve(params, {})


def test_settings_of_the_request_alone_are_kept() -> None:
    """They come through as they are, and those that look back say so."""
    bias = ((5, -math.inf), (6, 2.5))
    settings = resolve(SamplingParams(dry_multiplier=0.8, logit_bias=bias, top_logprobs=0), {})
    assert (settings.dry_multiplier, settings.logit_bias, settings.top_logprobs) == (0.8, bias, 0)
    assert settings.has_history
    assert not resolve(SamplingParams(logit_bias=bias), {}).has_history
    assert resolve(SamplingParams(presence_penalty=0.1), {}).has_history
