"""Functions and classes of a file, scored for a query by the words in their text, their names and stack frames."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from qcn_agent.context.issue import IssueQuery
from qcn_agent.index.files import read_file
from qcn_agent.index.record import content_hash
from qcn_agent.index.rows import IndexedFile
from qcn_agent.index.tags import Definition

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
        self, file: IndexedFile, definitions: Sequence[Definition], lines: Collection[int], words: Sequence[str]
    ) -> list[tuple[float, Definition]]:
        """(score, definition), best first, ties by position: at most MAX_SYMBOLS that have something of the query.

        `lines` are those that frames point at, `words` those of the query that the file holds.
        """
        if not definitions:
            return []
        source = self._source(file)
        found = _in_source(source, definitions, words) if source is not None else _in_names(definitions, words)
        gains = np.array([self._gains[word] for word in words])
        fit = (gains * found / (_K1 + found)).sum(axis=1)
        total = fit + np.array([self._pointed_at(definition, lines) for definition in definitions])
        scored = zip(np.round(total, 9).tolist(), definitions, strict=True)
        return sorted(((s, d) for s, d in scored if s > 0), key=lambda one: (-one[0], one[1].start_byte))[:MAX_SYMBOLS]

    def _source(self, file: IndexedFile) -> bytes | None:
        """A file's bytes, if they are those that were indexed."""
        read = read_file(self._workspace / file.path)
        source = read[1] if read else None
        return source if source is not None and content_hash(source) == file.content_hash else None

    def _pointed_at(self, definition: Definition, lines: Collection[int]) -> float:
        in_frame = any(definition.start_line <= line <= definition.end_line for line in lines)
        inner = in_frame and definition.kind != "class"
        return _NAMED * self._query.names.get(definition.name, 0.0) + _FRAME * inner


def _in_source(source: bytes, definitions: Sequence[Definition], words: Sequence[str]) -> Matrix:
    """How often each word is in a definition's text, by its length; in its header it counts _HEADER times more."""
    starts = np.array([definition.start_byte for definition in definitions])
    bodies = np.array([definition.body_byte for definition in definitions])
    ends = np.array([definition.end_byte for definition in definitions])
    lower = source.lower()
    spots = [np.array(_spots(lower, word.encode()), np.int64) for word in words]
    before = np.array([np.searchsorted(found, (starts, bodies, ends)) for found in spots], np.float64)
    start, body, end = before.reshape(len(words), 3, len(definitions)).transpose(1, 2, 0)
    lengths = 1 - _B + _B * (ends - starts) / _USUAL_BYTES
    scaled: Matrix = (end - start) / lengths[:, None] + _HEADER * np.minimum(body - start, 1)
    return scaled


def _in_names(definitions: Sequence[Definition], words: Sequence[str]) -> Matrix:
    """The same from what the index has: whether a word is in a definition's name, scope, signature or doc."""
    texts = [(one.name.lower(), f"{one.scope} {one.signature} {one.doc}".lower()) for one in definitions]
    rows = [[_HEADER * (word in name) + (word in text) for word in words] for name, text in texts]
    return np.array(rows, np.float64).reshape(len(definitions), len(words))


def _spots(text: bytes, word: bytes) -> list[int]:
    """Where a word begins."""
    spots, at = [], text.find(word)
    while at >= 0:
        spots.append(at)
        at = text.find(word, at + len(word))
    return spots
