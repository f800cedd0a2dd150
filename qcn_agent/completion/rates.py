"""How fast the model is now, learned from what each answer cost."""

from collections.abc import Sequence
from dataclasses import dataclass

from qcn_agent.engine.deadline import CallTimes
from qcn_agent.engine.generator import Usage

_LARGEST = 4096  # tokens; more go on as a straight line
_WEIGHT = 0.3  # of the newest wait
_SIZES = tuple(16 << power for power in range(9))


@dataclass(frozen=True)
class Rates:
    """`prefill`: points (tokens, milliseconds), both ascending; at least one. `decode_ms` is one token's."""

    prefill: tuple[tuple[float, float], ...]
    decode_ms: float

    def prefill_ms(self, num_tokens: int) -> float:
        """Milliseconds to read so many tokens, between the points by straight lines; never less than a decode step."""
        if num_tokens <= 0:
            return 0.0
        low = (0.0, 0.0)
        for point in self.prefill:
            if num_tokens <= point[0]:
                share = (num_tokens - low[0]) / (point[0] - low[0])
                return max(self.decode_ms, low[1] + share * (point[1] - low[1]))
            low = point
        return max(self.decode_ms, low[1] * num_tokens / low[0])

    def slowed(self, factor: float) -> "Rates":
        """The same machine, `factor` times slower."""
        return Rates(tuple((tokens, factor * ms) for tokens, ms in self.prefill), factor * self.decode_ms)


def straight(prefill_tokens_per_s: float, decode_ms: float, call_ms: float = 0.0) -> Rates:
    """Rates of a machine that needs `call_ms` for any call and reads so many tokens a second."""
    return Rates(_straight(prefill_tokens_per_s, call_ms), decode_ms)


def _straight(per_s: float, call_ms: float) -> tuple[tuple[float, float], ...]:
    return tuple((float(size), call_ms + 1e3 * size / per_s) for size in _SIZES)


ASSUMED = straight(400.0, 25.0)  # before anything was measured: slow, so that the first answer is not late


class RateMeter:
    """Live `Rates`, by `CallTimes`: medians of recent prefills of about one size."""

    def __init__(self, assumed: Rates = ASSUMED) -> None:
        self._times = CallTimes(_LARGEST)
        self._assumed = assumed
        self.queue_ms = 0.0  # how long requests wait for their turn, lately

    def add(self, usage: Usage) -> None:
        """Learn from a request that has ended."""
        self.queue_ms += _WEIGHT * (usage.queue_ms - self.queue_ms)
        num_read = usage.num_prompt_tokens - usage.num_reused_tokens
        if num_read > 0 and usage.prefill_ms > 0:
            self._times.add_prefill(min(num_read, _LARGEST), usage.prefill_ms / 1e3)
        if usage.num_generated_tokens > 1 and usage.decode_ms > 0:
            self._times.add_decode(usage.decode_ms / 1e3 / (usage.num_generated_tokens - 1))

    @property
    def rates(self) -> Rates:
        """What holds now; assumptions for what was not measured yet."""
        decode_ms = 1e3 * self._times.decode_step_s or self._assumed.decode_ms
        measured = [(float(size), 1e3 * (self._times.call_s(size) or 0.0)) for size in _SIZES]
        known = self._times.call_s(_LARGEST) is not None
        return Rates(_ascending(measured) if known else self._assumed.prefill, decode_ms)


def _ascending(points: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """No size takes less than a smaller one: noise must not make a longer prompt look cheaper."""
    kept: list[tuple[float, float]] = []
    for tokens, ms in points:
        kept.append((tokens, max(ms, kept[-1][1] if kept else 0.0)))
    return tuple(kept)
