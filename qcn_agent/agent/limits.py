"""Budgets of one run: turns, generated tokens, seconds. Each ends the run in the same orderly way."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field


class BudgetExceededError(Exception):
    """A budget is used up; `str()` says which. Ends the run with what it has; never reaches the user as a crash."""


@dataclass
class Budget:
    """Counts down one run. `clock` gives seconds and is replaced in tests."""

    max_steps: int
    max_new_tokens: int
    wall_s: float
    clock: Callable[[], float] = time.monotonic
    num_steps: int = 0
    num_new_tokens: int = 0
    _started: float = field(init=False)

    def __post_init__(self) -> None:
        self._started = self.clock()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the run began."""
        return self.clock() - self._started

    @property
    def remaining_s(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.wall_s - self.elapsed_s)

    def judging_s(self, command_s: float) -> float:
        """Seconds that judging may still take, never negative: the rest of the time, and the limit of one command.

        So a run lasts at most `wall_s + command_s`, however often the tests run to judge it.
        """
        return max(0.0, self.wall_s - self.elapsed_s + command_s)

    @property
    def remaining_tokens(self) -> int:
        """Tokens that may still be generated, never negative."""
        return max(0, self.max_new_tokens - self.num_new_tokens)

    def take_step(self) -> None:
        """Account for one model turn. Raises BudgetExceededError when any budget is used up."""
        if self.num_steps >= self.max_steps:
            raise BudgetExceededError(f"{self.max_steps} model turns")
        if self.num_new_tokens >= self.max_new_tokens:
            raise BudgetExceededError(f"{self.max_new_tokens} generated tokens")
        if self.elapsed_s >= self.wall_s:
            raise BudgetExceededError(f"{self.wall_s:.0f} seconds")
        self.num_steps += 1

    def add_tokens(self, num_tokens: int) -> None:
        """Account for generated tokens."""
        self.num_new_tokens += num_tokens
