"""Budgets on slower engines."""

import itertools

from qcn_agent.engine.backend import Backend
from tests.bench.policy_budget import FACTORS, MIN_BEFORE_CHARS, Kept, budget_targets, context, long_passages
from tests.bench.policy_replay import Outcome


def test_the_share_is_of_what_was_to_be_answered() -> None:
    """None of none."""
    assert Kept(1, Outcome(num_passed=4, num_in_budget=3)).share == 0.75
    assert Kept(1, Outcome()).share == 0.0


def test_context_is_of_other_files() -> None:
    """Several blocks, each with a path of its own."""
    paths = [block.path for block in context()]
    assert len(set(paths)) == len(paths) >= 4


def test_a_slow_engine_keeps_the_budget_and_the_planner_shrinks(real: Backend) -> None:
    """At each speed answers are fewer and shorter, but not late; over all of them each step of the planner occurs."""
    found = budget_targets(real, 3, 1)
    assert len(found) == len(FACTORS) + 1
    assert [str(target) for target in found if not target.is_met] == []


def test_passages_are_deep_in_their_files() -> None:
    """So that a prompt has to be cut."""
    assert all(len(one.before) > MIN_BEFORE_CHARS for one in itertools.islice(long_passages(1), 3))
