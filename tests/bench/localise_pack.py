"""How often a pack holds what a fix changed: each changed function of the gold files, whole.

usage: python -m tests.bench.localise_pack --cache FOLDER [--half tune|held-out]

Functions as in `localise_functions`; an entry whose fix changed none is left out. A token is 3.6 bytes here, about what
large models make of code, so no model is needed. Trees that fit into a budget as a whole say little about a ranking:
the second table leaves them out.
"""

import argparse
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qcn_agent.context.pack import Pack
from qcn_agent.context.packer import make_pack
from qcn_agent.context.tokenizer import Tokenizer
from qcn_agent.engine.generator import IntArray
from qcn_agent.index.index import Index
from tests.bench.localise_bench import accuracy, opened
from tests.bench.localise_functions import changed_functions
from tests.bench.localise_labels import is_for_tuning
from tests.bench.localise_rankers import candidates
from tests.bench.localise_set import Item, load_items
from tests.bench.report import Target, conclude, progress, table

BUDGETS = {64: 0.80, 128: 0.88, 224: 0.94}  # thousands of tokens, and the share that issue 4 asks for
BYTES_A_TOKEN = 3.6

Span = tuple[str, int, int]  # path, first and last line


class EvenVocabulary:
    """As many tokens as a text of code has for a large model; what they are says nothing."""

    def encode(self, pieces: Sequence[tuple[str, bool]]) -> IntArray:
        """Zeros, one for BYTES_A_TOKEN bytes."""
        num_bytes = sum(len(text.encode("utf-8", "replace")) for text, _special in pieces)
        return np.zeros(math.ceil(num_bytes / BYTES_A_TOKEN), np.int32)

    def decode(self, tokens: IntArray, *, special: bool = False) -> str:
        """Nothing."""
        return ""

    def is_end(self, token: int) -> bool:
        """No text ends."""
        return False


@dataclass(frozen=True)
class Found:
    """Of one entry and budget: which share of the changed functions is whole in the pack, how full that is."""

    project: str
    share: float
    fullness: float
    is_whole_tree: bool


def spans_of(index: Index, item: Item, cache: Path) -> list[Span]:
    """The lines of the functions that the fix changed, each once; what lies in another one of them is its part."""
    names = changed_functions(item, cache)
    files = {path: index.file_at(path) for path in item.gold}
    spans = {
        (path, one.start_line, one.end_line)
        for path, file in files.items()
        for one in (index.definitions_of(file.file_id) if file else ())
        if (path, one.qualified) in names and one.kind != "class"
    }
    return sorted(span for span in spans if not any(other != span and _holds(other, span) for other in spans))


def _holds(outer: Span, inner: Span) -> bool:
    return outer[0] == inner[0] and outer[1] <= inner[1] and inner[2] <= outer[2]


def share_shown(pack: Pack, spans: Sequence[Span]) -> float:
    """The share of the spans whose every line is in the pack."""
    shown = {(part.path, line) for part in pack.issue_part for a, b in part.lines for line in range(a, b + 1)}
    whole = [all((path, line) in shown for line in range(first, last + 1)) for path, first, last in spans]
    return sum(whole) / len(whole)


def measured(items: Sequence[Item], cache: Path, tokenizer: Tokenizer) -> Iterator[tuple[int, Found]]:
    """(thousands of tokens, what was found) of each entry."""
    for number, item in enumerate(items):
        with closing(opened(item, cache)) as index:
            spans = spans_of(index, item, cache)
            size = sum(file.size for file in candidates(index)) / BYTES_A_TOKEN
            for thousands in BUDGETS if spans else ():
                pack = make_pack(index, tokenizer, item.text, 1024 * thousands)
                fullness = pack.num_tokens / pack.budget
                yield thousands, Found(item.project, share_shown(pack, spans), fullness, size < pack.budget)
        if number % 20 == 0:
            progress(f"{number} of {len(items)}")


def by_project(found: Sequence[Found], *, is_all: bool) -> Mapping[str, list[int]]:
    """1 for each entry all (or any) of whose functions are there, else 9, as `accuracy` counts places."""
    groups: dict[str, list[int]] = {}
    for one in found:
        groups.setdefault(one.project, []).append(1 if (one.share == 1 if is_all else one.share > 0) else 9)
    return groups


def row_of(name: str, found: Sequence[Found]) -> list[str]:
    """A line of a table."""
    cells = [accuracy(by_project(found, is_all=is_all), 1) for is_all in (False, True)]
    fullness = sorted(one.fullness for one in found)
    shares = [f"{share:.1%} [{low:.0%}, {high:.0%}]" for share, low, high in cells]
    return [name, str(len(found)), *shares, f"{fullness[len(fullness) // 2]:.1%}"]


def target_of(size: int, found: Sequence[Found]) -> Target:
    """What issue 4 asks for of a budget."""
    share = accuracy(by_project(found, is_all=False), 1)[0]
    return Target(f"{size}K: a changed function >= {BUDGETS[size]:.0%}", f"{share:.1%}", share >= BUDGETS[size])


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="where `localise_bench` keeps wheels and indexes")
    parser.add_argument("--half", choices=["tune", "held-out"], default="held-out")
    options = parser.parse_args()
    items = [item for item in load_items() if is_for_tuning(item.project) == (options.half == "tune")]
    results: dict[int, list[Found]] = {thousands: [] for thousands in BUDGETS}
    with (
        tempfile.TemporaryDirectory() as place,
        closing(Tokenizer.open(EvenVocabulary(), Path(place), "even")) as tokenizer,
    ):
        for thousands, found in measured(items, options.cache, tokenizer):
            results[thousands].append(found)
    header = ["pack", "entries", "one of them", "all of them", "full (median)"]
    print(table(header, [row_of(f"{size}K tokens", found) for size, found in results.items()]))
    larger = {size: [one for one in found if not one.is_whole_tree] for size, found in results.items()}
    print("\nTrees larger than the pack:\n")
    print(table(header, [row_of(f"{size}K tokens", found) for size, found in larger.items() if found]))
    targets = [target_of(size, found) for size, found in results.items()]
    print()
    conclude(targets, {}, None)


if __name__ == "__main__":
    main()
