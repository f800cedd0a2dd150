"""What has uncommitted changes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from qcn_agent.context.committed import changes_since_commit

Git = Callable[..., str]


@pytest.fixture
def repository(tmp_path: Path, git: Git) -> Path:
    """One committed file in the root, one in a folder."""
    root = tmp_path / "repo"
    (root / "pkg").mkdir(parents=True)
    (root / "a.py").write_bytes(b"a = 1\n")
    (root / "pkg" / "b c.py").write_bytes(b"b = 1\n")
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "one")
    return root


def test_other_contents_than_the_commit_and_new_files_are_changes(repository: Path) -> None:
    """Staged or not, only contents count."""
    is_changed = changes_since_commit(repository)

    assert not is_changed("a.py", b"a = 1\n")
    assert is_changed("a.py", b"a = 2\n")
    assert is_changed("new.py", b"")
    assert not is_changed("pkg/b c.py", b"b = 1\n")


def test_paths_are_those_of_the_workspace(repository: Path) -> None:
    """A workspace may be a folder of the repository."""
    is_changed = changes_since_commit(repository / "pkg")

    assert not is_changed("b c.py", b"b = 1\n")


def test_a_submodule_is_compared_with_its_own_commit(repository: Path, tmp_path: Path, git: Git) -> None:
    """Its files are not in the outer tree; one that is not there has none."""
    outer = tmp_path / "outer"
    outer.mkdir()
    git(outer, "init", "-q")
    git(outer, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(repository), "lib/sub")
    git(outer, "commit", "-qm", "two")
    is_changed = changes_since_commit(outer)

    assert not is_changed("lib/sub/a.py", b"a = 1\n")
    assert is_changed("lib/sub/a.py", b"a = 2\n")
    assert not is_changed("lib/sub/pkg/b c.py", b"b = 1\n")
    assert is_changed("lib/other.py", b"")


def test_without_a_commit_nothing_counts_as_changed(tmp_path: Path, git: Git) -> None:
    """Nor where there is no repository."""
    assert not changes_since_commit(tmp_path)("a.py", b"x")
    git(tmp_path, "init", "-q")
    assert not changes_since_commit(tmp_path)("a.py", b"x")


def test_no_filter_of_the_repository_runs(repository: Path, git: Git, tmp_path: Path) -> None:
    """`git status` would clean the file with whatever its configuration names."""
    (repository / ".gitattributes").write_text("*.py filter=evil\n")
    git(repository, "config", "filter.evil.clean", f"touch {tmp_path}/ran; cat")
    (repository / "a.py").write_bytes(b"a = 3\n")

    assert changes_since_commit(repository)("a.py", b"a = 3\n")
    assert not (tmp_path / "ran").exists()
