"""`make bench-localise`: which files a ranking finds for changelog entries and stack traces.

usage: python -m tests.bench.localise_bench [--cache FOLDER] [--half tune|held-out] [--aider-python PATH] [--json FILE]

The half that weights were not tuned on, unless --half says so. Accuracy at k: a gold file is among the first k.
Intervals (95%) come from drawing projects, not items, with replacement. With --aider-python the same entries are given
to aider (`aider-chat` in an environment of its own): the files in the order of its tags, the time of its map, and
whether the map, made as for a chat without files, names a gold file.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from qcn_agent.index.index import Index
from tests.bench.localise_aider import NOT_MEASURED, Aider, AiderAnswer
from tests.bench.localise_labels import is_for_tuning
from tests.bench.localise_rankers import bm25_and_names, candidates, ours, page_rank, plain_bm25
from tests.bench.localise_set import Item, load_items, unpacked
from tests.bench.localise_traces import trace_items
from tests.bench.report import Target, conclude, progress, table

Ranker = Callable[[Index, str], list[str]]
RANKERS: Mapping[str, Ranker] = {
    "ours": ours,
    "BM25": plain_bm25,
    "BM25 + definitions + path": bm25_and_names,
    "PageRank map": page_rank,
}
AIDER = "aider's map"
DEPTHS = (1, 5, 10, 20)
NUM_DRAWS = 2000
MAX_QUERY_MS = 50.0


@dataclass
class Results:
    """By ranker: the rank of the first gold file by project, and the milliseconds of each query."""

    ranks: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    times_ms: dict[str, list[float]] = field(default_factory=dict)

    def add(self, ranker: str, project: str, rank: int, time_ms: float) -> None:
        """One more item."""
        self.ranks.setdefault(ranker, {}).setdefault(project, []).append(rank)
        self.times_ms.setdefault(ranker, []).append(time_ms)

    def p95_ms(self, ranker: str) -> float:
        """The time that one in twenty exceeds."""
        return sorted(self.times_ms[ranker])[int(0.95 * len(self.times_ms[ranker]))]


class AiderRanker:
    """aider as a ranker; remembers what it answered."""

    def __init__(self, aider: Aider) -> None:
        self._aider = aider
        self.answers: list[AiderAnswer] = []

    def __call__(self, index: Index, text: str) -> list[str]:
        """The candidates in its order; what it leaves out comes last, by path."""
        answer = self._aider.ask(index.workspace, text)
        self.answers.append(answer)
        possible = {file.path for file in candidates(index)}
        ranked = [path for path in answer.order if path in possible]
        return [*ranked, *sorted(possible - set(ranked))]

    def report(self, items: Sequence[Item]) -> str:
        """What its maps name."""
        named = [bool(set(item.gold) & set(answer.shown)) for item, answer in zip(items, self.answers, strict=True)]
        sizes = sorted(len(answer.shown) for answer in self.answers)
        size = sizes[len(sizes) // 2]
        return f"its map names a gold file for {sum(named)} of {len(named)} entries, and {size} files (median)"


def opened(item: Item, cache: Path) -> Index:
    """The index of the tree before an item's fix, built if need be."""
    index = Index.open(unpacked(item.project, item.before, cache), folder=cache / "indexes", watch=False)
    if not index.corpus_stats().num_files:
        index.refresh()
        index.close()
    return index


def rank_of_gold(order: Sequence[str], gold: Sequence[str]) -> int:
    """The place of the first gold file, from 1."""
    return min(place for place, path in enumerate(order, 1) if path in gold)


def accuracy(ranks_by_project: Mapping[str, Sequence[int]], depth: int) -> tuple[float, float, float]:
    """(share, low, high): the share of ranks up to `depth` and its interval over projects."""
    chance, groups = random.Random(7), list(ranks_by_project.values())

    def share(drawn: Sequence[Sequence[int]]) -> float:
        return sum(rank <= depth for ranks in drawn for rank in ranks) / sum(map(len, drawn))

    draws = sorted(share(chance.choices(groups, k=len(groups))) for _ in range(NUM_DRAWS))
    return share(groups), draws[int(0.025 * NUM_DRAWS)], draws[int(0.975 * NUM_DRAWS)]


def measured(items: Sequence[Item], cache: Path, name: str, rankers: Mapping[str, Ranker] = RANKERS) -> Results:
    """Every ranker on every item, on an index that was just opened."""
    results = Results()
    for number, item in enumerate(items):
        index = opened(item, cache)
        for ranker, order_of in rankers.items():
            started = time.perf_counter()
            order = order_of(index, item.text)
            elapsed_ms = 1000 * (time.perf_counter() - started)
            results.add(ranker, item.project, rank_of_gold(order, item.gold), elapsed_ms)
        index.close()
        if number % 20 == 0:
            progress(f"{name}: {number} of {len(items)}")
    return results


def report(name: str, results: Results) -> None:
    """A table: a row for each ranker."""
    ours_by_project = results.ranks["ours"]
    print(f"\n{name}: {sum(map(len, ours_by_project.values()))} items of {len(ours_by_project)} projects\n")
    rows = []
    for ranker, of_project in results.ranks.items():
        cells = [accuracy(of_project, depth) for depth in DEPTHS]
        shares = [f"{share:.1%} [{low:.0%}, {high:.0%}]" for share, low, high in cells]
        rows.append([ranker, *shares, f"{results.p95_ms(ranker):.0f}"])
    print(table(["", *(f"@{depth}" for depth in DEPTHS), "p95 ms"], rows))


def targets_of(entries: Results, traces: Results) -> list[Target]:
    """What should hold."""
    at_5 = {ranker: accuracy(ranks, 5)[0] for ranker, ranks in entries.ranks.items()}
    targets = [
        Target(f"@5 above {other}", f"{at_5['ours']:.1%} and {at_5[other]:.1%}", at_5["ours"] > at_5[other])
        for other in at_5
        if other != "ours"
    ]
    traced, p95 = accuracy(traces.ranks["ours"], 5)[0], entries.p95_ms("ours")
    return [
        *targets,
        Target("@5 >= 80%", f"{at_5['ours']:.1%}", at_5["ours"] >= 0.8),
        Target("stack traces: @5 >= 95%", f"{traced:.1%}", traced >= 0.95),
        Target(f"p95, first query on an open index <= {MAX_QUERY_MS:.0f} ms", f"{p95:.0f} ms", p95 <= MAX_QUERY_MS),
    ]


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, help="wheels and indexes are kept here; default: a temporary folder")
    parser.add_argument("--half", choices=["tune", "held-out"], default="held-out")
    parser.add_argument("--aider-python", type=Path, help="the Python of an environment with aider-chat")
    parser.add_argument("--json", type=Path, help="write every rank")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        cache = options.cache or Path(place)
        items = [item for item in load_items() if is_for_tuning(item.project) == (options.half == "tune")]
        aider = AiderRanker(Aider(options.aider_python, Path(place))) if options.aider_python else None
        rankers: Mapping[str, Ranker] = {**RANKERS, AIDER: aider} if aider else RANKERS
        entries = measured(items, cache, "changelog entries", rankers)
        traces = measured(list(trace_items(items, lambda item: opened(item, cache))), cache, "stack traces")
    report(f"changelog entries, {options.half}", entries)
    print(f"\n{AIDER}: {aider.report(items) if aider else NOT_MEASURED}")
    report(f"stack traces, {options.half}", traces)
    print()
    conclude(targets_of(entries, traces), {"entries": entries.ranks, "traces": traces.ranks}, options.json)


if __name__ == "__main__":
    main()
