"""`make bench-localise`: which files a ranking finds for changelog entries and stack traces.

usage: python -m tests.bench.localise_bench [--cache FOLDER] [--half tune|held-out] [--json FILE]

The half that weights were not tuned on, unless --half says so. Accuracy at k: a gold file is among the first k. Intervals
(95%) come from drawing projects, not items, with replacement.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from qcn_agent.index.index import Index
from tests.bench.localise_labels import is_for_tuning
from tests.bench.localise_rankers import ours, page_rank, plain_bm25
from tests.bench.localise_set import Item, load_items, unpacked
from tests.bench.localise_traces import trace_items
from tests.bench.report import Target, conclude, progress, table

RANKERS: Mapping[str, Callable[[Index, str], list[str]]] = {"ours": ours, "BM25": plain_bm25, "PageRank": page_rank}
DEPTHS = (1, 5, 10, 20)
NUM_DRAWS = 2000


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


def measured(items: Sequence[Item], cache: Path, name: str) -> tuple[dict[str, dict[str, list[int]]], list[float]]:
    """Ranks by ranker and project, and the milliseconds that ours took."""
    ranks: dict[str, dict[str, list[int]]] = {ranker: {} for ranker in RANKERS}
    times_ms = []
    for number, item in enumerate(items):
        index = opened(item, cache)
        for ranker, order_of in RANKERS.items():
            started = time.perf_counter()
            order = order_of(index, item.text)
            if ranker == "ours":
                times_ms.append(1000 * (time.perf_counter() - started))
            ranks[ranker].setdefault(item.project, []).append(rank_of_gold(order, item.gold))
        index.close()
        if number % 20 == 0:
            progress(f"{name}: {number} of {len(items)}")
    return ranks, times_ms


def report(name: str, ranks: Mapping[str, Mapping[str, Sequence[int]]]) -> None:
    """A table: a row for each ranker."""
    num_items = sum(map(len, ranks["ours"].values()))
    print(f"\n{name}: {num_items} items of {len(ranks['ours'])} projects\n")
    rows = []
    for ranker, of_project in ranks.items():
        cells = [accuracy(of_project, depth) for depth in DEPTHS]
        rows.append([ranker, *(f"{share:.1%} [{low:.0%}, {high:.0%}]" for share, low, high in cells)])
    print(table(["", *(f"@{depth}" for depth in DEPTHS)], rows))


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, help="wheels and indexes are kept here; default: a temporary folder")
    parser.add_argument("--half", choices=["tune", "held-out"], default="held-out")
    parser.add_argument("--json", type=Path, help="write every rank")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        cache = options.cache or Path(place)
        items = [item for item in load_items() if is_for_tuning(item.project) == (options.half == "tune")]
        entries, times_ms = measured(items, cache, "changelog entries")
        traces, _times = measured(list(trace_items(items, lambda item: opened(item, cache))), cache, "stack traces")
    report(f"changelog entries, {options.half}", entries)
    report(f"stack traces, {options.half}", traces)
    at_5 = {ranker: accuracy(ranks, 5)[0] for ranker, ranks in entries.items()}
    targets = [
        Target(f"@5 above {other}", f"{at_5['ours']:.1%} and {at_5[other]:.1%}", at_5["ours"] > at_5[other])
        for other in RANKERS
        if other != "ours"
    ]
    traced = accuracy(traces["ours"], 5)[0]
    targets.append(Target("stack traces: @5 >= 95%", f"{traced:.1%}", traced >= 0.95))
    p95 = sorted(times_ms)[int(0.95 * len(times_ms))]
    targets.append(Target("p95 of a ranking, first query on an open index <= 100 ms", f"{p95:.0f} ms", p95 <= 100))
    print()
    conclude(targets, {"entries": entries, "traces": traces}, options.json)


if __name__ == "__main__":
    main()
