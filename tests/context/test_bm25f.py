"""The formula."""

import math

import numpy as np
import pytest

from qcn_agent.context.bm25f import bm25f, idf_of
from qcn_agent.context.weights import FieldWeights
from qcn_agent.index.rows import CorpusStats, FieldCounts

STATS = CorpusStats(10, (1.0, 2.0, 1.0, 10.0, 1.0), {"rare": 1, "common": 9, "unknown": 0})


def _counts(*files: list[list[int]]) -> FieldCounts:
    """Of files given as a list of five numbers a word; each field is as long as the average."""
    counts = np.array(files, np.int64)
    return FieldCounts(counts, np.tile(np.array([1, 2, 1, 10, 1]), (len(files), 1)))


def test_one_word_in_the_body_follows_the_formula() -> None:
    """idf · tf / (k1 + tf) for a file of average length."""
    weights = FieldWeights((4, 3, 1, 1, 1), (0.5,) * 5, 2.0)

    (score,) = bm25f(_counts([[0, 0, 0, 3, 0]]), STATS, {"rare": 1.5}, weights)[0]

    assert score == pytest.approx(1.5 * math.log1p(9.5 / 1.5) * 3 / (2 + 3))


def test_fields_add_up_before_saturation() -> None:
    """A word in a definition's name and in the body counts less than two words' worth, more than one."""
    body, both = bm25f(_counts([[0, 0, 0, 1, 0]], [[0, 1, 0, 1, 0]]), STATS, {"rare": 1.0}, FieldWeights())[:, 0]

    assert body < both < 10 * body


def test_a_longer_file_needs_more() -> None:
    """Twice the length, less for the same count; not with b = 0."""
    counts = _counts([[0, 0, 0, 2, 0]], [[0, 0, 0, 2, 0]])
    counts.lengths[1] *= 2

    short, long = bm25f(counts, STATS, {"rare": 1.0}, FieldWeights())[:, 0]
    same = bm25f(counts, STATS, {"rare": 1.0}, FieldWeights(b=(0.0,) * 5))[:, 0]

    assert short > long > 0
    assert same[0] == same[1]


def test_rare_words_say_more_and_unknown_ones_nothing() -> None:
    """And never less than nothing."""
    rare, common, unknown = idf_of(STATS, ["rare", "common", "unknown"])

    assert rare > common > 0
    assert unknown == 0
