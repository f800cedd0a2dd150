"""Which folder is taken for the project."""

from pathlib import Path

import pytest

from qcn_agent.cli.project import MARKS, find_project, given_project
from qcn_agent.errors import UsageError


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository with a package two folders down."""
    root = tmp_path / "repository"
    (root / ".git").mkdir(parents=True)
    (root / "services" / "api" / "src").mkdir(parents=True)
    return root


@pytest.mark.parametrize("mark", MARKS)
def test_nearest_marked_folder(repository: Path, mark: str) -> None:
    """Of several marked folders the nearest is taken, from below and from itself; only from below it is said."""
    (repository / mark).touch()
    (repository / "services" / "api" / mark).touch()

    below = find_project(repository / "services" / "api" / "src")
    itself = find_project(repository / "services" / "api")

    assert below.root == itself.root == repository / "services" / "api"
    assert f"it holds {mark}" in below.why
    assert itself.why == ""


@pytest.mark.parametrize("is_file", [False, True])
def test_root_of_the_repository(repository: Path, is_file: bool) -> None:
    """Without a mark it is the repository, also a worktree's; marks above it don't count."""
    (repository.parent / "setup.py").touch()
    if is_file:
        (repository / ".git").rmdir()
        (repository / ".git").write_text("gitdir: elsewhere")

    found = find_project(repository / "services")

    assert found.root == repository
    assert str(repository) in found.why
    assert "git" in found.why


def test_folder_itself(tmp_path: Path) -> None:
    """Where nothing says more, the current folder is the project, without a word."""
    assert find_project(tmp_path) == given_project(str(tmp_path))
    assert find_project(tmp_path).root == tmp_path


@pytest.mark.parametrize("where", ["home", "shared"])
def test_home_and_shared_folders_are_no_projects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """A stray setup.cfg in the home folder, or one that somebody put into /tmp, does not widen the workspace."""
    place = tmp_path / where
    (place / "scratch").mkdir(parents=True)
    (place / "setup.cfg").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    if where == "shared":
        place.chmod(0o1777)

    assert find_project(place / "scratch").root == place / "scratch"
    assert find_project(place).root == place


def test_given_folder_is_taken_exactly(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--workspace looks no further; without it the current folder counts."""
    monkeypatch.chdir(repository / "services")

    assert given_project(".").root == repository / "services"
    assert given_project("api").root == repository / "services" / "api"
    assert given_project(None).root == repository


@pytest.mark.parametrize("text", ["", "  ", "no/such/folder", "file", "~nobody-of-this-name/x", "a\0b"])
def test_wrong_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Each is a usage error that says what to do."""
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)

    with pytest.raises(UsageError, match="--workspace") as caught:
        given_project(text)
    assert "project's folder" in caught.value.hint


def test_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal may still be in a folder that was removed."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()

    with pytest.raises(UsageError, match="is gone"):
        given_project(None)
