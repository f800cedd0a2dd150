"""What is made of the costs of a step."""

import os
import signal

import pytest

from tests.bench.steps import Workers, pairs_of, parse_overhead, within

REPORT = """model m.gguf: 8000 tokens an arm in 80 interleaved rounds, medians of rounds
bare loop        1234.5 us/token
Engine.generate  1321.0 us/token
overhead           86.5 us/token, 95% interval 80.1 .. 91.0 (target <= 150)
VERDICT: 1 of 1
"""


def test_overhead_is_read_from_the_report() -> None:
    """The median and its interval; it may be negative on a noisy machine."""
    assert parse_overhead(REPORT) == (86.5, 80.1, 91.0)
    assert parse_overhead(REPORT.replace("80.1", "-3.0"))[1] == -3.0


def test_report_without_overhead_is_an_error() -> None:
    """With what it said instead."""
    with pytest.raises(RuntimeError, match="no model"):
        parse_overhead("error: no model")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([{"length": 1024, "match": 101.0}, {"length": 32768, "match": 132.0}], True),
        ([{"length": 1024, "match": 101.0}, {"length": 2048, "match": 103.0}], False),
    ],
)
def test_steps_within_the_bound(rows: list[dict[str, float]], expected: bool) -> None:
    """100 µs and a nanosecond a token, at each length."""
    assert within(rows) is expected


class RecordedWorkers(Workers):
    """Workers that only note what they are told."""

    def __init__(self) -> None:
        self.is_working = False

    def pause(self) -> None:
        """Noted."""
        self.is_working = False

    def resume(self) -> None:
        """Noted."""
        self.is_working = True


def test_pairs_are_measured_with_and_without_workers() -> None:
    """The first number of each pair is the idle one, whichever came first."""
    workers = RecordedWorkers()
    order: list[bool] = []

    def measure() -> float:
        order.append(workers.is_working)
        return 2.0 if workers.is_working else 1.0

    assert pairs_of(measure, workers, 4, 60.0) == [(1.0, 2.0)] * 4
    assert order == [False, True, True, False] * 2
    assert not workers.is_working


def test_workers_rest_work_and_end() -> None:
    """Real processes: stopped at first, gone at last."""
    workers = Workers(1)
    process = workers._processes[0]
    try:
        assert os.waitpid(process.pid, os.WUNTRACED)[1] >> 8 == signal.SIGSTOP
        workers.resume()
        assert process.poll() is None
    finally:
        workers.close()
    assert process.poll() == -signal.SIGKILL
