"""How a token is drawn: settings resolved from request, model and family, and the seed of each position."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from qcn_agent.engine.generator import SamplingParams
from qcn_agent.errors import UsageError

_MASK = (1 << 64) - 1
_RESERVED_SEED = 0xFFFFFFFF  # llama.cpp takes this one for "draw a random seed"


@dataclass(frozen=True)
class SamplingSettings:
    """`SamplingParams` with nothing left open. Temperature 0 is greedy; top_k 0 keeps all tokens."""

    temperature: float = 1.0
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.0
    repeat_penalty: float = 1.0
    seed: int = 0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    logit_bias: tuple[tuple[int, float], ...] = ()
    top_logprobs: int | None = None

    @property
    def has_history(self) -> bool:
        """Whether a draw depends on the tokens drawn before."""
        penalties = self.presence_penalty, self.frequency_penalty, self.dry_multiplier
        return self.repeat_penalty != 1.0 or any(penalties)


_FAMILY = SamplingSettings()  # what the makers of Qwen3-Coder-Next recommend
_METADATA_KEYS = {
    "temperature": "general.sampling.temp",
    "top_k": "general.sampling.top_k",
    "top_p": "general.sampling.top_p",
    "min_p": "general.sampling.min_p",
    "repeat_penalty": "general.sampling.penalty_repeat",
}
_RANGES = {
    "temperature": (0.0, 100.0),
    "top_k": (0, 1 << 30),
    "top_p": (0.0, 1.0),
    "min_p": (0.0, 1.0),
    "repeat_penalty": (0.01, 100.0),
    "presence_penalty": (-100.0, 100.0),
    "frequency_penalty": (-100.0, 100.0),
    "dry_multiplier": (0.0, 100.0),
    "dry_base": (1.0, 100.0),
    "dry_allowed_length": (1, 1 << 20),
    "top_logprobs": (0, 100),
}
_FIXED = ("presence_penalty", "frequency_penalty", "dry_multiplier", "dry_base")  # not the model's business
_MAX_BIASES = 1024


def resolve(params: SamplingParams, metadata: Mapping[str, str]) -> SamplingSettings:
    """Fill what `params` leaves open from the model's metadata, else from the family's defaults.

    Raises UsageError naming a value that is out of range.
    """
    values: dict[str, float] = {}
    for name, key in _METADATA_KEYS.items():
        asked = getattr(params, name)
        values[name] = _default(name, metadata.get(key)) if asked is None else _checked(name, asked)
    values |= {name: _checked(name, getattr(params, name)) for name in _FIXED}
    top_logprobs = params.top_logprobs
    return SamplingSettings(
        temperature=values["temperature"],
        top_k=int(values["top_k"]),
        top_p=values["top_p"],
        min_p=values["min_p"],
        repeat_penalty=values["repeat_penalty"],
        seed=params.seed,
        **{name: values[name] for name in _FIXED},
        dry_allowed_length=int(_checked("dry_allowed_length", params.dry_allowed_length)),
        logit_bias=_checked_bias(params.logit_bias),
        top_logprobs=None if top_logprobs is None else int(_checked("top_logprobs", top_logprobs)),
    )


def mix_seed(seed: int, position: int) -> int:
    """A 32-bit seed for one position (the finaliser of SplitMix64, Steele et al. 2014). Never the reserved one."""
    z = (seed * 0x9E3779B97F4A7C15 + position * 0xD1B54A32D192ED03 + 0x632BE59BD9B4E019) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    mixed = ((z ^ (z >> 31)) >> 16) & 0xFFFFFFFF
    return mixed if mixed != _RESERVED_SEED else 0


def _default(name: str, text: str | None) -> float:
    fallback: float = getattr(_FAMILY, name)
    try:
        value = float(text) if text is not None else fallback
    except ValueError:
        return fallback
    return value if _in_range(name, value) else fallback


def _checked(name: str, value: float) -> float:
    if not _in_range(name, value):
        low, high = _RANGES[name]
        raise UsageError(f"sampling: {name} {value} is outside {low} .. {high}")
    return value


def _checked_bias(bias: tuple[tuple[int, float], ...]) -> tuple[tuple[int, float], ...]:
    if len(bias) > _MAX_BIASES:
        raise UsageError(f"sampling: {len(bias)} entries of logit_bias; {_MAX_BIASES} are possible")
    if any(math.isnan(addend) or addend == math.inf for _, addend in bias):
        raise UsageError("sampling: a logit_bias must be finite, or -inf")
    return bias


def _in_range(name: str, value: float) -> bool:
    low, high = _RANGES[name]
    return low <= value <= high  # not so of a NaN
