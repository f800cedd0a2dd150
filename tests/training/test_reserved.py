"""Benchmark names are known."""

from qcn_agent.training.reserved import RESERVED


def test_both_benchmarks_are_covered() -> None:
    """Names of QuixBugs programs and HumanEval entry points are in the list, comments are not."""
    assert {"quicksort", "levenshtein", "has_close_elements", "generate_integers"} <= RESERVED
    assert "#" not in RESERVED
    assert len(RESERVED) > 190
