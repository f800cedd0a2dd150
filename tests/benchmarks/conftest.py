"""Bugs for the benchmarks' own tests."""

from collections.abc import Iterator

import pytest

from qcn_agent.engine.backend import Backend
from qcn_agent.training.bench_set import BenchItem
from tests.bench.policy_engine import embedded_backend

TEXT = """def my_top(values):
    best = values[0]
    for value in values:
        if value < best:
            best = value
    return best


def half(number):
    return number // 2
"""
TESTS = """from app.tops import my_top


def test_my_top_1():
    assert my_top([1, 3, 2]) == 3


def test_my_top_2():
    assert my_top([7]) == 7
"""


@pytest.fixture(scope="session")
def real() -> Iterator[Backend]:
    """The embedded model, for its vocabulary."""
    with embedded_backend() as backend:
        yield backend


@pytest.fixture
def bug() -> BenchItem:
    """A comparison is the wrong way round; one of the two tests is red."""
    return BenchItem(
        id="0123456789ab",
        set="known",
        template="maximum",
        kind="compare",
        path="app/tops.py",
        name="my_top",
        files={"app/tops.py": TEXT, "tests/test_tops.py": TESTS, "conftest.py": ""},
        issue="my_top returns the smallest number",
        line=4,
        bad_line="        if value < best:",
        good_line="        if value > best:",
    )
