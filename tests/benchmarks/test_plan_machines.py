"""Rates of machines that are not here, against what was reported of them."""

import pytest

from tests.bench.plan_machines import MACHINES, Machine, SmallModel

BY_NAME = {machine.name.partition(",")[0]: machine for machine in MACHINES}


@pytest.mark.parametrize(
    ("name", "decode_per_s", "prefill_per_s"),
    [("two RTX 3090", 104.0, 2137.0), ("12 GB card", 33.7, 411.0), ("RTX 5090", 64.0, None), ("M4 Max", None, 920.0)],
)
def test_rates_are_near_the_reported_ones(name: str, decode_per_s: float | None, prefill_per_s: float | None) -> None:
    """Within a twentieth, where somebody has measured; the 5090 is the research's own calculation."""
    rates = BY_NAME[name].rates
    if decode_per_s is not None:
        assert 1e3 / rates.decode_ms == pytest.approx(decode_per_s, rel=0.05)
    if prefill_per_s is not None:
        assert 2048 / rates.prefill_ms(2048) * 1e3 == pytest.approx(prefill_per_s, rel=0.05)


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_more_tokens_never_take_less(machine: Machine) -> None:
    """Nor less than a step."""
    times = [machine.rates.prefill_ms(size) for size in (1, 2, 10, 31, 32, 33, 100, 512, 513, 3000)]
    assert times == sorted(times)
    assert times[0] >= machine.rates.decode_ms


def test_experts_in_ram_make_small_prompts_dear() -> None:
    """A few tokens meet many experts: 16 cost several steps there, and few on the card."""
    in_ram, on_card = BY_NAME["12 GB card"], BY_NAME["two RTX 3090"]
    assert in_ram.experts_in_ram and not on_card.experts_in_ram
    assert in_ram.call_ms(16) > 5 * in_ram.call_ms(1)
    assert on_card.call_ms(16) < 5 * on_card.call_ms(1)


def test_a_small_model_is_read_once_a_step() -> None:
    """Its bytes over the bandwidth, and a fixed part."""
    rates = SmallModel(1.7, 1000.0, 2000.0, fixed_ms=1.0).rates
    assert rates.decode_ms == pytest.approx(3.0)
    assert rates.prefill_ms(2048) == pytest.approx(1024.0)
