"""Which files and symbols of a workspace an issue is about: `rank` is the table of contents."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from qcn_agent.context.issue import IssueQuery, query_of
from qcn_agent.context.lexical import Lexical, score_words
from qcn_agent.context.neighbours import neighbours_of
from qcn_agent.context.places import Places, find_places
from qcn_agent.context.rerank import NUM_RERANKED, Reranker, Skeleton, reordered
from qcn_agent.context.symbols import SymbolScorer
from qcn_agent.context.weights import DEFAULT, Weights
from qcn_agent.index.index import Index
from qcn_agent.index.pairs import is_test
from qcn_agent.index.rows import IndexedFile
from qcn_agent.index.tags import Definition

NUM_CANDIDATES = 200
FILES_WITH_SYMBOLS = 40
NUM_HOPPED = 12
_DIGITS = 9


@dataclass(frozen=True)
class RankedSymbol:
    """A definition that fits; `qualified` is its dotted name in the file, lines are from 1 and inclusive."""

    file_id: int
    path: str
    name: str
    qualified: str
    kind: str
    start_line: int
    end_line: int
    score: float
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class RankedFile:
    """A file that fits, and its best symbols, best first (of the first FILES_WITH_SYMBOLS files only)."""

    file_id: int
    path: str
    score: float
    reasons: tuple[str, ...]
    symbols: tuple[RankedSymbol, ...]


@dataclass(frozen=True)
class Ranking:
    """Files, best first, ties by path."""

    query: IssueQuery
    files: tuple[RankedFile, ...]


def rank(
    index: Index, issue: str, *, limit: int = 300, weights: Weights = DEFAULT, reranker: Reranker | None = None
) -> Ranking:
    """The files that an issue is about, at most `limit`; none of an empty workspace or for an empty text.

    Lexical first; what the text points at, symbols and one hop of relations are added to it. The same for two indexes
    of the same workspace. With `reranker` the best NUM_RERANKED files are put in its order.
    """
    query = query_of(issue, weights.issue)
    with index.snapshot():
        ranked = _Ranker(index, query, weights).ranked(limit)
        if reranker is not None:
            ranked = _reranked(index, issue, ranked, reranker)
    return Ranking(query, tuple(ranked))


class _Ranker:
    """One query on one snapshot."""

    def __init__(self, index: Index, query: IssueQuery, weights: Weights) -> None:
        self._index, self._query, self._weights = index, query, weights
        self._files: dict[int, IndexedFile] = {}
        self._places = Places()
        self._lexical = Lexical.nothing()

    def ranked(self, limit: int) -> list[RankedFile]:
        self._places = find_places(self._index, self._query)
        self._lexical = score_words(self._index, self._query, self._places.file_ids(), self._weights, NUM_CANDIDATES)
        self._know(self._lexical.scores)
        scores = {file_id: self._base(file_id) for file_id in self._files}
        symbols = self._symbols(self._best(scores)[:FILES_WITH_SYMBOLS])
        top = max((found[0].score for found in symbols.values() if found), default=0.0)
        for file_id, found in symbols.items():
            scores[file_id] += self._weights.rank.symbol * found[0].score / top if found else 0.0
        near = self._hop(scores)
        order = self._best({file_id: score * self._factor(file_id) for file_id, score in scores.items()})
        return [
            RankedFile(
                file_id,
                self._files[file_id].path,
                round(scores[file_id] * self._factor(file_id), _DIGITS),
                self._reasons(file_id, near.get(file_id, [])),
                tuple(symbols.get(file_id, ())),
            )
            for file_id in order[:limit]
        ]

    def _know(self, file_ids: Sequence[int] | Mapping[int, float]) -> None:
        for file_id in file_ids:
            file = self._files.get(file_id) or self._index.file(file_id)
            if file is not None:
                self._files[file_id] = file

    def _base(self, file_id: int) -> float:
        """What the text itself says of a file."""
        weights, places = self._weights.rank, self._places
        return (
            self._lexical.scores[file_id]
            + weights.strings * self._lexical.strings[file_id]
            + weights.definition * places.definitions.total(file_id)
            + weights.path * places.paths.strongest(file_id)
            + weights.module * places.modules.strongest(file_id)
            + weights.frame * places.frames.strongest(file_id)
        )

    def _factor(self, file_id: int) -> float:
        """Tests and texts come later, unless a path or a frame names them."""
        if self._places.frames.strongest(file_id) or self._places.paths.strongest(file_id) > 0.5:
            return 1.0
        file = self._files[file_id]
        factor = self._weights.rank.test if is_test(file.path) else 1.0
        return factor * (self._weights.rank.text if file.language == "text" else 1.0)

    def _best(self, scores: Mapping[int, float]) -> list[int]:
        return sorted(scores, key=lambda file_id: (-round(scores[file_id], _DIGITS), self._files[file_id].path))

    def _symbols(self, file_ids: Sequence[int]) -> dict[int, list[RankedSymbol]]:
        scorer = SymbolScorer(self._index.workspace, self._query, self._lexical.gains)
        found = {}
        for file_id in file_ids:
            file, definitions = self._files[file_id], self._index.definitions_of(file_id)
            scored = scorer.scored(file, definitions, self._places.lines.get(file_id, ()))
            found[file_id] = [_symbol(file, score, definition, self._query) for score, definition in scored]
        return found

    def _hop(self, scores: dict[int, float]) -> dict[int, list[str]]:
        """Adds to `scores` what the best files say of others; the reasons by file."""
        best = self._best(scores)[:NUM_HOPPED]
        top = scores[best[0]] if best else 1.0
        paths = {file_id: self._files[file_id].path for file_id in best}
        evidence = neighbours_of(self._index, {file_id: scores[file_id] / (top or 1.0) for file_id in best}, paths)
        self._know(sorted(evidence.file_ids()))
        for file_id in evidence.file_ids():
            if file_id in self._files:
                scores[file_id] = scores.get(file_id, 0.0) + self._weights.rank.hop * evidence.strongest(file_id)
        return {file_id: evidence.reasons(file_id, 2) for file_id in evidence.file_ids()}

    def _reasons(self, file_id: int, near: Sequence[str]) -> tuple[str, ...]:
        places = self._places
        kinds = (places.frames, places.paths, places.modules, places.definitions)
        pointed = [reason for kind in kinds for reason in kind.reasons(file_id)]
        words = self._lexical.best_words(file_id)
        return (*pointed, *([f"words: {', '.join(words)}"] if words else []), *near)


def _symbol(file: IndexedFile, score: float, definition: Definition, query: IssueQuery) -> RankedSymbol:
    reasons = ("the text names it",) if query.names.get(definition.name, 0) >= 0.5 else ()
    return RankedSymbol(
        file.file_id,
        file.path,
        definition.name,
        definition.qualified,
        definition.kind,
        definition.start_line,
        definition.end_line,
        score,
        reasons,
    )


def _reranked(index: Index, issue: str, ranked: Sequence[RankedFile], reranker: Reranker) -> list[RankedFile]:
    """The first NUM_RERANKED in the reranker's order, the others behind them; scores stay what they were."""
    head, by_path = ranked[:NUM_RERANKED], {file.path: file for file in ranked}
    skeletons = [Skeleton(file.path, _lines(index.definitions_of(file.file_id))) for file in head]
    order = reordered([file.path for file in head], reranker.order(issue, skeletons))
    moved = [replace(by_path[path]) for path in order]
    return [*moved, *ranked[NUM_RERANKED:]]


def _lines(definitions: Sequence[Definition]) -> tuple[str, ...]:
    return tuple(f"{one.signature}  # {one.doc}" if one.doc else one.signature for one in definitions)
