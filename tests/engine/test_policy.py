"""Strict order between classes, and a share of the contended time for each one below."""

import itertools
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcn_agent.engine.policy import WINDOW_S, Debt, Turn, Turns


def _timeline(seconds: Mapping[Turn, float], total_s: float, share: float = 0.3) -> list[Turn]:
    """The class of each step while all of `seconds` always want to run and a step takes so long, for `total_s`."""
    turns, ran, spent = Turns(share), list[Turn](), 0.0
    while spent < total_s:
        chosen = turns.choose(seconds, completions_may_wait=True)
        turns.ran({chosen}, set(seconds) - {chosen}, seconds[chosen])
        spent += seconds[chosen]
        ran.append(chosen)
    return ran


def _shares(ran: list[Turn], seconds: Mapping[Turn, float]) -> dict[Turn, float]:
    total = sum(seconds[turn] for turn in ran)
    return {turn: ran.count(turn) * seconds[turn] / total for turn in seconds}


@given(st.sets(st.sampled_from(Turn), min_size=1))
def test_without_debts_the_most_urgent_class_goes_first(wanting: set[Turn]) -> None:
    """Whatever else wants to run."""
    assert Turns(0.3).choose(wanting, completions_may_wait=True) == min(wanting)


@given(st.floats(0.005, 0.2), st.floats(0.005, 0.2), st.sampled_from([Turn.DECODE, Turn.LONG_PREFILL]))
def test_completions_leave_a_share_over_any_two_seconds(completion_s: float, other_s: float, other: Turn) -> None:
    """Both always want to run: in each window the other one gets 30%, less two steps at the window's edges."""
    seconds = {Turn.COMPLETION: completion_s, other: other_s}
    ran = _timeline(seconds, 12)
    for begin in range(0, len(ran), 7):
        window, total = 0.0, 0.0
        for turn in ran[begin:]:
            total += seconds[turn]
            window += seconds[turn] if turn is other else 0.0
            if total >= WINDOW_S:
                break
        if total >= WINDOW_S:
            assert window >= 0.3 * WINDOW_S - 0.3 * (completion_s + other_s) - other_s - 1e-9
    assert _shares(ran, seconds)[Turn.COMPLETION] > 0.6


def test_all_foreground_classes_get_on() -> None:
    """With a flood of each, completions take 70%, first tokens most of the rest; decodes and long prefills share."""
    seconds = {Turn.COMPLETION: 0.02, Turn.FIRST_TOKEN: 0.03, Turn.DECODE: 0.005, Turn.LONG_PREFILL: 0.05}
    shares = _shares(_timeline(seconds, 60), seconds)
    assert shares[Turn.COMPLETION] == pytest.approx(0.7, abs=0.05)
    assert shares[Turn.FIRST_TOKEN] == pytest.approx(0.21, abs=0.03)
    assert shares[Turn.DECODE] == pytest.approx(0.045, abs=0.02)
    assert shares[Turn.LONG_PREFILL] == pytest.approx(0.045, abs=0.02)


def test_decodes_and_long_prefills_alternate_by_time() -> None:
    """A chunk of 50 ms is followed by about ten decode steps of 5 ms."""
    seconds = {Turn.DECODE: 0.005, Turn.LONG_PREFILL: 0.05}
    ran = _timeline(seconds, 10)
    assert _shares(ran, seconds)[Turn.DECODE] == pytest.approx(0.5, abs=0.02)
    assert Turn.LONG_PREFILL not in [b for a, b in itertools.pairwise(ran) if a is Turn.LONG_PREFILL]


@pytest.mark.parametrize("busy", [Turn.COMPLETION, Turn.DECODE, Turn.LONG_PREFILL])
def test_background_work_waits_long_but_not_for_ever(busy: Turn) -> None:
    """Not in the first five busy seconds; about two percent in the long run."""
    seconds = {busy: 0.05, Turn.BACKGROUND: 0.05}
    assert Turn.BACKGROUND not in _timeline(seconds, 4.5)
    assert 0.01 < _shares(_timeline(seconds, 200), seconds)[Turn.BACKGROUND] < 0.03


def test_a_completion_that_waited_once_does_not_wait_again() -> None:
    """However much is owed."""
    turns = Turns(0.3)
    wanting = {Turn.COMPLETION, Turn.LONG_PREFILL, Turn.BACKGROUND}
    for _ in range(1000):
        turns.ran({Turn.COMPLETION}, wanting, 0.1)
    assert turns.choose(wanting, completions_may_wait=False) is Turn.COMPLETION
    assert turns.choose(wanting, completions_may_wait=True) is not Turn.COMPLETION


def test_time_alone_counts_for_nobody() -> None:
    """An hour of completions without a competitor gives a prefill that comes then no claim, and the other way round."""
    turns = Turns(0.3)
    turns.ran({Turn.COMPLETION}, set(), 3600.0)
    assert turns.is_settled
    both = {Turn.COMPLETION, Turn.LONG_PREFILL}
    assert turns.choose(both, completions_may_wait=True) is Turn.COMPLETION
    for _ in range(100):
        turns.ran({Turn.LONG_PREFILL}, set(), 0.05)
    turns.ran({Turn.COMPLETION}, {Turn.LONG_PREFILL}, 0.05 * 0.7 / 0.3 + 0.01)
    assert turns.choose(both, completions_may_wait=True) is Turn.LONG_PREFILL


def test_a_debt_ends_with_its_creditor() -> None:
    """When nobody is left to be owed to, the next one to come starts from zero."""
    turns = Turns(0.3)
    turns.ran({Turn.DECODE}, {Turn.LONG_PREFILL}, 1.0)
    assert not turns.is_settled
    turns.ran({Turn.DECODE}, set(), 0.01)
    assert turns.is_settled


def test_decodes_ride_along_only_for_what_they_are_owed() -> None:
    """A second row makes a completion's call dearer, so it needs a reason; a long prefill's turn comes before."""
    turns = Turns(0.3)
    assert not turns.takes_along(Turn.COMPLETION, Turn.DECODE)
    turns.ran({Turn.COMPLETION}, {Turn.DECODE}, 0.1)
    assert turns.takes_along(Turn.COMPLETION, Turn.DECODE)
    assert not turns.takes_along(Turn.COMPLETION, Turn.LONG_PREFILL)
    assert not turns.takes_along(Turn.COMPLETION, Turn.BACKGROUND)
    turns.ran({Turn.DECODE}, {Turn.LONG_PREFILL, Turn.COMPLETION}, 0.01)
    assert not turns.takes_along(Turn.COMPLETION, Turn.DECODE)


def test_a_shared_step_pays_back() -> None:
    """Rows that rode along were served for as long as the call took."""
    turns = Turns(0.3)
    turns.ran({Turn.COMPLETION}, {Turn.DECODE}, 0.1)
    turns.ran({Turn.COMPLETION, Turn.DECODE}, set(), 0.1)
    assert turns.owed_s < 0


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 10)), max_size=50))
def test_a_debt_stays_within_its_limits(steps: list[tuple[bool, float]]) -> None:
    """No burst buys more than the limit, no turn a credit beyond its own length."""
    debt = Debt(0.4, limit_s=1.5)
    for favoured, seconds in steps:
        (debt.favoured_ran if favoured else debt.other_ran)(seconds)
        assert debt.owed_s <= 1.5
        assert debt.owed_s >= -max(seconds for _, seconds in steps)
