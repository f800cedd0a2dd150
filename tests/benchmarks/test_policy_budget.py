"""Budgets on slower engines."""

import pytest

from qcn_agent.engine.backend import Backend
from tests.bench.policy_budget import FACTORS, Kept, at_speed, budget_targets, context
from tests.bench.policy_replay import Outcome


def test_the_share_is_of_what_was_to_be_answered() -> None:
    """None of none."""
    assert Kept(1, Outcome(num_passed=4, num_in_budget=3)).share == 0.75
    assert Kept(1, Outcome()).share == 0.0


def test_context_is_of_other_files() -> None:
    """Several blocks, each with a path of its own."""
    paths = [block.path for block in context()]
    assert len(set(paths)) == len(paths) >= 4


@pytest.mark.parametrize("factor", FACTORS)
def test_a_slow_engine_keeps_the_budget(real: Backend, factor: int) -> None:
    """Answers are fewer, and shorter, but not late."""
    assert at_speed(factor, real, 1, 2).share >= 0.95


def test_the_planner_shrinks_what_it_must(real: Backend) -> None:
    """Over the three speeds each step occurs."""
    *_, steps = budget_targets(real, 1)
    assert steps.is_met, steps.measured
