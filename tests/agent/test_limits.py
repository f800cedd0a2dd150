"""Budgets: each limit ends a run by name."""

import pytest

from qcn_agent.agent.limits import Budget, BudgetExceededError


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """The time now."""
        return self.now


def test_steps_run_out() -> None:
    """The turn after the last one is refused."""
    budget = Budget(max_steps=2, max_new_tokens=100, wall_s=10, clock=Clock())
    budget.take_step()
    budget.take_step()

    with pytest.raises(BudgetExceededError, match="2 model turns"):
        budget.take_step()


def test_tokens_run_out() -> None:
    """Generated tokens count over all turns."""
    budget = Budget(max_steps=9, max_new_tokens=100, wall_s=10, clock=Clock())
    budget.add_tokens(60)
    budget.take_step()
    budget.add_tokens(60)

    with pytest.raises(BudgetExceededError, match="100 generated tokens"):
        budget.take_step()


def test_time_runs_out() -> None:
    """Wall time is measured from the start of the run."""
    clock = Clock()
    budget = Budget(max_steps=9, max_new_tokens=100, wall_s=10, clock=clock)
    clock.now += 4
    assert (budget.elapsed_s, budget.remaining_s) == (4, 6)
    clock.now += 7

    assert budget.remaining_s == 0
    with pytest.raises(BudgetExceededError, match="10 seconds"):
        budget.take_step()


def test_judging_may_take_one_command_longer() -> None:
    """Before the end: the rest and one command's limit; after it: what is left of that limit, at last nothing."""
    clock = Clock()
    budget = Budget(max_steps=9, max_new_tokens=100, wall_s=10, clock=clock)
    left = []
    for _ in range(4):
        left.append(budget.judging_s(5.0))
        clock.now += 6

    assert left == [15.0, 9.0, 3.0, 0.0]
