"""The blind search: fair to itself, honest about what it finds."""

import ast
import dataclasses
from pathlib import Path

import pytest

from qcn_agent.training import bench_set
from qcn_agent.training.bench_set import BenchItem
from tests.bench import blind

BUGS = Path(__file__).parents[1] / "bench" / "textbook_bugs.jsonl"


def test_candidates_are_single_line_changes(bug: BenchItem) -> None:
    """Each differs from the buggy module in one line, and none is there twice."""
    text = bug.files[bug.path]
    found = blind.candidates(text)
    assert len(found) == len(set(found)) > 5
    for candidate in found:
        pairs = zip(text.split("\n"), candidate.split("\n"), strict=True)
        assert sum(old != new for old, new in pairs) == 1


def test_candidates_parse(bug: BenchItem) -> None:
    """What is no Python costs no test run, so it is not among them."""
    assert all(ast.parse(candidate) for candidate in blind.candidates(bug.files[bug.path]))


def test_all_functions_are_searched(bug: BenchItem) -> None:
    """The search does not know which function is meant: the other one is changed too."""
    changed = [candidate for candidate in blind.candidates(bug.files[bug.path]) if "number // 2" not in candidate]
    assert changed


def test_methods_are_searched() -> None:
    """Methods are functions too."""
    found = blind.candidates("class A:\n    def add(self, x, y):\n        return x + y\n")
    assert "class A:\n    def add(self, x, y):\n        return x - y\n" in found


def test_only_the_repair_is_green(bug: BenchItem) -> None:
    """The module as found is red, the repaired one green."""
    assert not blind.is_green(bug, bug.files[bug.path])
    assert blind.is_green(bug, bug.good_files()[bug.path])


@pytest.mark.parametrize(
    "text",
    ["def my_top(values):\n    while True:\n        pass\n", "raise ValueError\n", "def other():\n    return 1\n"],
    ids=["endless", "import fails", "name missing"],
)
def test_mutants_that_break_are_red(bug: BenchItem, text: str) -> None:
    """A module that hangs, can't be imported or lacks the function is red, and the search goes on."""
    assert not blind.is_green(bug, text)


def test_search_finds_the_repair(bug: BenchItem) -> None:
    """The rank is the number of test runs, at most the number of candidates."""
    rank = blind.search(bug, seed=0)
    assert rank is not None
    assert 1 <= rank <= len(blind.candidates(bug.files[bug.path]))


def test_search_is_repeatable_and_random(bug: BenchItem) -> None:
    """One seed always gives the same rank; other seeds give others."""
    ranks = [blind.search(bug, seed) for seed in range(8)]
    assert ranks == [blind.search(bug, seed) for seed in range(8)]
    assert len(set(ranks)) > 2


def test_search_gives_up(bug: BenchItem) -> None:
    """Where no single-line change is green, there is no rank."""
    impossible = bug.files["tests/test_tops.py"].replace("== 3", "== 12345")
    files = {**bug.files, "tests/test_tops.py": impossible}
    assert blind.search(dataclasses.replace(bug, files=files), seed=0) is None


def test_search_agrees_with_the_set() -> None:
    """On bugs that ship, the module as found is red and the good one green: the search sees what pytest saw."""
    for item in bench_set.load(BUGS)[:12]:
        assert not blind.is_green(item, item.files[item.path])
        assert blind.is_green(item, item.good_files()[item.path])
