"""How the results of single bugs become tables and targets."""

import dataclasses

import pytest

from qcn_agent.training.bench_set import BenchItem
from tests.bench.fix_bench import (
    Result,
    choose,
    contest,
    groups,
    judge,
    ratio_target,
    table_of_fixes,
    table_of_searches,
)
from tests.bench.runs import RunRecord
from tests.bench.stats import Share

RUN = RunRecord(
    fixed=True,
    ending="fixed",
    num_attempts=1,
    num_tries=1,
    num_patches=1,
    num_test_runs=2,
    elapsed_s=3.0,
    num_evaluated_tokens=100,
    num_generated_tokens=40,
    num_needed_tokens=100,
)
RED = dataclasses.replace(RUN, fixed=False, ending="red", num_attempts=8, num_tries=11, num_patches=8, num_test_runs=8)


def items(bug: BenchItem, *sets: str) -> list[BenchItem]:
    """One bug of each of these sets, in order."""
    return [dataclasses.replace(bug, set=name, id=f"{number:012}") for number, name in enumerate(sets)]


def test_limit_spreads_over_the_sets(bug: BenchItem) -> None:
    """A small sample has bugs of both sets, the first ones of each."""
    every = items(bug, "known", "known", "known", "unknown", "known", "unknown")
    assert [item.id[-1] for item in choose(every, ("known", "unknown"), 4)] == ["0", "3", "1", "5"]


def test_limit_beyond_one_set_takes_the_rest_of_the_other(bug: BenchItem) -> None:
    """When a set is used up, the other one fills the sample."""
    every = items(bug, "known", "known", "known", "unknown")
    assert [item.id[-1] for item in choose(every, ("known", "unknown"), 10)] == ["0", "3", "1", "2"]


def test_without_a_limit_all_of_the_sets_are_taken(bug: BenchItem) -> None:
    """In the file's order, and nothing of the other sets."""
    every = items(bug, "known", "unknown", "known")
    assert choose(every, ("known",), None) == [every[0], every[2]]


@pytest.mark.parametrize(("rank", "same", "eight"), [(2, True, True), (3, False, True), (9, False, False)])
def test_blind_search_gets_as_many_test_runs(bug: BenchItem, rank: int, same: bool, eight: bool) -> None:
    """It is green if its rank is within our test runs, the judge's among them."""
    result = Result(bug, RUN, rank)
    assert (result.blind_same, result.blind_within(8)) == (same, eight)


def test_search_without_an_end_is_never_green(bug: BenchItem) -> None:
    """None is no rank, however many test runs there are."""
    assert not Result(bug, RUN, None).blind_within(10**9)


def test_contest_counts_bugs_that_one_side_fixed(bug: BenchItem) -> None:
    """Both, neither, only ours, only the search: one of two is ours."""
    results = [Result(bug, RUN, 1), Result(bug, RED, None), Result(bug, RUN, 50), Result(bug, RED, 8)]
    assert contest(results) == Share(1, 2)


def test_tables_have_a_row_for_each_group(bug: BenchItem) -> None:
    """Shares carry their interval, medians their unit's precision."""
    results = [Result(item, RUN, 5) for item in items(bug, "unknown", "known", "known")]
    parts = groups(results, lambda result: result.item.set)
    assert list(parts) == ["known", "unknown"]
    lines = table_of_fixes(parts, 8).split("\n")
    assert "2 = 100.0% [34.2%, 100.0%]" in lines[2] and " 3.0 |" in lines[2]
    assert "0 = 0.0% [0.0%, 65.8%]" in table_of_searches(parts).split("\n")[2]


def test_targets_of_a_good_result(bug: BenchItem) -> None:
    """Enough bugs, all fixed, none by the search, no token twice: all targets are met."""
    results = [Result(item, RUN, 50) for item in items(bug, *["known"] * 150, *["unknown"] * 60)]
    targets = judge(groups(results, lambda result: result.item.set), results)
    assert [target.is_met for target in targets] == [True] * 5


def test_targets_of_a_bad_result(bug: BenchItem) -> None:
    """Few bugs, half of them fixed, the search as good as ours: only the tokens are as they should be."""
    known = items(bug, *["known"] * 10)
    results = [Result(item, RUN if number % 2 else RED, 1) for number, item in enumerate(known)]
    targets = judge({"known": results}, results)
    assert [target.is_met for target in targets] == [False, False, False, True]


def test_one_run_that_evaluates_twice_misses_the_target() -> None:
    """The worst run decides, not the median."""
    twice = dataclasses.replace(RUN, num_evaluated_tokens=103)
    target = ratio_target([RUN] * 99 + [twice])
    assert (target.measured, target.is_met) == ("worst 1.0300, median 1.0000", False)
