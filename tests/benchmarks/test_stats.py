"""Shares, medians and their intervals."""

import math
import random

import pytest

from tests.bench.stats import Median, Quantile, Share, only_one, quantile


@pytest.mark.parametrize(
    ("num_hits", "num_trials", "low", "high"),
    [(8, 10, 0.4901, 0.9433), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (150, 240, 0.5622, 0.6839)],
)
def test_wilson_interval(num_hits: int, num_trials: int, low: float, high: float) -> None:
    """The interval has the published values, and stays inside 0 .. 1 at both ends."""
    assert Share(num_hits, num_trials).interval == pytest.approx((low, high), abs=5e-4)


def test_more_trials_narrow_the_interval() -> None:
    """The same share of ten times as many trials is known better."""
    (low, high), (lower, higher) = Share(60, 100).interval, Share(6, 10).interval
    assert lower < low < 0.6 < high < higher


def test_nothing_tried_says_nothing() -> None:
    """Without a trial every share is possible."""
    assert (Share(0, 0).share, Share(0, 0).interval) == (0.0, (0.0, 1.0))


@pytest.mark.parametrize(("num_hits", "num_trials"), [(3, 2), (-1, 2)])
def test_impossible_counts_are_refused(num_hits: int, num_trials: int) -> None:
    """More hits than trials is a mistake in the benchmark, not a share."""
    with pytest.raises(ValueError, match=f"{num_hits} hits of {num_trials}"):
        Share(num_hits, num_trials)


def test_share_as_text() -> None:
    """A share is never shown without its interval."""
    assert str(Share(8, 10)) == "8 = 80.0% [49.0%, 94.3%]"


def test_wilson_interval_covers_the_truth() -> None:
    """In about 95% of many experiments the interval holds the true share."""
    rng = random.Random(0)
    shares = [Share(sum(rng.random() < 0.7 for _ in range(60)), 60) for _ in range(1000)]
    covered = sum(share.interval[0] <= 0.7 <= share.interval[1] for share in shares)
    assert 920 <= covered <= 980


def test_median_and_its_order_statistics() -> None:
    """The interval of 1 .. 100 is the 41st to the 61st sample, whatever their order."""
    samples = [float(number) for number in range(1, 101)]
    random.Random(1).shuffle(samples)
    assert Median.of(samples) == Median(50.5, 41.0, 61.0, 100)


def test_median_interval_covers_the_truth() -> None:
    """In at least 93% of many experiments the interval holds the true median."""
    rng = random.Random(2)
    medians = [Median.of([rng.expovariate(1.0) for _ in range(31)]) for _ in range(1000)]
    truth = math.log(2)
    assert sum(median.low <= truth <= median.high for median in medians) >= 930


def test_median_of_one_sample() -> None:
    """One sample is its own interval."""
    assert Median.of([3.0]) == Median(3.0, 3.0, 3.0, 1)


def test_only_the_pairs_that_differ_count() -> None:
    """What both or neither did says nothing about who is better."""
    ours, theirs = [True, True, True, False, False], [True, False, False, True, False]
    assert only_one(ours, theirs) == Share(2, 3)


def test_pairs_must_be_pairs() -> None:
    """Results of different bugs can't be compared."""
    with pytest.raises(ValueError, match="shorter"):
        only_one([True], [])


def test_quantile_is_an_order_statistic() -> None:
    """Of 1 … 100 the 95th percentile is 95, its interval lies around it."""
    found = Quantile.of([float(number) for number in range(100, 0, -1)], 0.95)
    assert (found.value, found.num_samples) == (95.0, 100)
    assert 88 <= found.low < 95 < found.high <= 100


def test_quantile_of_one_sample() -> None:
    """It is all there is."""
    assert Quantile.of([3.0], 0.95) == Quantile(3.0, 3.0, 3.0, 1)


def test_ratio_of_quantiles_takes_the_worst_corners() -> None:
    """Low over high, high over low."""
    assert Quantile(4, 2, 6, 9).over(Quantile(2, 1, 4, 9)) == (2.0, 0.5, 6.0)


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1.0), (0.5, 3.0), (0.95, 4.0), (1.0, 4.0)])
def test_a_plain_quantile_is_a_sample(share: float, expected: float) -> None:
    """The one at that rank; nothing of nothing."""
    assert quantile([4.0, 2.0, 3.0, 1.0], share) == expected
    assert quantile([], share) == 0.0
