"""The clock that takes the backend off a step."""

import pytest

from tests.bench.match_schedule import Clock


class FakeTime:
    """Passes when told."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        """Now."""
        return self.seconds

    def pass_us(self, microseconds: float) -> None:
        """Later."""
        self.seconds += microseconds / 1e6


def test_step_counts_what_the_backend_does_not() -> None:
    """A nested call of the backend is taken off once."""
    now = FakeTime()
    clock = Clock(now)
    inner = clock.backend(lambda: now.pass_us(20))

    def outer() -> None:
        inner()
        now.pass_us(30)

    def step() -> bool:
        clock.backend(outer)()
        now.pass_us(7)
        return True

    assert clock.step(step)()
    assert clock.backend_us == pytest.approx(50)
    assert clock.steps_us == pytest.approx([7])


def test_idle_steps_are_not_counted() -> None:
    """A step that found nothing to do."""
    clock = Clock()
    assert not clock.step(lambda: False)()
    assert clock.steps_us == []


def test_errors_pass_through() -> None:
    """The time until then counts, and the clock is in order afterwards."""
    clock = Clock()

    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        clock.backend(fail)()
    assert clock.depth == 0
