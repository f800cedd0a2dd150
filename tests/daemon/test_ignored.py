"""What version control or `.qcnignore` ignores is not shown to a model."""

from collections.abc import Callable
from pathlib import Path

import pytest

from qcn_agent.daemon.ignored import Ignored
from qcn_agent.index.files import is_left_out


@pytest.fixture
def repository(tmp_path: Path, git: Callable[..., str]) -> Path:
    """With rules at the root and in a folder."""
    git(tmp_path, "init", "-q")
    (tmp_path / ".gitignore").write_text("*.secret\nbuild/\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / ".gitignore").write_text("local.py\n")
    return tmp_path


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.py", False),
        ("x.secret", True),
        ("build/deep/a.py", True),
        ("sub/local.py", True),
        ("local.py", False),
        ("new/not/there.py", False),
        ("sub/-q", False),
        ("name with spaces\n.py", False),
    ],
)
def test_git_is_asked(repository: Path, path: str, expected: bool) -> None:
    """Its rules in every folder count, also for files that don't exist yet."""
    assert is_left_out(repository, path) is expected


@pytest.mark.parametrize("name", [".qcnignore", ".gitignore"])
def test_without_git_the_rules_at_the_root_count(tmp_path: Path, name: str) -> None:
    """A folder that is ignored takes all in it along."""
    (tmp_path / name).write_text("private/\n*.key\n")
    ignored = {path: is_left_out(tmp_path, path) for path in ("private/a/b.py", "x.key", "a.py")}
    assert ignored == {"private/a/b.py": True, "x.key": True, "a.py": False}


async def test_what_is_not_known_counts_as_ignored(tmp_path: Path) -> None:
    """Until it was found out; rules that change are learnt with the next save."""
    ignored = Ignored(tmp_path)
    assert ignored("a.py")
    assert not ignored.knows("a.py")
    await ignored.learn("a.py")
    assert not ignored("a.py")
    (tmp_path / ".qcnignore").write_text("a.py\n")
    await ignored.learn("a.py")
    assert ignored("a.py")
