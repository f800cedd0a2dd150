"""Candidates by their words, scored exactly."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from qcn_agent.context.bm25f import Scores, bm25f, idf_of
from qcn_agent.context.issue import IssueQuery
from qcn_agent.context.weights import FieldWeights, Weights
from qcn_agent.index.relations import RelationReader
from qcn_agent.index.rows import CorpusStats

MAX_WORDS = 128
MAX_WORDS_OF_A_FILE = 12
MIN_POSTINGS, POSTINGS_A_FILE = 5_000, 1 / 3  # what a search for candidates may look at
_ONLY_STRINGS = (0.0, 0.0, 0.5, 0.0, 1.0)


@dataclass(frozen=True)
class Lexical:
    """`scores` and `strings` by file, the best of each is 1; `gains`: weight × idf of each word of the query; `words`:
    the MAX_WORDS_OF_A_FILE that add most to a file's score, best first.
    """

    scores: Mapping[int, float]
    strings: Mapping[int, float]
    gains: Mapping[str, float]
    words: Mapping[int, tuple[str, ...]]

    @classmethod
    def nothing(cls) -> "Lexical":
        """Of an empty query."""
        return cls({}, {}, {}, {})

    def best_words(self, file_id: int) -> tuple[str, ...]:
        """The words that add most to a file's score, best first; none for another file."""
        return self.words.get(file_id, ())


def score_words(
    index: RelationReader, query: IssueQuery, also: Collection[int], weights: Weights, num_candidates: int
) -> Lexical:
    """The best files for the query's words, and those of `also`."""
    stats = index.corpus_stats(list(query.words))
    gains = _gains(query, stats)
    if not gains:
        return Lexical(dict.fromkeys(also, 0.0), dict.fromkeys(also, 0.0), {}, {})
    found = index.candidates(_searched(query, gains, stats), num_candidates)
    file_ids = list(dict.fromkeys([*(file_id for file_id, _score in found), *sorted(also)]))
    words = {word: query.words[word] for word in gains}
    counts = index.field_counts(file_ids, list(words))
    parts = bm25f(counts, stats, words, weights.fields)
    quoted = {word: query.quoted.get(word, 0.0) for word in words}
    in_strings = bm25f(counts, stats, quoted, FieldWeights(_ONLY_STRINGS, weights.fields.b, weights.fields.k1))
    return Lexical(
        dict(zip(file_ids, _scaled(parts.sum(axis=1)), strict=True)),
        dict(zip(file_ids, _scaled(in_strings.sum(axis=1)), strict=True)),
        gains,
        dict(zip(file_ids, _best_words(parts, list(words)), strict=True)),
    )


def _gains(query: IssueQuery, stats: CorpusStats) -> dict[str, float]:
    """weight × idf of the MAX_WORDS words that say most, in the order of the text."""
    words = list(query.words)
    gains = dict(zip(words, (idf_of(stats, words) * np.array(list(query.words.values()))).tolist(), strict=True))
    kept = set(sorted((word for word in words if gains[word] > 0), key=lambda word: (-gains[word], word))[:MAX_WORDS])
    return {word: gain for word, gain in gains.items() if word in kept}


def _searched(query: IssueQuery, gains: Mapping[str, float], stats: CorpusStats) -> dict[str, float]:
    """The words to search candidates by: those that say most, as long as they don't occur in too many files together.

    In a large workspace even rare words do.
    """
    left = max(MIN_POSTINGS, POSTINGS_A_FILE * stats.num_files)
    searched: dict[str, float] = {}
    for word in sorted(gains, key=lambda word: (-gains[word], word)):
        left -= stats.document_frequencies[word]
        if left < 0 and searched:
            break
        searched[word] = query.words[word]
    return searched


def _scaled(scores: Scores) -> list[float]:
    top = scores.max(initial=0.0)
    scaled: list[float] = (scores / (top or 1.0)).tolist()
    return scaled


def _best_words(parts: Scores, words: list[str]) -> list[tuple[str, ...]]:
    order = np.argsort(-parts, axis=1, kind="stable")[:, :MAX_WORDS_OF_A_FILE]
    counts = np.minimum((parts > 0).sum(axis=1), MAX_WORDS_OF_A_FILE).tolist()
    rows = zip(order.tolist(), counts, strict=True)
    return [tuple(words[number] for number in row[:count]) for row, count in rows]
