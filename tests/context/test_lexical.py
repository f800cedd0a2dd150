"""Candidates by their words."""

from qcn_agent.context.issue import query_of
from qcn_agent.context.lexical import MAX_WORDS, score_words
from qcn_agent.context.weights import DEFAULT
from tests.fakes.indexed import IndexedTree


def test_the_best_file_has_one(tree: IndexedTree) -> None:
    """Scores are shares of the best; words that add most are named."""
    found = score_words(tree.reader, query_of("the delay of a retry"), (), DEFAULT, 10)

    assert max(found.scores.values()) == 1.0
    best = next(file_id for file_id, score in found.scores.items() if score == 1.0)
    assert found.best_words(best)[0] in ("delay", "retry")
    assert all(0 <= score <= 1 for score in found.scores.values())


def test_other_files_are_scored_too(tree: IndexedTree) -> None:
    """What something points at, even without a word in common."""
    other = tree.id_of("net/cookies.py")

    found = score_words(tree.reader, query_of("increment"), {other}, DEFAULT, 10)

    assert found.scores[other] == 0.0
    assert found.scores[tree.id_of("net/util/retry.py")] > 0


def test_quoted_words_are_sought_in_strings(tree: IndexedTree) -> None:
    """An error's message leads to the file that has it."""
    found = score_words(tree.reader, query_of('it says "too many redirects"'), (), DEFAULT, 10)

    assert found.strings[tree.id_of("net/util/retry.py")] == 1.0


def test_words_that_no_file_has_find_nothing(tree: IndexedTree) -> None:
    """Neither do none at all."""
    for text in ("zebra quagga", ""):
        found = score_words(tree.reader, query_of(text), (), DEFAULT, 10)

        assert (dict(found.scores), dict(found.gains)) == ({}, {})


def test_only_the_words_that_say_most_are_scored(tree: IndexedTree) -> None:
    """A long text costs no more than MAX_WORDS."""
    text = " ".join([*(f"word{number}" for number in range(3 * MAX_WORDS)), "retry"])

    assert list(score_words(tree.reader, query_of(text), (), DEFAULT, 10).gains) == ["retry"]
