"""Drafts are verified where what they save is more than what they cost."""

import math

import numpy as np
import pytest

from qcn_agent.engine.acceptance import Acceptance, Gauge
from qcn_agent.engine.deadline import CallTimes


def _times(*, step_ms: float, token_ms: float) -> CallTimes:
    """Calls of one token take `step_ms`, each further one `token_ms` more."""
    times = CallTimes(64)
    times.add_decode(step_ms / 1e3)
    for size in (2, 4, 8, 16, 32, 64):
        times.add_prefill(size, (step_ms + token_ms * (size - 1)) / 1e3)
    return times


def _seen(num_accepted: int, num_drafted: int = 15, num_calls: int = 100) -> Acceptance:
    acceptance = Acceptance()
    for _ in range(num_calls):
        acceptance.record(5, num_drafted, num_accepted)
    return acceptance


def _ask(gauge: Gauge, num_unread: int = 1, limit_s: float = math.inf) -> int:
    return gauge.num_worthwhile(num_unread, 15, 5, limit_s)


def test_the_rate_is_that_of_tested_guesses() -> None:
    """What follows a wrong one was not tested: three right ones of fifteen are three of four."""
    assert _seen(3).rate(5) == pytest.approx(0.75, abs=0.01)
    assert _seen(15).rate(5) == pytest.approx(1.0, abs=0.01)
    assert _seen(0).rate(5) == pytest.approx(0.0, abs=0.01)


def test_matches_of_other_lengths_have_their_own_rate() -> None:
    """A long copy goes on more surely than three tokens."""
    acceptance = _seen(0)
    before = Acceptance().rate(3)
    assert acceptance.rate(4) == acceptance.rate(7) < 0.01
    assert acceptance.rate(3) == acceptance.rate(8) == acceptance.rate(16) == acceptance.rate(99) == before


def test_the_rate_forgets() -> None:
    """A hundred wrong ones are outweighed by some right ones."""
    acceptance = _seen(0)
    for _ in range(10):
        acceptance.record(5, 15, 15)
    assert acceptance.rate(5) > 0.8


@pytest.mark.parametrize(
    ("num_accepted", "token_ms", "expected"),
    [(15, 0.1, 15), (15, 9.9, 0), (0, 0.1, 0), (2, 2.0, 3), (2, 6.0, 0), (10, 5.0, 7)],
    ids=["sure and cheap", "as dear as steps", "always wrong", "the first right", "that, dear", "mostly right"],
)
def test_as_much_is_verified_as_pays(num_accepted: int, token_ms: float, expected: int) -> None:
    """The longer draft where it is likely right or cheap, a part of it or nothing elsewhere."""
    gauge = Gauge(_seen(num_accepted), _times(step_ms=10, token_ms=token_ms), rolls_back=False)
    assert _ask(gauge) == expected


def test_a_state_that_goes_back_costs_more() -> None:
    """What pays where wrong guesses are cut off may not pay where right ones before them are read again."""
    acceptance, times = _seen(3), _times(step_ms=10, token_ms=4.5)
    assert _ask(Gauge(acceptance, times, rolls_back=False)) > 0
    assert _ask(Gauge(acceptance, times, rolls_back=True)) == 0


def test_going_back_to_single_steps_has_its_price() -> None:
    """Where the step after a larger call takes long, a short draft saves less than that."""
    times = _times(step_ms=10, token_ms=1)
    assert Gauge(_seen(15), times, rolls_back=False).num_worthwhile(1, 3, 5, math.inf) == 3
    times.add_prefill(8, 0.017)
    times.add_decode(0.1)
    assert Gauge(_seen(15), times, rolls_back=False).num_worthwhile(1, 3, 5, math.inf) == 0


def test_no_call_is_longer_than_the_limit() -> None:
    """A part that fits, or nothing."""
    gauge = Gauge(_seen(15), _times(step_ms=10, token_ms=1), rolls_back=True)
    assert _ask(gauge, limit_s=0.0251) == 15
    assert _ask(gauge, limit_s=0.020) == 7
    assert [_ask(gauge, limit_s=0.011) for _ in range(2000)] == [0] * 2000


def test_before_the_first_prefill_nothing_is_known_and_nothing_drafted() -> None:
    """Calls of several tokens may cost anything."""
    times = CallTimes(64)
    times.add_decode(0.01)
    assert _ask(Gauge(_seen(15), times, rolls_back=False), limit_s=60.0) == 0


def test_nothing_is_looked_up_for_ever_longer_while_nothing_pays() -> None:
    """2, 4, 8 .. 64 tokens after each refusal; a draft that pays ends that."""
    acceptance = _seen(0)
    gauge = Gauge(acceptance, _times(step_ms=10, token_ms=1), rolls_back=True)
    looked = []
    for token in range(300):
        if not gauge.is_resting():
            looked.append(token)
            _ask(gauge)
    assert np.diff(looked).tolist() == [3, 5, 9, 17, 33, 65, 65, 65]
    for _ in range(20):
        acceptance.record(5, 15, 15)
    assert _ask(gauge) == 15
    for _ in range(200):
        acceptance.record(5, 15, 0)
    assert _ask(gauge) == 0
    assert [gauge.is_resting() for _ in range(3)] == [True, True, False]


def test_each_eighth_refusal_is_a_probe() -> None:
    """A quarter of the draft, so that a wrong estimate is corrected."""
    gauge = Gauge(_seen(0), _times(step_ms=10, token_ms=1), rolls_back=True)
    assert [_ask(gauge) for _ in range(24)] == [*[0] * 7, 3] * 3


def test_a_draft_of_one_token_is_enough() -> None:
    """At the end of an answer there is room for no more."""
    gauge = Gauge(_seen(15), _times(step_ms=10, token_ms=1), rolls_back=True)
    assert gauge.num_worthwhile(1, 1, 5, math.inf) == 1
