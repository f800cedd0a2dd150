"""The rankers that `make bench-localise` compares; each gives the paths of all candidates, best first.

Candidates are the non-test modules of a tree. All read the same index.
"""

import math
import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from qcn_agent.context.bm25f import idf_of
from qcn_agent.context.ranking import rank
from qcn_agent.context.weights import DEFAULT, Weights
from qcn_agent.index.index import Index
from qcn_agent.index.pairs import is_test
from qcn_agent.index.rows import CorpusStats, IndexedFile
from qcn_agent.index.words import words_of_text

_K1, _B = 1.2, 0.75
_NAMED = 0.5
_DAMPING, _ROUNDS = 0.85, 60
_WORD = re.compile(r"[^\W\d]\w+")
_MIN_LONG_CHARS, _MAX_DEFINERS = 8, 5


def candidates(index: Index) -> list[IndexedFile]:
    """The non-test modules, by path."""
    return [file for file in index.files() if file.path.endswith(".py") and not is_test(file.path)]


def ours(index: Index, text: str, weights: Weights = DEFAULT) -> list[str]:
    """`rank` as the program uses it; what it doesn't name comes last, by path."""
    found = [file.path for file in rank(index, text, weights=weights).files]
    known = dict.fromkeys(found)
    possible = {file.path for file in candidates(index)}
    return [*(path for path in known if path in possible), *sorted(possible - known.keys())]


def plain_bm25(index: Index, text: str) -> list[str]:
    """BM25 (k1 1.2, b 0.75) over identifiers and their parts in the whole file, each word of the text once."""
    files = candidates(index)
    return _ordered([file.path for file in files], _bm25(index, files, text))


def bm25_and_names(index: Index, text: str) -> list[str]:
    """plain_bm25 as a share of the best, plus _NAMED for what the text names.

    That is a path, a module (dotted), or a name that looks like code, shared by the files that
    define it.
    """
    files, mentioned = candidates(index), set(_WORD.findall(text))
    scores = _bm25(index, files, text)
    top = max(scores, default=0.0) or 1.0
    totals = {file.path: score / top for file, score in zip(files, scores, strict=True)}
    paths = {file.file_id: file.path for file in files}
    for name, definers in _definers(index, files).items():
        if name in mentioned and ("_" in name.strip("_") or not name.islower() or f"`{name}" in text):
            for file_id in definers:
                totals[paths[file_id]] += _NAMED / len(definers)
    for file in files:
        dotted = file.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        totals[file.path] += _NAMED * (file.path in text or ("." in dotted and dotted in text))
    return _ordered(list(totals), [round(score, 9) for score in totals.values()])


def _bm25(index: Index, files: Sequence[IndexedFile], text: str) -> list[float]:
    words = words_of_text(text)
    if not words:
        return [0.0] * len(files)
    found = index.field_counts([file.file_id for file in files], words)
    counts = found.counts[:, :, 2:].sum(axis=2).astype(np.float64)  # docs, body and strings are the whole text
    lengths = found.lengths[:, 2:].sum(axis=1)
    frequencies = dict(zip(words, (counts > 0).sum(axis=0).tolist(), strict=True))
    idf = idf_of(CorpusStats(len(files), (), frequencies), words)
    norm = _K1 * (1 - _B + _B * lengths / max(1.0, float(lengths.mean())))
    scores: list[float] = np.round((idf * counts * (_K1 + 1) / (counts + norm[:, None])).sum(axis=1), 9).tolist()
    return scores


def page_rank(index: Index, text: str) -> list[str]:
    """A repository map after aider's: files that refer to a name point at those that define it (see research notes).

    Edges weigh the root of the number of references, ten times that for names the text mentions and for long names of
    several words, a tenth for private ones and those defined in many files; the walk restarts at files whose name the
    text mentions.
    """
    files = candidates(index)
    number_of = {file.file_id: number for number, file in enumerate(files)}
    mentioned = set(_WORD.findall(text))
    weights = np.zeros((len(files), len(files)))
    for name, definers in _definers(index, files).items():
        weight = _name_weight(name, len(definers), mentioned)
        for file_id, count in index.reference_counts(name):
            if file_id in number_of:
                for definer in definers:
                    weights[number_of[file_id], number_of[definer]] += weight * math.sqrt(count)
    restart = np.array([float(bool(mentioned & set(_WORD.findall(file.path)))) for file in files])
    restart = restart if restart.any() else np.ones(len(files))
    return _ordered([file.path for file in files], _walked(weights, restart / restart.sum()))


def _definers(index: Index, files: Sequence[IndexedFile]) -> dict[str, list[int]]:
    definers: dict[str, list[int]] = defaultdict(list)
    for file in files:
        for name in {definition.name for definition in index.definitions_of(file.file_id)}:
            definers[name].append(file.file_id)
    return definers


def _name_weight(name: str, num_definers: int, mentioned: set[str]) -> float:
    is_long = len(name) >= _MIN_LONG_CHARS and ("_" in name.strip("_") or name != name.lower())
    weight = 10.0 if name in mentioned else 1.0
    return (
        weight * (10 if is_long else 1) * (0.1 if name[0] == "_" else 1) * (0.1 if num_definers > _MAX_DEFINERS else 1)
    )


def _walked(weights: np.ndarray, restart: np.ndarray) -> list[float]:
    sums = weights.sum(axis=1, keepdims=True)
    step = np.where(sums > 0, weights / np.where(sums > 0, sums, 1), restart)
    rank_now = restart
    for _ in range(_ROUNDS):
        rank_now = (1 - _DAMPING) * restart + _DAMPING * (rank_now @ step)
    return [round(value, 12) for value in rank_now.tolist()]


def _ordered(paths: Sequence[str], scores: Sequence[float]) -> list[str]:
    return [path for _score, path in sorted((-score, path) for path, score in zip(paths, scores, strict=True))]
