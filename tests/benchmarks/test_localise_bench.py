"""The benchmark's arithmetic, its opponents, its traces."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from qcn_agent.context.frames import frames_in
from qcn_agent.context.weights import DEFAULT
from qcn_agent.index.index import Index
from tests.bench.localise_aider import Aider
from tests.bench.localise_bench import RANKERS, Results, accuracy, rank_of_gold, targets_of
from tests.bench.localise_labels import CHANGELOGS
from tests.bench.localise_rankers import bm25_and_names, candidates, ours, page_rank, plain_bm25
from tests.bench.localise_set import Item, load_items
from tests.bench.localise_traces import TRACES_A_PROJECT, trace_items
from tests.bench.localise_tune import FIXED, neighbours
from tests.fakes.indexed import IndexedTree, indexed

FILES = {
    "p/store.py": "def save_record(record):\n    return record.flush()\n",
    "p/app.py": "from p.store import save_record\n\n\ndef run():\n    save_record(1)\n    save_record(2)\n",
    "p/other.py": "def idle():\n    pass\n",
    "tests/test_store.py": "from p.store import save_record\n",
}


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[IndexedTree]:
    """A small project."""
    with indexed(tmp_path / "w", FILES) as built:
        yield built


@pytest.fixture
def index(tree: IndexedTree) -> Iterator[Index]:
    """Its index."""
    opened = tree.index()
    yield opened
    opened.close()


def test_candidates_are_modules_without_tests(index: Index) -> None:
    """The same for all rankers, and each of them orders all."""
    expected = ["p/app.py", "p/other.py", "p/store.py"]

    assert [file.path for file in candidates(index)] == expected
    for ranker in RANKERS.values():
        assert sorted(ranker(index, "save_record fails")) == expected
        assert sorted(ranker(index, "")) == expected


def test_words_lead_ours_and_bm25(index: Index) -> None:
    """To the file that has them."""
    assert ours(index, "`save_record` does not flush")[0] == "p/store.py"
    assert plain_bm25(index, "flush of a record")[0] == "p/store.py"


def test_names_and_paths_lead_past_bm25(index: Index) -> None:
    """A file that defines a marked name, and a module that is named."""
    assert bm25_and_names(index, "`idle` and save_record")[0] == "p/store.py"
    assert bm25_and_names(index, "`idle` is wrong")[0] == "p/other.py"
    assert bm25_and_names(index, "p.other is slow")[0] == "p/other.py"


def test_references_lead_page_rank(index: Index) -> None:
    """To what is referred to, whatever the text says."""
    assert page_rank(index, "something is wrong")[0] == "p/store.py"


def test_rank_of_gold_is_that_of_the_first() -> None:
    """From 1."""
    assert rank_of_gold(["a", "b", "c"], ["c", "b"]) == 2


def test_accuracy_has_an_interval_over_projects() -> None:
    """Projects that are alike leave no doubt; ones that differ do."""
    assert accuracy({"a": [1, 9], "b": [1, 9]}, 5) == (0.5, 0.5, 0.5)
    share, low, high = accuracy({"a": [1, 1], "b": [9, 9], "c": [1, 9]}, 5)
    assert share == 0.5
    assert low < share < high


def test_the_time_of_one_in_twenty_is_reported() -> None:
    """By ranker, whatever the project."""
    results = Results()
    for number in range(100):
        results.add("ours", f"p{number % 3}", 1, float(number))

    assert results.p95_ms("ours") == 95.0
    assert {project: len(ranks) for project, ranks in results.ranks["ours"].items()} == {"p0": 34, "p1": 33, "p2": 33}


def test_targets_compare_with_every_other_ranker() -> None:
    """At five; no better is a miss."""
    entries, traces = Results(), Results()
    for ranker, rank in (("ours", 5), ("BM25", 6), ("PageRank map", 1)):
        entries.add(ranker, "p", rank, 60.0)
        traces.add(ranker, "p", rank, 1.0)

    met = {target.text: target.is_met for target in targets_of(entries, traces)}

    assert met == {
        "@5 above BM25": True,
        "@5 above PageRank map": False,
        "@5 >= 80%": True,
        "stack traces: @5 >= 95%": True,
        "p95, first query on an open index <= 50 ms": False,
    }


def test_a_python_without_aider_is_named(tmp_path: Path) -> None:
    """Not a line of JSON that is missing."""
    aider = Aider(Path(sys.executable), tmp_path)

    with pytest.raises(SystemExit, match="is aider-chat in that environment"):
        aider.ask(tmp_path, "text")
    aider.close()


def test_traces_end_in_their_gold_file(index: Index) -> None:
    """The nearest frame is the gold file's; the same ones each time."""
    item = Item("p", "1.0", "1.0.1", "text", ("p/app.py",))

    made = list(trace_items([item, item], lambda _item: index))

    assert len(made) == TRACES_A_PROJECT
    assert made == list(trace_items([item], lambda _item: index))
    for one in made:
        assert frames_in(one.text)[0].path.endswith("/" + one.gold[0])


def test_labels_are_of_known_projects() -> None:
    """Each with a text and few files."""
    items = load_items()

    assert len(items) >= 100
    assert {item.project for item in items} <= CHANGELOGS.keys()
    assert all(item.text and 1 <= len(item.gold) <= 3 for item in items)


def test_a_step_changes_one_number() -> None:
    """And none of those that the set says nothing of."""
    found = dict(neighbours(DEFAULT, 2.0))

    assert found["rank.hop"].rank.hop == 2 * DEFAULT.rank.hop
    assert found["rank.hop"].issue == DEFAULT.issue
    assert found["fields.weight.path"].fields.weight[0] == 2 * DEFAULT.fields.weight[0]
    assert not {name.rpartition(".")[2] for name in found if not name.startswith("fields")} & FIXED
    assert all(weights != DEFAULT or name.startswith("fields.b") for name, weights in found.items())
