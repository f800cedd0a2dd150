"""The matrix of the demo: its table and its targets."""

import dataclasses

from tests.bench.demo_matrix import Cell, judge, table_of
from tests.bench.runs import RunRecord

RUN = RunRecord(True, "fixed", 1, 1, 1, 2, 3.0, 100, 40, 100)
FULL = [Cell(build, threads, seed, RUN) for build in "ab" for threads in (1, 2, 4) for seed in range(10)]


def test_one_row_for_each_build_and_number_of_threads() -> None:
    """Rows keep the order of the runs; attempts are counted."""
    later = dataclasses.replace(RUN, num_attempts=3, num_patches=2, elapsed_s=9.0)
    lines = table_of([Cell("a", 1, 0, RUN), Cell("a", 1, 1, later), Cell("a", 4, 0, RUN)]).split("\n")
    assert len(lines) == 4
    assert lines[2].split(" | ")[2:] == [
        "    2",
        "   2",
        "1 ×1, 3 ×1",
        "    1 ×1, 2 ×1",
        "      6.0",
        "     9.0",
        "1.0000 |",
    ]


def test_all_fixed_meets_all_targets() -> None:
    """Sixty runs on two builds, all fixed."""
    assert [target.is_met for target in judge(FULL)] == [True, True, True]


def test_one_failure_misses_the_target() -> None:
    """All means all."""
    failed = dataclasses.replace(FULL[7], run=dataclasses.replace(RUN, fixed=False, ending="red"))
    assert [target.is_met for target in judge([*FULL[:7], failed, *FULL[8:]])] == [True, False, True]


def test_one_build_is_not_enough() -> None:
    """Sixty runs with the same llama.cpp say nothing about another one."""
    same = [dataclasses.replace(cell, build="a") for cell in FULL]
    assert [target.is_met for target in judge(same)] == [False, True, True]
