"""Git does what we ask, and nothing that a repository asks."""

from collections.abc import Callable
from pathlib import Path

import pytest

from qcn_agent.index.cochange import cochange_rows, commits_of, head_of
from qcn_agent.index.files import list_files, wanted
from qcn_agent.index.git import run_git
from tests.fakes.indexed import write_tree


def test_output_is_bytes(tmp_path: Path, git: Callable[..., str]) -> None:
    """As git wrote it."""
    git(tmp_path, "init", "-q", "-b", "trunk")

    assert run_git(tmp_path, "symbolic-ref", "HEAD", timeout_s=10) == b"refs/heads/trunk\n"


def test_failure_is_none(tmp_path: Path) -> None:
    """No repository, no git, no such folder."""
    assert run_git(tmp_path, "rev-parse", "HEAD", timeout_s=10) is None
    assert run_git(tmp_path / "gone", "status", timeout_s=10) is None


def test_no_git_on_the_path_is_a_walk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are found without it."""
    write_tree(tmp_path, {"a.py": "", "b.log": "", ".gitignore": "*.log\n"})
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))

    assert list(list_files(tmp_path)) == [".gitignore", "a.py"]


def test_a_git_inside_the_workspace_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even when PATH names it."""
    trap = tmp_path / "tree" / "bin" / "git"
    write_tree(tmp_path / "tree", {"bin/git": f"#!/bin/sh\ntouch {tmp_path}/ran\n"})
    trap.chmod(0o755)
    monkeypatch.setenv("PATH", f"{trap.parent}:.:/usr/bin:/bin")

    list_files(tmp_path / "tree")

    assert not (tmp_path / "ran").exists()


def test_nothing_in_a_hostile_configuration_runs(tmp_path: Path, git: Callable[..., str]) -> None:
    """Monitors, hooks, pagers, filters, text conversions, signature checks, transports, aliases."""
    root, ran = tmp_path / "tree", tmp_path / "ran"
    script = tmp_path / "trap.sh"
    script.write_text(f"#!/bin/sh\necho $0 $* >> {ran}\n")
    script.chmod(0o755)
    write_tree(root, {"a.py": "1", "b.py": "1", ".gitattributes": "* filter=trap diff=trap\n"})
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "x")
    for key in (
        "core.fsmonitor",
        "core.pager",
        "core.editor",
        "core.sshCommand",
        "pager.log",
        "pager.ls-files",
        "diff.external",
        "diff.trap.command",
        "diff.trap.textconv",
        "filter.trap.clean",
        "filter.trap.smudge",
        "filter.trap.process",
        "gpg.program",
        "credential.helper",
        "uploadpack.packObjectsHook",
    ):
        git(root, "config", key, str(script))
    git(root, "config", "log.showSignature", "true")
    git(root, "config", "alias.ls-files", f"!{script}")
    hooks = root / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("post-index-change", "fsmonitor-watchman", "pre-commit", "post-checkout"):
        (hooks / name).write_text(script.read_text())
        (hooks / name).chmod(0o755)
    write_tree(root, {"a.py": "2", "c.py": ""})
    ran.unlink(missing_ok=True)

    files = list(list_files(root))
    wanted(root, ["c.py"])
    head_of(root)
    list(commits_of(root))

    assert files == [".gitattributes", "a.py", "b.py", "c.py"]
    assert not ran.exists()


def commit(root: Path, git: Callable[..., str], *names: str) -> None:
    """A commit that changes these files."""
    for name in names:
        path = root / name
        path.write_text(path.read_text() + "x" if path.exists() else "x")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "change")


def test_files_that_change_together_are_neighbours(tmp_path: Path, git: Callable[..., str]) -> None:
    """Both ways; often and alone weighs more than once and in a crowd."""
    git(tmp_path, "init", "-q")
    for _ in range(3):
        commit(tmp_path, git, "a.py", "b.py")
    commit(tmp_path, git, "a.py", "c.py", "d.py")
    commit(tmp_path, git, "e.py")

    rows = cochange_rows(tmp_path, {"a.py": 1, "b.py": 2, "c.py": 3, "d.py": 4, "e.py": 5})

    assert [row[:2] for row in rows if row[0] == 1] == [(1, 2), (1, 3), (1, 4)]
    weights = {row[:2]: row[2] for row in rows}
    assert weights[1, 2] == weights[2, 1] > weights[1, 3]
    assert not [row for row in rows if 5 in row[:2]]


def test_a_large_commit_says_nothing(tmp_path: Path, git: Callable[..., str]) -> None:
    """Reformatting everything makes no neighbours."""
    git(tmp_path, "init", "-q")
    commit(tmp_path, git, *(f"f{number}.py" for number in range(31)))

    assert list(commits_of(tmp_path)) == []


def test_odd_names_survive_the_log(tmp_path: Path, git: Callable[..., str]) -> None:
    """Line breaks, quotes, other encodings."""
    git(tmp_path, "init", "-q")
    commit(tmp_path, git, "a\nb.py", 'q"uote.py', "ümlaut.py")

    assert list(commits_of(tmp_path)) == [frozenset({"a\nb.py", 'q"uote.py', "ümlaut.py"})]


def test_history_of_a_folder_is_relative_to_it(tmp_path: Path, git: Callable[..., str]) -> None:
    """Only what lies in the workspace counts."""
    git(tmp_path, "init", "-q")
    (tmp_path / "sub").mkdir()
    commit(tmp_path, git, "sub/a.py", "sub/b.py", "c.py")

    assert list(commits_of(tmp_path / "sub")) == [frozenset({"a.py", "b.py"})]


def test_without_history_there_are_no_neighbours(tmp_path: Path, git: Callable[..., str]) -> None:
    """No repository, or no commit yet."""
    assert (head_of(tmp_path), list(commits_of(tmp_path))) == ("", [])
    git(tmp_path, "init", "-q")
    assert (head_of(tmp_path), list(commits_of(tmp_path))) == ("", [])
