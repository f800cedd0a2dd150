"""How fast the model is."""

import pytest

from qcn_agent.completion.rates import ASSUMED, RateMeter, Rates, straight
from qcn_agent.engine.generator import Usage


def usage(
    num_read: int, prefill_ms: float, num_said: int = 11, decode_ms: float = 100.0, queue_ms: float = 0.0
) -> Usage:
    """A request that read and said so much."""
    return Usage(
        num_prompt_tokens=1000 + num_read,
        num_reused_tokens=1000,
        num_generated_tokens=num_said,
        prefill_ms=prefill_ms,
        decode_ms=decode_ms,
        queue_ms=queue_ms,
    )


def test_between_and_beyond_the_points_time_is_a_straight_line() -> None:
    """Nothing fresh costs nothing; anything costs at least a decode step."""
    rates = Rates(((100.0, 50.0), (200.0, 60.0)), 5.0)

    assert [rates.prefill_ms(n) for n in (0, 1, 50, 100, 150, 400)] == [0.0, 5.0, 25.0, 50.0, 55.0, 120.0]


def test_a_slower_machine_is_slower_in_everything() -> None:
    """The factor holds for reading and for speaking."""
    rates = straight(1000.0, 10.0).slowed(10)

    assert (rates.prefill_ms(16), rates.decode_ms) == (160.0, 100.0)


def test_before_anything_was_measured_the_assumption_holds() -> None:
    """A first plan needs numbers, too."""
    assert RateMeter().rates == ASSUMED


def test_what_answers_cost_is_what_the_next_ones_will() -> None:
    """Prefill by size, one token by the decode time."""
    meter = RateMeter()
    for _ in range(5):
        meter.add(usage(16, 8.0))
        meter.add(usage(1024, 256.0))

    rates = meter.rates
    assert rates.prefill_ms(1024) == pytest.approx(256.0)
    assert rates.prefill_ms(16) == pytest.approx(10.0)  # not less than a decode step
    assert rates.decode_ms == pytest.approx(10.0)


def test_a_hiccup_does_not_count() -> None:
    """The median of recent requests of one size."""
    meter = RateMeter()
    for prefill_ms in (50.0, 50.0, 5000.0, 50.0, 50.0):
        meter.add(usage(100, prefill_ms))

    assert meter.rates.prefill_ms(100) == pytest.approx(50.0, rel=0.4)


def test_noise_never_makes_a_longer_prompt_cheaper() -> None:
    """Points ascend."""
    meter = RateMeter()
    meter.add(usage(64, 500.0))
    meter.add(usage(512, 100.0))

    rates = meter.rates
    assert rates.prefill_ms(512) >= rates.prefill_ms(64)


def test_waits_are_an_average_that_forgets() -> None:
    """The newest wait counts for three tenths."""
    meter = RateMeter()
    meter.add(usage(0, 0.0, queue_ms=100.0))
    meter.add(usage(0, 0.0, queue_ms=0.0))

    assert meter.queue_ms == pytest.approx(21.0)


def test_a_request_that_read_and_said_nothing_teaches_nothing_else() -> None:
    """A prompt that was wholly cached has no prefill time, a single token no decode time."""
    meter = RateMeter()
    meter.add(usage(0, 3.0, num_said=1, decode_ms=4.0))

    assert meter.rates == ASSUMED
