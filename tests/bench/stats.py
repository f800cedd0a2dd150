"""Shares and medians with their 95% intervals, without random numbers."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

Z95 = statistics.NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Share:
    """`num_hits` of `num_trials` and the Wilson score interval of the share; 0 .. 1 where nothing was tried."""

    num_hits: int
    num_trials: int

    def __post_init__(self) -> None:
        if not 0 <= self.num_hits <= self.num_trials:
            raise ValueError(f"{self.num_hits} hits of {self.num_trials} trials")

    @property
    def share(self) -> float:
        """The share itself, 0 .. 1; 0 where nothing was tried."""
        return self.num_hits / self.num_trials if self.num_trials else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The Wilson score interval, 95%."""
        if not self.num_trials:
            return 0.0, 1.0
        n, z2 = self.num_trials, Z95 * Z95
        centre = (self.share + z2 / (2 * n)) / (1 + z2 / n)
        half = Z95 / (1 + z2 / n) * math.sqrt(self.share * (1 - self.share) / n + z2 / (4 * n * n))
        return max(0.0, centre - half), min(1.0, centre + half)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.num_hits} = {self.share:.1%} [{low:.1%}, {high:.1%}]"


@dataclass(frozen=True)
class Median:
    """The median of samples and its distribution-free 95% interval, which are samples themselves."""

    value: float
    low: float
    high: float
    num_samples: int

    @classmethod
    def of(cls, samples: Sequence[float]) -> "Median":
        """Of at least one sample. The interval is the order statistics around the middle (normal approximation)."""
        ordered, n = sorted(samples), len(samples)
        reach = Z95 * math.sqrt(n) / 2
        low, high = max(0, math.floor(n / 2 - reach)), min(n - 1, math.ceil(n / 2 + reach))
        return cls(statistics.median(ordered), ordered[low], ordered[high], n)


@dataclass(frozen=True)
class Quantile:
    """A quantile of samples and its distribution-free 95% interval, which are samples themselves."""

    value: float
    low: float
    high: float
    num_samples: int

    @classmethod
    def of(cls, samples: Sequence[float], share: float) -> "Quantile":
        """The `share` quantile (0 .. 1) of at least one sample: the order statistics around its rank."""
        ordered, n = sorted(samples), len(samples)
        reach = Z95 * math.sqrt(n * share * (1 - share))
        ranks = (n * share, n * share - reach, n * share + reach)
        value, low, high = (ordered[min(n - 1, max(0, math.ceil(rank) - 1))] for rank in ranks)
        return cls(value, low, high, n)

    def over(self, other: "Quantile") -> tuple[float, float, float]:
        """Ratio to another one and an interval of it, wider than 95%: the worst corners of both."""
        return self.value / other.value, self.low / other.high, self.high / other.low


@dataclass(frozen=True)
class Mean:
    """The mean of samples and its 95% interval by the normal approximation."""

    value: float
    low: float
    high: float
    num_samples: int

    @classmethod
    def of(cls, samples: Sequence[float]) -> "Mean":
        """Of at least one sample; of one the interval is that sample."""
        value = statistics.fmean(samples)
        reach = Z95 * statistics.stdev(samples) / math.sqrt(len(samples)) if len(samples) > 1 else 0.0
        return cls(value, value - reach, value + reach, len(samples))

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def only_one(ours: Sequence[bool], theirs: Sequence[bool]) -> Share:
    """Of the pairs where exactly one side succeeded: how often it was ours. Ours is better where 0.5 lies below it."""
    different = [mine for mine, other in zip(ours, theirs, strict=True) if mine != other]
    return Share(sum(different), len(different))


def quantile(samples: Sequence[float], share: float) -> float:
    """The sample at this rank; 0 without any."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
