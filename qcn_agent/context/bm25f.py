"""BM25F: how well files fit weighted words, over the fields of words.FIELDS.

Robertson, Zaragoza, Taylor: Simple BM25 extension to multiple weighted fields, 2004.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from qcn_agent.context.weights import FieldWeights
from qcn_agent.index.rows import CorpusStats, FieldCounts

Scores = npt.NDArray[np.float64]


def idf_of(stats: CorpusStats, words: Sequence[str]) -> Scores:
    """How much it says that a file holds each word: 0 and more, 0 for a word that no file holds."""
    found = np.array([stats.document_frequencies[word] for word in words], np.float64)
    idf = np.log1p((stats.num_files - found + 0.5).clip(0.5) / (found + 0.5))
    return np.where(found > 0, idf, 0.0)


def bm25f(counts: FieldCounts, stats: CorpusStats, query: Mapping[str, float], weights: FieldWeights) -> Scores:
    """[files, words]: what each word adds to each file's score; `counts` holds the query's words in its order."""
    words = list(query)
    average = np.maximum(np.array(stats.average_lengths), 1e-9)
    b = np.array(weights.b)
    norms = 1 - b + b * counts.lengths / average
    share = np.array(weights.weight) / norms
    frequency = np.einsum("fwk,fk->fw", counts.counts.astype(np.float64), share)
    gain = idf_of(stats, words) * np.array([query[word] for word in words])
    result: Scores = gain * frequency / (weights.k1 + frequency)
    return result
