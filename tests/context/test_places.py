"""What a query points at."""

import pytest

from qcn_agent.context.evidence import Evidence
from qcn_agent.context.issue import query_of
from qcn_agent.context.places import Places, find_places
from tests.fakes.indexed import IndexedTree


def _places(tree: IndexedTree, text: str) -> Places:
    return find_places(tree.reader, query_of(text))


def _values(tree: IndexedTree, evidence: Evidence) -> dict[str, float]:
    paths = {file.file_id: file.path for file in tree.reader.files()}
    return {paths[file_id]: round(evidence.strongest(file_id), 3) for file_id in evidence.file_ids()}


def test_frames_lead_to_files_by_the_end_of_their_path(tree: IndexedTree) -> None:
    """Wherever the package was installed; the line is kept."""
    places = _places(tree, '  File "/venv/lib/python3.11/site-packages/net/util/retry.py", line 9, in increment')

    assert _values(tree, places.frames) == {"net/util/retry.py": 1.0}
    assert places.lines == {tree.id_of("net/util/retry.py"): {9}}
    assert places.frames.reasons(tree.id_of("net/util/retry.py")) == ["stack frame at line 9 in increment"]


def test_the_frame_nearest_to_the_error_counts_most(tree: IndexedTree) -> None:
    """Frames of other code are passed over."""
    text = (
        'File "/usr/lib/json.py", line 1, in a\nFile "net/pool.py", line 2, in b\nFile "net/cookies.py", line 6, in c\n'
    )

    values = _values(tree, _places(tree, text + 'File "/usr/lib/os.py", line 7, in d').frames)

    assert values == {"net/cookies.py": 1.0, "net/pool.py": 0.8}


@pytest.mark.parametrize("path", ["net/util/retry.py", "src/net/util/retry.py", "retry.py", "./net/util/retry.py"])
def test_a_named_path_is_found(tree: IndexedTree, path: str) -> None:
    """By its longest ending that fits, with the same extension."""
    assert _values(tree, _places(tree, f"look at {path} please").paths) == {"net/util/retry.py": 1.0}


def test_a_path_that_is_not_there_is_nothing(tree: IndexedTree) -> None:
    """Nor is one with another extension."""
    assert _values(tree, _places(tree, "see net/missing.py and net/util/retry.js").paths) == {}


@pytest.mark.parametrize("name", ["net.util.retry", "net.util.retry.Retry.delay", "net::util::retry"])
def test_a_dotted_name_leads_to_its_module(tree: IndexedTree, name: str) -> None:
    """Its longest part that is one."""
    assert _values(tree, _places(tree, f"import {name}").modules) == {"net/util/retry.py": 1.0}


def test_a_package_is_its_init_file(tree: IndexedTree) -> None:
    """Where no module fits better."""
    assert _values(tree, _places(tree, "net.util is slow").modules) == {"net/util/__init__.py": 1.0}


def test_defined_names_are_evidence(tree: IndexedTree) -> None:
    """Marked ones more than plain words."""
    marked = _values(tree, _places(tree, "a title\n`parse_cookie` is slow").definitions)
    plain = _values(tree, _places(tree, "a title\nit is slow to delay").definitions)

    assert marked["net/cookies.py"] > plain["net/util/retry.py"] > 0


def test_a_method_and_its_class_must_fit(tree: IndexedTree) -> None:
    """`Retry.increment` is not just any increment."""
    places = _places(tree, "Retry.increment hangs")

    assert "defines Retry.increment" in places.definitions.reasons(tree.id_of("net/util/retry.py"))
    assert "defines Pool.increment" not in _places(tree, "Pool.increment").definitions.reasons(
        tree.id_of("net/pool.py")
    )


def test_all_files_that_are_pointed_at_are_named(tree: IndexedTree) -> None:
    """Of every kind."""
    places = _places(tree, "net/pool.py:3 in x; see net/cookies.py, net.errors and `Retry`")

    expected = ("net/pool.py", "net/cookies.py", "net/errors.py", "net/util/retry.py")
    assert {tree.id_of(path) for path in expected} <= places.file_ids()
