"""Scores of answers, and the guess without a model."""

import pytest

from tests.bench.fim_holes import Hole
from tests.bench.fim_score import Answer, Score, copied, distance


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [("", "", 0), ("abc", "", 3), ("kitten", "sitting", 3), ("ab", "ba", 2), ("a", "a", 0)],
)
def test_distance_counts_insertions_deletions_and_replacements(one: str, other: str, expected: int) -> None:
    """In both directions."""
    assert distance(one, other) == distance(other, one) == expected


def test_exact_is_the_line_and_no_more() -> None:
    """Blanks at the end aside."""
    assert Answer("a + b ", "a + b").is_exact
    assert not Answer("a + b\nc", "a + b").is_exact
    assert not Answer("a +", "a + b").is_exact


def test_similarity_is_a_share_of_the_longer_one() -> None:
    """Nothing in common is 0."""
    assert Answer("abcd", "abcx").similarity == 0.75
    assert Answer("", "abc").similarity == 0.0


def test_silence_lowers_exact_lines_and_not_similarity() -> None:
    """Of what is offered."""
    score = Score.of([Answer("ab", "ab"), Answer("", "xy")])
    assert (score.exact.num_hits, score.exact.num_trials, score.offered.num_hits) == (1, 2, 1)
    assert score.similarity is not None and score.similarity.value == 1.0
    assert Score.of([Answer(" ", "xy")]).cells() == ["0 = 0.0% [0.0%, 79.3%]", "0%", "–"]


def test_a_line_that_stands_elsewhere_is_copied() -> None:
    """From the place that is most alike before the cursor, to the end of its line."""
    text = "first = compute(alpha, beta)\nsecond = other_compute(gamma)\nfirst = compu"
    assert copied(Hole(text, "te(alpha, beta)", "\n")) == "te(alpha, beta)"


def test_the_latest_of_equals_is_copied() -> None:
    """What follows the hole is later than what stands before it."""
    assert copied(Hole("\nx = one\nx = two\nx = ", "", "\n")) == "two"
    assert copied(Hole("\nx = one\nx = ", "", "\nx = three\n")) == "three"


def test_nothing_is_copied_where_nothing_is_alike() -> None:
    """An empty file, and one that holds the text at the cursor only."""
    assert copied(Hole("", "x = 1", "")) == ""
    assert copied(Hole("abcdef", "x = 1", "\n")) == ""
