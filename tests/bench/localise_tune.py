"""Tunes the weights of `rank` on one half of the projects: a coordinate search in a few rounds of coarse steps.

usage: python -m tests.bench.localise_tune CACHE_FOLDER [SECONDS]

Goal: the mean of 1 / rank of the first gold file and of hits among the first five, each project's mean counting alike.
A step is kept only where the goal grows by MIN_GAIN. Prints each kept step and the weights at the end; no file is
written, so whoever runs it decides.
"""

import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from qcn_agent.context.weights import DEFAULT, Weights
from qcn_agent.index.index import Index
from qcn_agent.index.words import FIELDS
from tests.bench.localise_bench import opened, rank_of_gold
from tests.bench.localise_labels import is_for_tuning
from tests.bench.localise_rankers import ours
from tests.bench.localise_set import Item, load_items
from tests.bench.report import progress

STEPS = (0.5, 2.0, 0.75, 1.4)
MIN_GAIN = 0.002
FIXED = {"test", "text", "frame", "path", "trace", "error"}  # the set says nothing of these

Pair = tuple[Item, Index]


def goal(pairs: Sequence[Pair], weights: Weights) -> float:
    """0 .. 1; see above."""
    of_project: Mapping[str, list[float]] = defaultdict(list)
    for item, index in pairs:
        rank = rank_of_gold(ours(index, item.text, weights), item.gold)
        of_project[item.project].append((1 / rank + (rank <= 5)) / 2)
    return sum(sum(values) / len(values) for values in of_project.values()) / len(of_project)


def neighbours(weights: Weights, step: float) -> Iterator[tuple[str, Weights]]:
    """Weights with one number multiplied, and what it is called."""
    for part in ("rank", "issue"):
        values: Any = getattr(weights, part)
        for one in fields(values):
            if one.name not in FIXED:
                changed = replace(values, **{one.name: round(getattr(values, one.name) * step, 4)})
                yield f"{part}.{one.name}", replace(weights, **{part: changed})
    for number, name in enumerate(FIELDS):
        weight, b = list(weights.fields.weight), list(weights.fields.b)
        weight[number] = round(weight[number] * step, 4)
        b[number] = min(1.0, round(b[number] * step, 4))
        yield f"fields.weight.{name}", replace(weights, fields=replace(weights.fields, weight=tuple(weight)))
        yield f"fields.b.{name}", replace(weights, fields=replace(weights.fields, b=tuple(b)))
    yield "fields.k1", replace(weights, fields=replace(weights.fields, k1=round(weights.fields.k1 * step, 4)))


def searched(pairs: Sequence[Pair], weights: Weights, deadline: float) -> Weights:
    """Greedy: each better neighbour is taken at once, the steps one after the other, until none is or time is over."""
    best = goal(pairs, weights)
    progress(f"start: {best:.4f}")
    for step in STEPS:
        for name, _ in list(neighbours(weights, step)):
            tried = dict(neighbours(weights, step))[name]
            found = goal(pairs, tried)
            if found > best + MIN_GAIN:
                best, weights = found, tried
                progress(f"{name} x {step}: {best:.4f}")
            if time.monotonic() > deadline:
                return weights
    return weights


def main() -> None:
    """Search and print."""
    cache, seconds = Path(sys.argv[1]), float((*sys.argv[2:], "3600")[0])
    items = [item for item in load_items() if is_for_tuning(item.project)]
    pairs = [(item, opened(item, cache)) for item in items]
    print(searched(pairs, DEFAULT, time.monotonic() + seconds))


if __name__ == "__main__":
    main()
