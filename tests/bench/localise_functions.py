"""Which functions a ranking finds: those of the gold files that differ between the wheels before and after a fix.

usage: python -m tests.bench.localise_functions --cache FOLDER [--half tune|held-out]

Only entries whose fix changed a function or method that was there before count. At k: one of the changed functions is
among the first k of `Ranking.symbols`; all: every one of them is.
"""

import argparse
import textwrap
from collections.abc import Iterator
from pathlib import Path

from qcn_agent.context.ranking import rank
from qcn_agent.index.tags import Definition, tag_file
from qcn_agent.index.words import WordSplitter
from tests.bench.localise_bench import accuracy, opened
from tests.bench.localise_labels import bare_code, is_for_tuning
from tests.bench.localise_set import Item, load_items, unpacked
from tests.bench.report import table

DEPTHS = (5, 20, 50)
NOWHERE = 10**6

Name = tuple[str, str]  # path, qualified name


def functions_in(path: str, source: bytes) -> dict[str, str]:
    """The tree, without comments and docstrings, of each function by its qualified name."""
    found = tag_file(path, source, "python", WordSplitter()).definitions
    return {one.qualified: bare_code(_dedented(source, one)) for one in found if one.kind != "class"}


def _dedented(source: bytes, one: Definition) -> str:
    """A definition begins behind its indentation, its other lines with it."""
    column = one.start_byte - source.rfind(b"\n", 0, one.start_byte) - 1
    return textwrap.dedent(" " * column + source[one.start_byte : one.end_byte].decode("utf-8", "replace"))


def changed_functions(item: Item, cache: Path) -> set[Name]:
    """The functions of the gold files that are other ones afterwards, or gone."""
    before, after = (unpacked(item.project, version, cache) for version in (item.before, item.after))
    return {name for path in item.gold for name in _changed(path, before / path, after / path)}


def _changed(path: str, before: Path, after: Path) -> Iterator[Name]:
    old, new = (functions_in(path, one.read_bytes()) if one.is_file() else {} for one in (before, after))
    yield from ((path, name) for name, text in old.items() if new.get(name) != text)


def places_of(item: Item, gold: set[Name], cache: Path) -> list[int]:
    """The place of each gold function among the symbols, from 1; NOWHERE without one."""
    index = opened(item, cache)
    order = [(symbol.path, symbol.qualified) for symbol in rank(index, item.text).symbols]
    index.close()
    return [order.index(name) + 1 if name in order else NOWHERE for name in sorted(gold)]


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="where `localise_bench` keeps wheels and indexes")
    parser.add_argument("--half", choices=["tune", "held-out"], default="held-out")
    options = parser.parse_args()
    any_of: dict[str, list[int]] = {}
    all_of: dict[str, list[int]] = {}
    for item in load_items():
        wanted = is_for_tuning(item.project) == (options.half == "tune")
        if wanted and (gold := changed_functions(item, options.cache)):
            places = places_of(item, gold, options.cache)
            any_of.setdefault(item.project, []).append(min(places))
            all_of.setdefault(item.project, []).append(max(places))
    print(f"{sum(map(len, any_of.values()))} entries of {len(any_of)} projects\n")
    rows = []
    for name, of_project in (("one of them", any_of), ("all of them", all_of)):
        cells = [accuracy(of_project, depth) for depth in DEPTHS]
        rows.append([name, *(f"{share:.1%} [{low:.0%}, {high:.0%}]" for share, low, high in cells)])
    print(table(["changed functions", *(f"@{depth}" for depth in DEPTHS)], rows))


if __name__ == "__main__":
    main()
