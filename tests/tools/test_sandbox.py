"""The daemon's side of the jail."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from qcn_tools import jail, sandbox
from qcn_tools.workspace import Workspace

Make = Callable[[Mapping[str, str]], Workspace]


def test_probe_names_a_reason_when_there_is_no_jail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other systems and kernels without Landlock or seccomp are refused, each with its own reason."""
    monkeypatch.setattr(jail, "landlock_abi", lambda: 0)
    assert "Landlock" in sandbox.probe().reason
    monkeypatch.setattr(jail, "landlock_abi", lambda: 7)
    monkeypatch.setattr(jail, "seccomp_supported", lambda: False)
    assert "seccomp" in sandbox.probe().reason
    for platform, word in (("darwin", "macOS"), ("win32", "WSL2")):
        monkeypatch.setattr(sys, "platform", platform)
        support = sandbox.probe()
        assert (support.available, word in support.reason) == (False, True)


def test_probe_warns_of_old_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ABI without signal scoping is used, and what is missing is said."""
    monkeypatch.setattr(jail, "landlock_abi", lambda: 3)
    monkeypatch.setattr(jail, "seccomp_supported", lambda: True)
    support = sandbox.probe()
    assert support.available
    assert "signals" in support.reason


def test_protected_paths(make: Make) -> None:
    """Every `.git`, file or directory, is protected at any depth, and so are our own settings."""
    files = {".git/config": "", "sub/deep/.git": "gitdir: x", "qcn-agent.toml": "", "src/a.py": ""}
    workspace = make({**files, "node_modules/x/.git/config": ""})
    found = {workspace.relative(path) for path in sandbox.protected_paths(workspace.root)}
    assert found == {".git", "sub/deep/.git", "qcn-agent.toml"}


def test_protected_paths_follow_no_links(make: Make, tmp_path: Path) -> None:
    """Links are not searched, so a loop does no harm, but a `.git` that is a link is protected itself."""
    workspace = make({"a/b.py": ""})
    (workspace.root / "a" / "loop").symlink_to("..")
    (workspace.root / ".git").symlink_to(tmp_path)
    assert sandbox.protected_paths(workspace.root) == (workspace.root / ".git",)


def test_jailed_argv_resolves_links(tmp_path: Path) -> None:
    """Rules are made for real directories, so links in the given paths are resolved first."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    argv = sandbox.jailed_argv(
        ["true", "-x"],
        cwd=tmp_path,
        env={"A": "b=c"},
        write=[tmp_path / "link"],
        protect=[tmp_path / "link"],
        hide=[tmp_path / "h"],
    )
    real, link = str(tmp_path / "real"), str(tmp_path / "link")
    pairs = list(zip(argv[4:-3:2], argv[5:-3:2], strict=True))
    assert sorted(pairs) == [
        ("--cwd", str(tmp_path)),
        ("--env", "A=b=c"),
        ("--hide", str(tmp_path / "h")),
        ("--protect", link),
        ("--protect", real),
        ("--write", real),
    ]
    assert argv[-3:] == ("--", "true", "-x")


def test_launcher_env(monkeypatch: pytest.MonkeyPatch) -> None:
    """The launcher gets no variable but the absolute places of libraries, so nothing relative decides what it loads."""
    monkeypatch.setenv("LD_LIBRARY_PATH", ":lib:/opt/x;.;")
    assert sandbox.launcher_env() == {"LD_LIBRARY_PATH": "/opt/x"}
    monkeypatch.setenv("LD_LIBRARY_PATH", ".")
    assert sandbox.launcher_env() == {}


def test_environments_are_protected(make: Make, tmp_path: Path) -> None:
    """Environments by their usual names, and the active one by any name, but never the whole workspace."""
    files = {".venv/bin/python": "", "part/venv/pyvenv.cfg": "", "src/venv/__init__.py": "", "env/bin/python": ""}
    workspace = make(files)

    def protected(active: Path) -> set[str]:
        found = sandbox.protected_paths(workspace.root, {"VIRTUAL_ENV": str(active), "CONDA_PREFIX": ""})
        return {workspace.relative(path) for path in found}

    assert protected(workspace.root / "env") == {".venv", "part/venv", "env"}
    for elsewhere in (tmp_path, workspace.root, workspace.root / "none"):
        assert protected(elsewhere) == {".venv", "part/venv"}
