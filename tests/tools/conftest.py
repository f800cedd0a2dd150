"""Workspaces, repositories and runners, all real."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from qcn_tools import sandbox
from qcn_tools.environment import allowed_env
from qcn_tools.process import CommandRunner
from qcn_tools.workspace import AtomicWriter, Workspace

Make = Callable[[Mapping[str, str]], Workspace]
Git = Callable[..., str]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty directory that is the workspace's root."""
    path = tmp_path / "project"
    path.mkdir()
    return path


@pytest.fixture
def make(root: Path) -> Make:
    """Fills the workspace with files, given as {relative path: text}."""

    def fill(files: Mapping[str, str]) -> Workspace:
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="")
        return Workspace(root)

    return fill


@pytest.fixture
def workspace(root: Path) -> Workspace:
    """The workspace at `root`."""
    return Workspace(root)


@pytest.fixture
def writer(root: Path) -> AtomicWriter:
    """The plain writer of the workspace."""
    return AtomicWriter(root)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A file beside the workspace that nobody may reach."""
    path = tmp_path / "outside.txt"
    path.write_text("secret")
    return path


@pytest.fixture
def git(root: Path) -> Git:
    """Runs git in the workspace, with nobody's configuration."""
    env = {"PATH": os.environ["PATH"], "HOME": str(root), "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}
    author = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main")

    def run(*arguments: str) -> str:
        done = subprocess.run(("git", *author, *arguments), cwd=root, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def jail_required() -> None:
    """Skips where the kernel can't confine commands."""
    support = sandbox.probe()
    if not support.available:
        pytest.skip(support.reason)


@pytest.fixture
def runner(jail_required: None, tmp_path: Path) -> CommandRunner:
    """A confining runner that hides `tmp_path/state`."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "token").write_text("the token")
    return CommandRunner(hidden=[tmp_path / "state"])


@pytest.fixture
def env() -> dict[str, str]:
    """The environment of a client that works in this very environment."""
    prefix = Path(sys.prefix)
    return allowed_env(
        {"PATH": f"{prefix / 'bin'}{os.pathsep}{os.environ['PATH']}", "HOME": os.environ.get("HOME", "/")}
    )
