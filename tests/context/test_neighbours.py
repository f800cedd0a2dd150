"""One hop."""

from pathlib import Path

import pytest

from qcn_agent.context.neighbours import Known, neighbours_of
from qcn_agent.index.imports import Import
from tests.fakes.indexed import IndexedTree, indexed


def _reasons(tree: IndexedTree, scores: dict[str, float]) -> dict[str, list[str]]:
    known = {file.file_id: file for file in tree.reader.files()}
    by_id = {tree.id_of(path): score for path, score in scores.items()}
    evidence = neighbours_of(tree.reader, by_id, known)
    return {known[file_id].path: evidence.reasons(file_id) for file_id in evidence.file_ids()}


def test_imported_files_get_evidence(tree: IndexedTree) -> None:
    """With the importer named."""
    found = _reasons(tree, {"net/pool.py": 1.0})

    assert found["net/util/retry.py"] == ["is imported by net/pool.py"]
    assert "net/cookies.py" not in found


def test_importers_among_the_files_get_it_too(tree: IndexedTree) -> None:
    """Both ends of an import fit then."""
    found = _reasons(tree, {"net/pool.py": 0.5, "net/util/retry.py": 1.0})

    assert "imports net/util/retry.py" in found["net/pool.py"]


def test_a_test_leads_to_its_source(tree: IndexedTree) -> None:
    """By name and import."""
    assert "is tested by tests/test_retry.py" in _reasons(tree, {"tests/test_retry.py": 1.0})["net/util/retry.py"]


def test_what_changes_together_is_near(tmp_path: Path) -> None:
    """As the history says."""
    with indexed(tmp_path / "w", {"one.py": "x = 1\n", "two.py": "y = 1\n"}) as tree:
        with tree.store.transaction():
            tree.store.replace_cochange([(tree.id_of("one.py"), tree.id_of("two.py"), 0.5)])

        assert _reasons(tree, {"one.py": 1.0})["two.py"] == ["changes together with one.py"]


def test_an_import_is_sought_in_the_whole_index(tree: IndexedTree) -> None:
    """Though no word of the text led to the imported file."""
    pool = tree.reader.file_at("net/pool.py")
    assert pool is not None

    evidence = neighbours_of(tree.reader, {pool.file_id: 1.0}, {pool.file_id: pool})

    assert evidence.reasons(tree.id_of("net/util/retry.py")) == ["is imported by net/pool.py"]


def test_known_files_answer_for_imports(tree: IndexedTree) -> None:
    """By what they may be called: the file, or the package that it is the main file of; other names are dropped."""
    known = Known(tree.reader.files())
    retry, cookies = Import("net.util.retry", ("Retry",), 1), Import(".", ("cookies", "Cookie", "pool"), 1)

    assert known.narrowed(retry) == Import("net.util.retry", (), 1)
    assert known.narrowed(cookies) == Import(".", ("cookies", "pool"), 1)
    assert known.narrowed(Import("x.util", (), 1)) == Import("x.util", (), 1)
    assert known.narrowed(Import("os.path", ("join",), 1)) is None


def test_no_files_have_no_neighbours(tree: IndexedTree) -> None:
    """Nothing in, nothing out."""
    assert _reasons(tree, {}) == {}


def test_a_brace_in_a_path_is_a_brace(tmp_path: Path) -> None:
    """Paths go into reasons as they are."""
    files = {"a{0}/x.py": "from y import f\n", "a{0}/y.py": "def f(): pass\n"}
    with indexed(tmp_path / "w", files) as tree:
        assert _reasons(tree, {"a{0}/x.py": 1.0})["a{0}/y.py"] == ["is imported by a{0}/x.py"]


@pytest.mark.parametrize(
    "ending", ["retry", "util/retry", "net/util/retry", "til/retry", "net/pool", "pool/retry", "__init__"]
)
def test_known_files_are_found_as_the_index_finds_them(tree: IndexedTree, ending: str) -> None:
    """By the end of the path, by whole names."""
    known = Known(tree.reader.files())

    assert sorted(known.ending(ending), key=lambda file: file.path) == tree.reader.files_ending(ending)
    assert known.in_folder("net/util") == tree.reader.files_in("net/util")
