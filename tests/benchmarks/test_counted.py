"""Counted traces: the targets of the table."""

import pytest

from qcn_agent.benchmark.replay import Score
from qcn_agent.benchmark.traces import TRACES
from tests.bench.counted import LIMITS, Limit


def test_every_trace_has_a_limit() -> None:
    """Those by ids, and the two that are typed."""
    assert set(LIMITS) == {*TRACES, "typing-psm", "typing-spm"}


@pytest.mark.parametrize(("evaluated", "is_met"), [(1005, True), (1006, False)])
def test_ratio_target(evaluated: int, is_met: bool) -> None:
    """The bound itself still holds."""
    target = Limit("ratio", max_ratio=1.005).target("agent", Score(evaluated, 1000))
    assert target.is_met is is_met
    assert target.text == "agent: ratio ≤ 1.005"


@pytest.mark.parametrize(("evaluated", "is_met"), [(200, True), (201, False)])
def test_waste_target(evaluated: int, is_met: bool) -> None:
    """Not one token above the ideal."""
    target = Limit("again", max_waste=0).target("fim-between", Score(evaluated, 200))
    assert target.is_met is is_met
    assert target.measured.startswith(str(evaluated - 200))
