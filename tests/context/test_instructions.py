"""AGENTS.md counts where the user says so, and nowhere else."""

from pathlib import Path

import pytest

from qcn_agent.context.instructions import MAX_BYTES, read_instructions


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A package inside a repository, each with an AGENTS.md; one above the repository, too."""
    folder = tmp_path / "repo" / "packages" / "one"
    folder.mkdir(parents=True)
    (tmp_path / "repo" / ".git").mkdir()
    (tmp_path / "AGENTS.md").write_text("from outside\n")
    (tmp_path / "repo" / "AGENTS.md").write_text("from the root")
    (folder / "AGENTS.md").write_text("from the package\n")
    return folder


def test_nothing_unless_trusted(workspace: Path, tmp_path: Path) -> None:
    """Trusting a neighbour, or a folder whose name begins alike, is not enough."""
    assert read_instructions(workspace, []) == []
    assert read_instructions(workspace, [tmp_path / "rep", workspace / "inner"]) == []


def test_from_the_root_of_the_repository_down(workspace: Path, tmp_path: Path) -> None:
    """The nearest one comes last; what is above the repository is not part of it."""
    found = read_instructions(workspace, [tmp_path])

    assert found == [("../../AGENTS.md", "from the root\n"), ("AGENTS.md", "from the package\n")]


def test_files_above_what_is_trusted_do_not_count(workspace: Path) -> None:
    """Who trusts a package has not spoken of the repository around it."""
    assert read_instructions(workspace, [workspace]) == [("AGENTS.md", "from the package\n")]


def test_there_is_a_limit_for_all_of_them(workspace: Path, tmp_path: Path) -> None:
    """The text that goes over it is cut after a line."""
    (tmp_path / "repo" / "AGENTS.md").write_text("é\n" * 6000)
    (workspace / "AGENTS.md").write_text("line\n" * 10_000)

    found = read_instructions(workspace, [tmp_path])

    assert sum(len(text.encode()) for _path, text in found) in range(MAX_BYTES - 5, MAX_BYTES + 1)
    assert all(text.endswith("\n") for _path, text in found)


def test_links_are_not_followed(workspace: Path, tmp_path: Path) -> None:
    """An AGENTS.md that is a link to a key would tell it to the model."""
    (workspace / "AGENTS.md").unlink()
    (workspace / "AGENTS.md").symlink_to(tmp_path / "AGENTS.md")

    assert [path for path, _text in read_instructions(workspace, [tmp_path])] == ["../../AGENTS.md"]
