"""Scores of answers, and the guess without a model."""

import pytest

from qcn_agent.engine.backend import Backend
from qcn_agent.engine.text import LlamaVocabulary
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


def test_a_line_that_stands_elsewhere_is_copied(real: Backend) -> None:
    """From the place that ends like the text before the cursor, to the end of its line."""
    text = "first = compute(alpha, beta)\nsecond = other(gamma)\nfirst = compute("
    assert copied(Hole(text, "alpha, beta)", "\n"), LlamaVocabulary(real)) == "alpha, beta)"


def test_what_follows_the_hole_is_copied_too(real: Backend) -> None:
    """A later line."""
    after = "\ntotal = sum(values)\n"
    assert copied(Hole("total =", " sum(values)", after), LlamaVocabulary(real)) == " sum(values)"


def test_nothing_is_copied_where_nothing_is_alike(real: Backend) -> None:
    """An empty file."""
    assert copied(Hole("", "x = 1", ""), LlamaVocabulary(real)) == ""
