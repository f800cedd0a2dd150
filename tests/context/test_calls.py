"""One hop by what a symbol uses."""

from pathlib import Path

from qcn_agent.context.calls import MAX_DEFINERS, Caller, calls_of
from tests.context.conftest import POOL
from tests.fakes.indexed import IndexedTree, indexed

LINE = POOL.splitlines().index("            retries = retries.increment(method)") + 1


def _reasons(
    tree: IndexedTree, path: str, name: str, first: int, last: int, share: float = 1.0
) -> dict[str, list[str]]:
    evidence = calls_of(tree.reader, [Caller(tree.id_of(path), name, first, last, share)])
    paths = {file.file_id: file.path for file in tree.reader.files()}
    return {paths[file_id]: evidence.reasons(file_id) for file_id in evidence.file_ids()}


def test_what_a_function_calls_is_found(tree: IndexedTree) -> None:
    """In the file that defines it, with the caller named."""
    found = _reasons(tree, "net/pool.py", "urlopen", LINE - 4, LINE)

    assert "urlopen uses increment" in found["net/util/retry.py"]


def test_only_the_caller_s_lines_count(tree: IndexedTree) -> None:
    """What other functions of the file call is theirs."""
    assert _reasons(tree, "net/pool.py", "close", LINE + 1, LINE + 4) == {}


def test_a_name_of_the_caller_s_own_file_leads_nowhere(tmp_path: Path) -> None:
    """It is most likely the one that is meant."""
    files = {"a.py": "def f():\n    g()\n\n\ndef g(): pass\n", "b.py": "def g(): pass\n"}
    with indexed(tmp_path / "w", files) as built:
        assert _reasons(built, "a.py", "f", 1, 2) == {}


def test_a_name_that_many_files_define_says_nothing(tmp_path: Path) -> None:
    """Up to MAX_DEFINERS share what it says."""
    files = {f"f{number}.py": "def get(): pass\n" for number in range(MAX_DEFINERS)}
    with indexed(tmp_path / "w", {**files, "a.py": "def f():\n    get()\n"}) as built:
        evidence = calls_of(built.reader, [Caller(built.id_of("a.py"), "f", 1, 2, 0.5)])
        assert evidence.strongest(built.id_of("f0.py")) == 0.5 / MAX_DEFINERS

        built.write("one_more.py", "def get(): pass\n")
        assert _reasons(built, "a.py", "f", 1, 2) == {}


def test_no_callers_lead_nowhere(tree: IndexedTree) -> None:
    """Nor does a file that is gone."""
    assert not calls_of(tree.reader, []).file_ids()
    assert not calls_of(tree.reader, [Caller(10_000, "f", 1, 9, 1.0)]).file_ids()
