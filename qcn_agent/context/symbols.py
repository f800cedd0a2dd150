"""Functions and classes of a file, scored for a query by the words in their text, their names and stack frames."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from qcn_agent.context.issue import IssueQuery
from qcn_agent.context.spots import SearchedText, Spots
from qcn_agent.index.definitions import DefinitionTable, Positions
from qcn_agent.index.files import read_file
from qcn_agent.index.record import content_hash
from qcn_agent.index.rows import IndexedFile

MAX_SYMBOLS = 50  # of a file
_K1, _B, _USUAL_BYTES = 1.5, 0.6, 1000.0
_HEADER = 3.0
_NAMED, _FRAME = 4.0, 12.0

Matrix = npt.NDArray[np.float64]


class SymbolScorer:
    """Scores the definitions of files for one query. `gains`: its words' weight × idf."""

    def __init__(self, workspace: Path, query: IssueQuery, gains: Mapping[str, float]) -> None:
        self._workspace, self._query, self._gains = workspace, query, gains

    def scored(
        self, file: IndexedFile, table: DefinitionTable, lines: Collection[int], words: Sequence[str]
    ) -> list[tuple[float, int]]:
        """(score, place in the table), best first, ties by place: at most MAX_SYMBOLS that have something of the query.

        `lines` are those that frames point at, `words` those of the query that the file holds.
        """
        if not len(table):
            return []
        source = self._source(file)
        found = _in_source(source, table, words) if source is not None else _in_names(table, words)
        gains = np.array([self._gains[word] for word in words])
        total = np.round((gains * found / (_K1 + found)).sum(axis=1) + self._pointed_at(table, lines), 9)
        order = np.argsort(-total, kind="stable")[:MAX_SYMBOLS].tolist()
        return [(score, place) for place, score in zip(order, total[order].tolist(), strict=True) if score > 0]

    def _source(self, file: IndexedFile) -> bytes | None:
        """A file's bytes, if they are those that were indexed."""
        read = read_file(self._workspace / file.path)
        source = read[1] if read else None
        return source if source is not None and content_hash(source) == file.content_hash else None

    def _pointed_at(self, table: DefinitionTable, lines: Collection[int]) -> Matrix:
        weights = self._query.names
        worth: Matrix = _NAMED * np.array([weights.get(name, 0.0) for name in table.names])
        if lines:
            in_frame = [(table.start_lines <= line) & (line <= table.end_lines) for line in lines]
            inner = np.array([kind != "class" for kind in table.kinds])
            worth = worth + _FRAME * (np.any(in_frame, axis=0) & inner)
        return worth


def _in_source(source: bytes, table: DefinitionTable, words: Sequence[str]) -> Matrix:
    """How often each word is in a definition's text, by its length; in its header it counts _HEADER times more."""
    text = SearchedText(source.lower())
    edges = np.concatenate([table.start_bytes, table.body_bytes, table.end_bytes])
    before = _before(edges, [text.spots(word.encode()) for word in words])
    start, body, end = before.reshape(len(words), 3, len(table)).transpose(1, 2, 0)
    lengths = 1 - _B + _B * (table.end_bytes - table.start_bytes) / _USUAL_BYTES
    scaled: Matrix = (end - start) / lengths[:, None] + _HEADER * np.minimum(body - start, 1)
    return scaled


def _before(edges: Positions, spots: Sequence[Spots]) -> Matrix:
    """[words, edges]: how many of each word's spots lie before each edge."""
    order, num_places = np.argsort(edges, kind="stable"), len(edges) + 1
    words = np.repeat(np.arange(len(spots)), [len(found) for found in spots])
    places = np.searchsorted(edges[order], np.concatenate([np.zeros(0, np.int64), *spots]), side="right")
    counts = np.bincount(words * num_places + places, minlength=len(spots) * num_places)
    before = np.empty((len(spots), len(edges)))
    before[:, order] = counts.reshape(-1, num_places).cumsum(axis=1)[:, :-1]
    return before


def _in_names(table: DefinitionTable, words: Sequence[str]) -> Matrix:
    """The same from what the index has: whether a word is in a definition's name, scope, signature or doc."""
    columns = zip(table.names, table.scopes, table.signatures, table.docs, strict=True)
    texts = [(name.lower(), " ".join(others).lower()) for name, *others in columns]
    rows = [[_HEADER * (word in name) + (word in text) for word in words] for name, text in texts]
    return np.array(rows, np.float64).reshape(len(table), len(words))
