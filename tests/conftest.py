"""Fixtures for all rooms: a private home, small projects, the environment a client would send."""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from qcn_agent.daemon import endpoint
from tests.fakes.daemon import RunningDaemon
from tests.fakes.scripted import ScriptedGenerator

CALC = '''"""Small helpers."""


def clamp(value, low, high):
    """Limit value to the range from low to high."""
    return max(low, value)


def double(value):
    """Twice the value."""
    return value * 2
'''
TEST_CALC = """from calc import clamp, double


def test_clamp():
    assert clamp(5, 0, 3) == 3


def test_double():
    assert double(2) == 4
"""
RIGHT, WRONG = "return max(low, min(value, high))", "return max(low, value)"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Everything that the program keeps goes into this test's own folder."""
    folder = tmp_path / "home"
    monkeypatch.setenv("QCN_AGENT_HOME", str(folder))
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with one red test (clamp) and one green one (double); not a git repository."""
    root = tmp_path / "project"
    (root / "tests").mkdir(parents=True)
    (root / "calc.py").write_text(CALC)
    (root / "conftest.py").write_text("")
    (root / "tests" / "test_calc.py").write_text(TEST_CALC)
    return root


@pytest.fixture
def client_env() -> Mapping[str, str]:
    """What a client's shell has: the interpreter that runs these tests comes first on PATH."""
    return {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": os.environ.get("HOME", "/")}


@pytest.fixture
def tree() -> Callable[[Path], dict[str, tuple[bytes, int]]]:
    """A picture of a folder: path → (bytes, mode)."""

    def take(root: Path) -> dict[str, tuple[bytes, int]]:
        files = (path for path in sorted(root.rglob("*")) if path.is_file())
        return {str(path.relative_to(root)): (path.read_bytes(), path.stat().st_mode) for path in files}

    return take


@pytest.fixture
def git() -> Callable[..., str]:
    """Run git in a folder, with an identity of its own."""

    def run(folder: Path, *arguments: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
        command = ["git", "-C", str(folder), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    return run


@pytest.fixture
def daemon() -> Iterator[Callable[..., RunningDaemon]]:
    """Starts daemons with scripted turns; all are stopped at the end."""
    with contextlib.ExitStack() as stack:
        lock = endpoint.take_lock()
        assert lock is not None
        stack.enter_context(lock)

        def start(*turns: str, gate: asyncio.Event | None = None) -> RunningDaemon:
            return stack.enter_context(RunningDaemon(ScriptedGenerator(turns, gate=gate)))

        yield start
