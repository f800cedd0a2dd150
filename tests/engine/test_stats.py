"""Rates follow the present without jumping."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcn_agent.engine.stats import Rate


def test_the_first_call_sets_the_rate() -> None:
    """Nothing is averaged with the zero of the beginning."""
    rate = Rate()
    rate.add(50, 0.5)
    assert rate.tokens_per_s == 100.0


def test_later_calls_pull_it_along() -> None:
    """One call moves it a fifth of the way, many calls all of it."""
    rate = Rate(100.0)
    rate.add(200, 1.0)
    assert rate.tokens_per_s == pytest.approx(120.0)
    for _ in range(100):
        rate.add(200, 1.0)
    assert rate.tokens_per_s == pytest.approx(200.0)


def test_a_call_that_took_no_time_is_ignored() -> None:
    """A coarse clock gives no infinite rate."""
    rate = Rate(10.0)
    rate.add(5, 0.0)
    assert rate.tokens_per_s == 10.0


@given(st.lists(st.floats(1, 1000), min_size=1))
def test_the_rate_stays_within_its_samples(samples: list[float]) -> None:
    """An average is never beyond what was averaged."""
    rate = Rate()
    for sample in samples:
        rate.add(1, 1 / sample)
    assert min(samples) * 0.999 <= rate.tokens_per_s <= max(samples) * 1.001
