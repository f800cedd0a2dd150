"""Definitions scored."""

from pathlib import Path

import numpy as np

from qcn_agent.context.issue import query_of
from qcn_agent.context.symbols import MAX_SYMBOLS, SymbolScorer
from qcn_agent.index.tags import Definition
from tests.context.conftest import RETRY
from tests.fakes.indexed import IndexedTree, indexed, write_tree


def _scored(
    tree: IndexedTree, text: str, gains: dict[str, float], lines: tuple[int, ...] = ()
) -> list[tuple[float, Definition]]:
    file = tree.reader.file_at("net/util/retry.py")
    assert file is not None
    scorer = SymbolScorer(tree.workspace, query_of(text), gains)
    table = tree.reader.definition_tables([file.file_id])[file.file_id]
    return [(score, table.at(place)) for score, place in scorer.scored(file, table, lines, tuple(gains))]


def _names(scored: list[tuple[float, Definition]]) -> list[str]:
    return [definition.qualified for _score, definition in scored]


def test_words_in_the_body_decide(tree: IndexedTree) -> None:
    """Though the name says nothing."""
    found = _scored(tree, "x", {"redirects": 3.0})

    assert _names(found)[0] == "Retry.increment"
    assert "Retry.delay" not in _names(found)


def test_words_in_the_name_count_more(tree: IndexedTree) -> None:
    """Than one in a longer text around it."""
    assert _names(_scored(tree, "x", {"delay": 3.0}))[0] == "Retry.delay"


def test_a_frame_leads_to_the_innermost_function(tree: IndexedTree) -> None:
    """Whatever the words say; not to the class around it."""
    line = RETRY.splitlines().index("        return self.backoff * 2") + 1

    assert _names(_scored(tree, "x", {"redirects": 3.0}, (line,)))[0] == "Retry.delay"


def test_a_named_function_leads(tree: IndexedTree) -> None:
    """The text marks it."""
    assert _names(_scored(tree, "`delay` is wrong", {"total": 1.0}))[0] == "Retry.delay"


def test_without_anything_in_common_there_is_none(tree: IndexedTree) -> None:
    """Zeros are left out."""
    assert _scored(tree, "x", {}) == []
    assert _scored(tree, "x", {"zebra": 3.0}) == []


def test_a_file_that_changed_is_scored_by_its_names(tree: IndexedTree) -> None:
    """Its positions are not those of the index any more."""
    try:
        write_tree(tree.workspace, {"net/util/retry.py": "x = 1\n" + RETRY})

        assert _names(_scored(tree, "x", {"delay": 3.0}))[0] == "Retry.delay"
        assert "Retry.increment" not in _names(_scored(tree, "x", {"redirects": 3.0}))
    finally:
        write_tree(tree.workspace, {"net/util/retry.py": RETRY})


def test_a_file_has_a_limited_number_of_symbols(tmp_path: Path) -> None:
    """The best of them, in the order of the text where they are alike."""
    source = "".join(f"def token{number}(): pass\n" for number in range(MAX_SYMBOLS + 9))
    with indexed(tmp_path / "w", {"a.py": source}) as built:
        file = built.reader.file_at("a.py")
        assert file is not None
        scorer = SymbolScorer(built.workspace, query_of("x"), {"token": 1.0})

        table = built.reader.definition_tables([file.file_id])[file.file_id]
        found = scorer.scored(file, table, (), ("token",))

    assert [table.names[place] for _score, place in found] == [f"token{number}" for number in range(MAX_SYMBOLS)]


def test_scores_are_finite(tree: IndexedTree) -> None:
    """For any weights."""
    found = _scored(tree, "x", {"retry": 1e6, "total": 1e-9})

    assert np.isfinite([score for score, _definition in found]).all()
