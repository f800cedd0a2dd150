"""The clock that takes the backend off a step."""

import pytest

from tests.bench.match_schedule import Clock, Desk, fill, measure


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

    def step() -> None:
        clock.backend(outer)()
        now.pass_us(7)

    assert clock.outside(step) == pytest.approx(7)
    assert clock.backend_us == pytest.approx(50)


def test_a_small_run_measures_every_part() -> None:
    """All sessions are in the tree, each length has a row, and the books balance."""
    desk = Desk(Clock())
    names = fill(desk, num_sessions=20, num_nodes=300)
    rows = measure(desk, names, [64, 128], repeats=2)
    assert desk.manager.cache.kept.tree.num_nodes >= 300
    assert set(names) < {name for node in desk.manager.cache.kept.tree.nodes() for name in node.sessions}
    assert [row["length"] for row in rows] == [64, 128]
    assert all(row[part] > 0 for row in rows for part in ("match", "first", "later", "back", "idle"))
    desk.manager.check_integrity()
    desk.close()


def test_errors_pass_through() -> None:
    """The time until then counts, and the clock is in order afterwards."""
    clock = Clock()

    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        clock.backend(fail)()
    assert clock.depth == 0
