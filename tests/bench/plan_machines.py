"""Rates of machines that are not here, from the tables of the hardware research; marked as simulated wherever shown.

What a call of n tokens takes, all sizes from Qwen3-Coder-Next: a fixed part; the weights that it reads, where n tokens
meet 1 - (1 - 10/512)^n of the experts; and the arithmetic, n tokens at the speed of long prompts. Experts in RAM are
computed by the CPU for fewer than 32 tokens, else streamed to the card, half of those met being streamed as the one
measured row implies. Sources: sections 3, 5.2 to 5.4 and 5.6.
"""

from dataclasses import dataclass

from qcn_agent.completion.rates import Rates

EXPERTS_GB, DENSE_GB = 46.8, 1.66  # Q4_K_M: routed experts; all else that a token reads, the state twice
ACTIVE = 10 / 512
_EFFICIENCY = 0.85  # of a device's bandwidth
_OFFLOAD_TOKENS = 32
_STREAMED = 0.5
_LAYER_MS = 0.04
_NUM_LAYERS = 48
_SIZES = (1, 2, 4, 8, 16, 31, 32, 64, 128, 256, 512, 1024, 2048, 4096)
_UBATCH = 512


@dataclass(frozen=True)
class Machine:
    """A computer with the big model on it. Bandwidths in GB/s; `on_card` is the share of experts on the device.

    `resident_per_s`: tokens a second of long prompts if all of it were on the device.
    """

    name: str
    on_card: float
    bandwidth: float
    resident_per_s: float
    fixed_ms: float = 6.5
    cpu_bandwidth: float = 50.0
    pcie: float = 50.0
    small: "SmallModel | None" = None  # that fits beside it

    @property
    def experts_in_ram(self) -> bool:
        """Whether the product takes its budget for that."""
        return self.on_card < 1

    def call_ms(self, num_tokens: int) -> float:
        """One call."""
        full, rest = divmod(num_tokens, _UBATCH)
        return full * self._call_ms(_UBATCH) + (self._call_ms(rest) if rest else 0.0)

    def _call_ms(self, num_tokens: int) -> float:
        met = 1 - (1 - ACTIVE) ** num_tokens
        card_ms = 1e3 * (DENSE_GB + met * EXPERTS_GB * self.on_card) / (_EFFICIENCY * self.bandwidth)
        compute_ms = 1e3 * num_tokens / self.resident_per_s
        return self.fixed_ms + max(card_ms, compute_ms) + self._ram_ms(num_tokens, met)

    def _ram_ms(self, num_tokens: int, met: float) -> float:
        in_ram_gb = EXPERTS_GB * (1 - self.on_card)
        if not in_ram_gb:
            return 0.0
        if num_tokens < _OFFLOAD_TOKENS:
            return 1e3 * met * in_ram_gb / self.cpu_bandwidth + _LAYER_MS * _NUM_LAYERS * (1 - self.on_card)
        return 1e3 * min(_STREAMED, met) * in_ram_gb / self.pcie

    @property
    def rates(self) -> Rates:
        """For the planner."""
        points, longest = [], 0.0
        for size in _SIZES[1:]:
            longest = max(longest, self.call_ms(size))
            points.append((float(size), longest))
        return Rates(tuple(points), self.call_ms(1))


@dataclass(frozen=True)
class SmallModel:
    """A dense model of `gigabytes` on a device of `bandwidth`.

    Its prompts at `prefill_per_s`: what the device does with the big model's 3 billion active weights, so rather more.
    """

    gigabytes: float
    bandwidth: float
    prefill_per_s: float
    fixed_ms: float = 6.5

    @property
    def rates(self) -> Rates:
        """For the planner."""
        step_ms = self.fixed_ms + 1e3 * self.gigabytes / (_EFFICIENCY * self.bandwidth)
        sizes = [float(size) for size in _SIZES[1:]]
        return Rates(tuple((size, max(step_ms, 1e3 * size / self.prefill_per_s)) for size in sizes), step_ms)


SMALL_NAME = "Qwen2.5-Coder 1.5B Q8_0"
MACHINES = (
    # long prompts: the fastest row of a card of this bandwidth
    Machine(
        "RTX 5090, 37% of the experts in RAM", 0.63, 1792.0, 3572.0, pcie=52.0, small=SmallModel(1.65, 1792.0, 3572.0)
    ),
    Machine("two RTX 3090", 1.0, 936.0, 2137.0),
    # long prompts: 0.68 times an M2 Ultra's, by cores; steps between the two that were reported
    Machine("M4 Max", 1.0, 546.0, 920.0, fixed_ms=12.0, small=SmallModel(1.65, 546.0, 920.0)),
    Machine("12 GB card, all experts in RAM", 0.0, 504.0, 1535.0, pcie=25.0, small=SmallModel(1.65, 504.0, 1535.0)),
)
