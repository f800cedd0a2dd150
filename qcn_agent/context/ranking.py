"""Which files and symbols of a workspace an issue is about: `rank` is the table of contents."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from qcn_agent.context.calls import Caller, calls_of
from qcn_agent.context.evidence import Evidence
from qcn_agent.context.issue import IssueQuery, query_of
from qcn_agent.context.lexical import Lexical, score_words
from qcn_agent.context.neighbours import neighbours_of
from qcn_agent.context.places import Places, find_places
from qcn_agent.context.rerank import NUM_RERANKED, Reranker, Skeleton, reordered
from qcn_agent.context.symbols import SymbolScorer
from qcn_agent.context.weights import DEFAULT, Weights
from qcn_agent.index.definitions import DefinitionTable
from qcn_agent.index.index import Index
from qcn_agent.index.pairs import is_test
from qcn_agent.index.rows import IndexedFile
from qcn_agent.index.tags import Definition

NUM_CANDIDATES = 200
FILES_WITH_SYMBOLS = 20
NUM_HOPPED = 12
NUM_CALLING_FILES = 4
NUM_CALLERS = 2  # of each
MAX_WORDS_NAMED = 5  # in a reason
MAX_NEWCOMERS = 50  # files that only the hop leads to
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

    @property
    def symbols(self) -> tuple[RankedSymbol, ...]:
        """The symbols of all files, best first: by the file's score plus the symbol's, each as a share of the best."""
        pairs = [(file, symbol) for file in self.files for symbol in file.symbols]
        top_file = max((file.score for file, _symbol in pairs), default=0.0) or 1.0
        top_symbol = max((symbol.score for _file, symbol in pairs), default=0.0) or 1.0
        shares = [round(file.score / top_file + symbol.score / top_symbol, _DIGITS) for file, symbol in pairs]
        order = sorted(zip(shares, pairs, strict=True), key=lambda one: (-one[0], one[1][1].path, one[1][1].start_line))
        return tuple(symbol for _share, (_file, symbol) in order)


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
        self._factors: dict[int, float] = {}
        self._places = Places()
        self._lexical = Lexical.nothing()

    def ranked(self, limit: int) -> list[RankedFile]:
        self._places = find_places(self._index, self._query)
        self._lexical = score_words(self._index, self._query, self._places.file_ids(), self._weights, NUM_CANDIDATES)
        self._know(self._lexical.scores)
        scores = {file_id: self._base(file_id) for file_id in self._files}
        symbols = self._symbols(self._best(self._scaled(scores))[:FILES_WITH_SYMBOLS])
        top = max((found[0].score for found in symbols.values() if found), default=0.0)
        for file_id, found in symbols.items():
            scores[file_id] += self._weights.rank.symbol * found[0].score / top if found else 0.0
        near = self._hop(scores, symbols)
        scores = self._scaled(scores)
        order = self._best(scores)
        return [
            RankedFile(
                file_id,
                self._files[file_id].path,
                round(scores[file_id], _DIGITS),
                self._reasons(file_id, near.get(file_id, [])),
                tuple(symbols.get(file_id, ())),
            )
            for file_id in order[:limit]
        ]

    def _know(self, file_ids: Collection[int]) -> None:
        found = self._index.files_by_id(file_ids)
        self._files.update((file_id, found[file_id]) for file_id in file_ids if file_id in found)
        self._factors.update((file_id, self._factor(file)) for file_id, file in found.items())

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

    def _scaled(self, scores: Mapping[int, float]) -> dict[int, float]:
        return {file_id: score * self._factors[file_id] for file_id, score in scores.items()}

    def _factor(self, file: IndexedFile) -> float:
        """Tests and texts come later, unless a path or a frame names them."""
        if self._places.frames.strongest(file.file_id) or self._places.paths.strongest(file.file_id) > 0.5:
            return 1.0
        factor = self._weights.rank.test if is_test(file.path) else 1.0
        return factor * (self._weights.rank.text if file.language == "text" else 1.0)

    def _best(self, scores: Mapping[int, float]) -> list[int]:
        return sorted(scores, key=lambda file_id: (-round(scores[file_id], _DIGITS), self._files[file_id].path))

    def _symbols(self, file_ids: Sequence[int]) -> dict[int, list[RankedSymbol]]:
        scorer = SymbolScorer(self._index.workspace, self._query, self._lexical.gains)
        tables, found = self._index.definition_tables(file_ids), dict[int, list[RankedSymbol]]()
        for file_id in file_ids:
            file, table = self._files[file_id], tables[file_id]
            lines, words = self._places.lines.get(file_id, ()), self._lexical.best_words(file_id)
            scored = scorer.scored(file, table, lines, words)
            found[file_id] = list(_symbols(file, table, scored, self._query))
        return found

    def _hop(self, scores: dict[int, float], symbols: Mapping[int, Sequence[RankedSymbol]]) -> dict[int, list[str]]:
        """Adds to `scores` what the best files say of others; the reasons by file."""
        best = self._best(scores)[:NUM_HOPPED]
        top = scores[best[0]] if best else 1.0
        shares = {file_id: scores[file_id] / (top or 1.0) for file_id in best}
        near = neighbours_of(self._index, shares, self._files)
        called = calls_of(self._index, self._callers(shares, symbols))
        gains = self._gains(near, called)
        self._know(self._newcomers(gains))
        for file_id, gain in gains.items():
            if file_id in self._files:
                scores[file_id] = scores.get(file_id, 0.0) + gain
        return {file_id: [*near.reasons(file_id, 2), *called.reasons(file_id, 1)] for file_id in gains}

    def _gains(self, near: Evidence, called: Evidence) -> dict[int, float]:
        weights, file_ids = self._weights.rank, near.file_ids() | called.file_ids()
        return {one: weights.hop * near.strongest(one) + weights.call * called.strongest(one) for one in file_ids}

    def _callers(self, shares: Mapping[int, float], symbols: Mapping[int, Sequence[RankedSymbol]]) -> Iterator[Caller]:
        """The best symbols of the best files."""
        for file_id in [one for one in shares if symbols.get(one)][:NUM_CALLING_FILES]:
            for one in symbols[file_id][:NUM_CALLERS]:
                share = shares[file_id] * one.score / symbols[file_id][0].score
                yield Caller(file_id, one.name, one.start_line, one.end_line, share)

    def _newcomers(self, gains: Mapping[int, float]) -> list[int]:
        """The best MAX_NEWCOMERS files that are not known yet."""
        files = self._index.files_by_id(gains.keys() - self._files.keys())
        order = sorted(files.values(), key=lambda file: (-round(gains[file.file_id], _DIGITS), file.path))
        return [file.file_id for file in order[:MAX_NEWCOMERS]]

    def _reasons(self, file_id: int, near: Sequence[str]) -> tuple[str, ...]:
        places = self._places
        kinds = (places.frames, places.paths, places.modules, places.definitions)
        pointed = [reason for kind in kinds for reason in kind.reasons(file_id)]
        words = self._lexical.best_words(file_id)[:MAX_WORDS_NAMED]
        return (*pointed, *([f"words: {', '.join(words)}"] if words else []), *near)


def _symbols(
    file: IndexedFile, table: DefinitionTable, scored: Sequence[tuple[float, int]], query: IssueQuery
) -> Iterator[RankedSymbol]:
    places = [place for _score, place in scored]
    starts, ends = table.start_lines[places].tolist(), table.end_lines[places].tolist()
    for (score, place), start_line, end_line in zip(scored, starts, ends, strict=True):
        name, kind = table.names[place], table.kinds[place]
        reasons = ("the text names it",) if query.names.get(name, 0) >= 0.5 else ()
        qualified = table.qualified(place)
        yield RankedSymbol(file.file_id, file.path, name, qualified, kind, start_line, end_line, score, reasons)


def _reranked(index: Index, issue: str, ranked: Sequence[RankedFile], reranker: Reranker) -> list[RankedFile]:
    """The first NUM_RERANKED in the reranker's order, the others behind them; scores stay what they were."""
    head, by_path = ranked[:NUM_RERANKED], {file.path: file for file in ranked}
    skeletons = [Skeleton(file.path, _lines(index.definitions_of(file.file_id))) for file in head]
    order = reordered([file.path for file in head], reranker.order(issue, skeletons))
    moved = [replace(by_path[path]) for path in order]
    return [*moved, *ranked[NUM_RERANKED:]]


def _lines(definitions: Sequence[Definition]) -> tuple[str, ...]:
    return tuple(f"{one.signature}  # {one.doc}" if one.doc else one.signature for one in definitions)
