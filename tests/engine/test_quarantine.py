"""What is kept out after a crash, and for how long."""

import pytest

from qcn_agent.engine.quarantine import CrashLimit, Quarantine
from qcn_agent.errors import QuarantinedError


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def test_a_request_is_kept_out_for_ten_minutes() -> None:
    """Others are not; the hint says how long it takes."""
    clock = Clock()
    quarantine = Quarantine(clock)
    quarantine.add({"a", "b"})
    quarantine.check("c")
    clock.now += 599
    with pytest.raises(QuarantinedError, match="not run again") as caught:
        quarantine.check("a")
    assert "change the request" in caught.value.hint
    clock.now += 1
    quarantine.check("a")


def test_another_crash_starts_the_ten_minutes_again() -> None:
    """The later one counts, and older ones are forgotten."""
    clock = Clock()
    quarantine = Quarantine(clock)
    quarantine.add({"a"})
    clock.now += 500
    quarantine.add({"a"})
    clock.now += 500
    with pytest.raises(QuarantinedError):
        quarantine.check("a")


@pytest.mark.parametrize(
    ("seconds", "is_reached"), [((0, 100, 299), True), ((0, 100, 301), False), ((0, 250), False), ((0, 1, 400), False)]
)
def test_three_crashes_in_five_minutes_are_too_many(seconds: tuple[int, ...], is_reached: bool) -> None:
    """Two are not, and not three over a longer time."""
    clock = Clock()
    limit = CrashLimit(clock)
    for second in seconds:
        clock.now = 1000.0 + second
        limit.add()
    assert limit.is_reached is is_reached


def test_only_the_latest_crashes_count() -> None:
    """One long ago does not hide three of today."""
    clock = Clock()
    limit = CrashLimit(clock)
    for second in (0, 1000, 1100, 1200):
        clock.now = second
        limit.add()
    assert limit.is_reached
