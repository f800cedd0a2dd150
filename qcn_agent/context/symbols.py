"""Functions and classes of a file, scored for a query by the words in their text, their names and stack frames."""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from qcn_agent.context.issue import IssueQuery
from qcn_agent.index.files import read_file
from qcn_agent.index.record import content_hash
from qcn_agent.index.rows import IndexedFile
from qcn_agent.index.tags import Definition
from qcn_agent.index.words import WordSplitter

MAX_WORDS = 32
_K1, _B, _USUAL_BYTES = 1.5, 0.6, 1000.0
_NAME_FREQUENCY = 3.0
_NAMED, _FRAME = 4.0, 12.0

Matrix = npt.NDArray[np.float64]


class SymbolScorer:
    """Scores the definitions of files for one query. `gains`: its words' weight × idf, of which the best count."""

    def __init__(self, workspace: Path, query: IssueQuery, gains: Mapping[str, float]) -> None:
        self._workspace, self._query, self._splitter = workspace, query, WordSplitter()
        best = sorted((item for item in gains.items() if item[1] > 0), key=lambda item: (-item[1], item[0]))[:MAX_WORDS]
        self._words = [word for word, _gain in best]
        self._gains = np.array([gain for _word, gain in best])
        self._patterns = [re.compile(re.escape(word.encode())) for word in self._words]

    def scored(
        self, file: IndexedFile, definitions: Sequence[Definition], lines: Collection[int]
    ) -> list[tuple[float, Definition]]:
        """(score, definition), best first, ties by position; only of what has something in common with the query."""
        if not definitions:
            return []
        frequencies = self._in_names(definitions) + self._in_source(file, definitions)
        words = (self._gains * frequencies / (_K1 + frequencies)).sum(axis=1)
        total = words + np.array([self._pointed_at(definition, lines) for definition in definitions])
        found = zip(np.round(total, 9).tolist(), definitions, strict=True)
        return sorted(((s, d) for s, d in found if s > 0), key=lambda one: (-one[0], one[1].start_byte))

    def _in_names(self, definitions: Sequence[Definition]) -> Matrix:
        """How often each word is in a name, its scope or its doc, counted as _NAME_FREQUENCY or less."""
        rows = []
        for definition in definitions:
            named = self._splitter.words_of(definition.name)
            beside = f"{definition.scope} {definition.doc} {definition.signature}".lower()
            rows.append([_NAME_FREQUENCY * (word in named) + (word in beside) for word in self._words])
        return np.array(rows, np.float64).reshape(len(definitions), len(self._words))

    def _in_source(self, file: IndexedFile, definitions: Sequence[Definition]) -> Matrix:
        """How often each word is in a definition's text, by its length; zeros where the file has changed since."""
        read = read_file(self._workspace / file.path)
        source = read[1] if read else None
        if source is None or content_hash(source) != file.content_hash:
            return np.zeros((len(definitions), len(self._words)))
        starts = np.array([definition.start_byte for definition in definitions])
        ends = np.array([definition.end_byte for definition in definitions])
        lower = source.lower()
        columns = []
        for pattern in self._patterns:
            spots = np.array([match.start() for match in pattern.finditer(lower)], np.int64)
            columns.append(np.searchsorted(spots, ends) - np.searchsorted(spots, starts))
        counts = np.array(columns, np.float64).reshape(len(self._words), len(definitions)).T
        lengths = 1 - _B + _B * (ends - starts) / _USUAL_BYTES
        scaled: Matrix = counts / lengths[:, None]
        return scaled

    def _pointed_at(self, definition: Definition, lines: Collection[int]) -> float:
        in_frame = any(definition.start_line <= line <= definition.end_line for line in lines)
        inner = in_frame and definition.kind != "class"
        return _NAMED * self._query.names.get(definition.name, 0.0) + _FRAME * inner
