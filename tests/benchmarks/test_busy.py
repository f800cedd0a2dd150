"""What is made of the times of completions and tokens."""

import pytest

from tests.bench.busy import Busy, Shared, alone, busy_targets, gaps, interference_targets, rate, shown, worst_rate

STEADY = [(10.0 * number, number) for number in range(1, 501)]  # 100 tokens a second for five seconds


def test_gaps_are_between_neighbours() -> None:
    """One fewer than times."""
    assert gaps([1.0, 4.0, 5.0]) == [3.0, 1.0]
    assert gaps([]) == []


def test_rate_is_from_the_first_to_the_last() -> None:
    """The wait for the first token is not decoding."""
    assert rate(STEADY) == pytest.approx(100)
    assert rate([(900.0, 1), (1900.0, 11)]) == pytest.approx(10)
    assert rate([(5.0, 1)]) == 0.0


def test_worst_window_finds_the_pause() -> None:
    """One second of silence halves the worst window of two seconds; a steady stream has none."""
    paused = [(at if at <= 2000 else at + 1000, count) for at, count in STEADY]
    assert worst_rate(STEADY, 2000) == pytest.approx(100)
    assert worst_rate(paused, 2000) == pytest.approx(50)


def test_window_longer_than_the_answer() -> None:
    """The whole counts."""
    assert worst_rate([(0.0, 1), (500.0, 51)], 2000) == pytest.approx(100)


def test_cell_shows_ratios_to_idle() -> None:
    """Median, 95th percentile, maximum; and where nothing was measured, that."""
    assert shown([20.0] * 99 + [90.0], [10.0] * 9) == "2.0 2.0 9.0 (n=100)"
    assert shown([], [10.0]) == "no sample"


def test_sides_are_compared_alone() -> None:
    """Ours over theirs, with an interval."""
    assert alone({"ours": [10.0] * 20, "peer": [20.0] * 20}) == {"ours": "10", "peer": "20; 0.50 [0.50, 0.50]"}


def good() -> Busy:
    """Everything within the limits: idle 10 ms, calls of 20 ms."""
    return Busy([10.0] * 40, [39.0] * 40, [12.0] * 40, [0, 1] * 40, [20.0] * 16)


def test_good_times_meet_all_targets() -> None:
    """Three targets."""
    assert [target.is_met for target in busy_targets(good())] == [True, True, True]


def test_an_idle_side_with_a_slow_tail_is_held_against_its_own() -> None:
    """Otherwise the noise of the machine would be counted against the load."""
    busy = good()
    busy.writing = [*[12.0] * 36, *[16.0] * 4]
    assert not busy_targets(busy)[0].is_met
    busy.idle = [*[10.0] * 36, *[13.0] * 4]
    assert busy_targets(busy)[0].is_met


@pytest.mark.parametrize(
    ("field", "value", "missed"),
    [
        ("writing", [14.0] * 40, 0),
        ("writing", [], 0),
        ("reading", [41.0] * 40, 1),
        ("reading", [], 1),
        ("steps_waited", [0, 2], 2),
        ("steps_waited", [None, None], 2),
    ],
)
def test_each_target_can_be_missed(field: str, value: list[float], missed: int) -> None:
    """Also by having no sample, or an engine that doesn't count steps."""
    busy = good()
    setattr(busy, field, value)
    assert [target.is_met for target in busy_targets(busy)] == [number != missed for number in range(3)]


def test_busy_has_enough_samples_of_both_kinds() -> None:
    """Reading and writing each."""
    assert good().has(40)
    assert not good().has(41)


def test_bound_of_the_share() -> None:
    """Nine tenths of what the completions leave; never below nothing."""
    assert Shared(1, 0.25, 1, 1).bound == pytest.approx(0.675)
    assert Shared(1, 1.5, 1, 1).bound == 0


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        (Shared(0.8, 0.2, 0.5, 1.0), [True, True]),
        (Shared(0.6, 0.2, 0.5, 1.0), [False, True]),
        (Shared(0.8, 0.2, 0.2, 1.0), [True, False]),
        (Shared(1.0, 0.0, 1.0, 0.0), [False, True]),
    ],
)
def test_interference_targets(pair: Shared, expected: list[bool]) -> None:
    """The share, the worst window; and an agent that lets no completion in has not kept its share."""
    assert [target.is_met for target in interference_targets([pair] * 5)] == expected
