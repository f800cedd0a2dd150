"""Estimates follow what calls took; chunks and deadlines follow the estimates."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcn_agent.config import SchedulerConfig
from qcn_agent.engine.deadline import Admission, CallTimes, quantum_s

CONFIG = SchedulerConfig()


def _measured(*calls: tuple[int, float], n_batch: int = 512) -> CallTimes:
    times = CallTimes(n_batch)
    for num_tokens, seconds in calls:
        times.add_prefill(num_tokens, seconds)
    return times


def test_nothing_is_expected_before_the_first_call() -> None:
    """No estimate, and the largest chunk: nobody knows better."""
    times = CallTimes(512)
    assert times.call_s(10) is None
    assert times.prefill_s(10) is None
    assert times.chunk(0.001) == 512


def test_between_two_sizes_the_curve_is_a_line() -> None:
    """And beyond the largest one it grows with the tokens."""
    times = _measured((64, 0.1), (256, 0.3))
    assert times.call_s(64) == pytest.approx(0.1)
    assert times.call_s(160) == pytest.approx(0.2)
    assert times.call_s(512) == pytest.approx(0.6)


def test_below_the_smallest_size_the_decode_step_is_the_floor() -> None:
    """The line begins at what a call costs that does nearly nothing."""
    times = _measured((100, 0.2))
    times.add_decode(0.1)
    assert times.call_s(50) == pytest.approx(0.15)


def test_a_hiccup_moves_no_estimate() -> None:
    """One call of five that took a hundred times as long is ignored."""
    times = _measured(*[(64, 0.1)] * 4, (64, 10.0))
    assert times.call_s(64) == pytest.approx(0.1)


def test_estimates_follow_a_change_within_a_few_calls() -> None:
    """Three slow calls of five are the new truth."""
    times = _measured(*[(64, 0.1)] * 5, *[(64, 0.4)] * 3)
    assert times.call_s(64) == pytest.approx(0.4)


def test_the_decode_step_follows_slowly() -> None:
    """The first one sets it, each later one moves it by a tenth."""
    times = CallTimes(512)
    times.add_decode(0.01)
    times.add_decode(0.02)
    assert times.decode_step_s == pytest.approx(0.011)


def test_a_long_prompt_is_full_calls_and_a_rest() -> None:
    """1100 tokens are two calls of 512 and one of 76."""
    times = _measured((64, 0.064), (512, 0.512))
    assert times.prefill_s(1100) == pytest.approx(1.1)
    assert times.prefill_s(512) == pytest.approx(0.512)


def test_on_a_straight_curve_the_chunk_fits_the_target() -> None:
    """One millisecond a token: powers of two down from n_batch, the largest that fits."""
    times = _measured((16, 0.016), (512, 0.512))
    assert [times.chunk(target) for target in (1.0, 0.3, 0.1, 0.05)] == [512, 256, 64, 32]


def test_no_chunk_is_below_the_knee() -> None:
    """Where a call of 128 tokens takes as long as one of 512, small calls waste time whatever the target."""
    times = _measured((64, 0.9), (128, 0.95), (256, 1.0), (512, 1.0))
    assert times.knee == 512
    assert times.chunk(0.05) == 512


def test_a_target_that_a_small_call_meets_is_worth_some_waste() -> None:
    """Up to three times the least time per token; beyond that the knee it is."""
    times = _measured((64, 0.045), (128, 0.080), (256, 0.150), (512, 0.128))
    assert times.knee == 512
    assert times.chunk(0.05) == 64
    dear = _measured((64, 0.049), (128, 0.080), (256, 0.150), (512, 0.100))
    assert dear.chunk(0.05) == dear.knee == 512


def test_a_path_that_grows_slows_down_calls_of_every_size() -> None:
    """The large call was measured at its beginning: it does not look cheaper and cheaper beside the small ones."""
    times = _measured((512, 0.128), *[(128, 0.034)] * 5)
    for took in (0.036, 0.038, 0.040, 0.042, 0.044, 0.046, 0.048, 0.050, 0.052, 0.054, 0.056, 0.058):
        times.add_prefill(128, took)
    slowed = (times.call_s(128) or 0.0) / 0.034
    assert slowed > 1.5
    assert times.call_s(512) == pytest.approx(0.128 * slowed)


def test_one_hiccup_moves_no_other_size() -> None:
    """Levels follow medians."""
    times = _measured((512, 0.128), *[(128, 0.034)] * 5, (128, 3.4))
    assert times.call_s(512) == pytest.approx(0.128)


def test_a_cold_first_call_spoils_no_other_size() -> None:
    """Ten times too slow at first: what was measured since stays as it was measured."""
    times = _measured((512, 10.0), (128, 0.3), (64, 0.2), *[(512, 1.0)] * 3)
    assert times.call_s(128) == pytest.approx(0.3)
    assert times.call_s(64) == pytest.approx(0.2)


def test_the_knee_is_where_tokens_get_dear() -> None:
    """A flat part up to 128 tokens, then a slope: below 128 a token costs more than 1.5 times the least."""
    times = _measured((32, 0.128), (64, 0.128), (128, 0.140), (256, 0.256), (512, 0.512))
    assert times.knee == 128
    assert times.chunk(0.01) == 128


def test_a_small_chunk_is_tried_before_it_is_judged() -> None:
    """A guess from large calls alone is too kind to small ones; one measured call corrects it."""
    times = _measured((512, 1.0))
    tried = times.chunk(0.05)
    assert tried < 64
    times.add_prefill(tried, 0.95)
    assert times.chunk(0.05) > 4 * tried


@given(st.lists(st.tuples(st.integers(2, 512), st.floats(1e-4, 10)), min_size=1, max_size=30), st.floats(1e-3, 2))
def test_a_chunk_is_always_possible(calls: list[tuple[int, float]], target_s: float) -> None:
    """Whatever was measured: between 16 tokens and a full call, and below the knee only to meet the target."""
    times = _measured(*calls)
    chunk = times.chunk(target_s)
    assert 16 <= chunk <= 512
    assert chunk >= times.knee or (times.call_s(chunk) or math.inf) <= target_s


@pytest.mark.parametrize("n_batch", [16, 17, 100, 2048])
def test_any_batch_size_has_chunks(n_batch: int) -> None:
    """Also one that is smaller than the smallest chunk twice over, or no power of two."""
    times = _measured((8, 0.008), n_batch=n_batch)
    assert times.chunk(10.0) == n_batch
    assert 0 < times.chunk(0.0001) <= n_batch


def test_the_quantum_depends_on_who_may_come() -> None:
    """Large while nobody else is there, smaller beside others, small while someone types, as long as what is owed."""
    assert quantum_s(CONFIG, idle_s=math.inf, owed_s=0, is_shared=False) == 1.0
    assert quantum_s(CONFIG, idle_s=60, owed_s=0, is_shared=True) == pytest.approx(0.1)
    assert quantum_s(CONFIG, idle_s=4.9, owed_s=-1, is_shared=False) == pytest.approx(0.05)
    assert quantum_s(CONFIG, idle_s=0, owed_s=0.4, is_shared=True) == pytest.approx(0.4)
    assert quantum_s(replace(CONFIG, typing_window_s=1), idle_s=4.9, owed_s=0, is_shared=False) == 1.0


def test_a_deadline_is_refused_only_on_evidence() -> None:
    """Enough time, an unknown expectation and no deadline at all are admitted; time that is over never is."""
    admission = Admission()
    assert admission.admits(0.1, 0.2)
    assert admission.admits(None, 0.2)
    assert admission.admits(1e9, math.inf)
    assert not admission.admits(0.3, 0.2)
    assert not any(admission.admits(None, 0.0) for _ in range(20))


def test_an_estimate_that_refuses_everything_is_put_to_the_test() -> None:
    """The eighth in a row is tried; after that the count begins again."""
    admission = Admission()
    assert [admission.admits(1.0, 0.1) for _ in range(16)] == ([False] * 7 + [True]) * 2
    assert [admission.admits(1.0, 0.1) for _ in range(5)] == [False] * 5
    assert admission.admits(0.05, 0.1)
    assert not any(admission.admits(1.0, 0.1) for _ in range(7))


def test_a_step_after_a_larger_call_counts_apart() -> None:
    """It is slower, and says nothing of a typical step; the median ignores a hiccup."""
    times = CallTimes(64)
    assert (times.typical_step_s(), times.switch_s()) == (0.0, 0.0)
    for _ in range(3):
        for seconds in (0.001, 0.001, 0.001):
            times.add_decode(seconds)
        times.add_prefill(8, 0.01)
        times.add_decode(0.004)
    times.add_decode(5.0)
    assert times.typical_step_s() == pytest.approx(0.001)
    assert times.switch_s() == pytest.approx(0.003)
