"""The wheel, alone, in environments of its own: client, daemon and project each have a different interpreter."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
DEPENDENCIES = sysconfig.get_paths()["purelib"]
DEPENDENT = '''"""Uses a dependency that only the project's own environment has."""

from only_here import LIMIT


def clamp(value, low, high):
    """Limit value to the range from low to high."""
    return max(low, value)
'''
TESTS = """import sys

from only_here import LIMIT
from scale import clamp


def test_own_environment():
    assert LIMIT == 3
    assert "project-venv" in sys.prefix


def test_clamp():
    assert clamp(5, 0, LIMIT) == 3
"""


def make_venv(folder: Path) -> Path:
    """An environment without pip that finds our dependencies' files, but not our checkout."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    site = next((folder / "lib").glob("python*")) / "site-packages"
    (site / "dependencies.pth").write_text(
        DEPENDENCIES + "\n"
    )  # a .pth inside it, such as our editable one, is not read
    return site


def install(wheel: Path, folder: Path) -> None:
    """Install the wheel alone."""
    options = ["--no-deps", "--no-index", "--quiet", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", *options, str(wheel)]
    subprocess.run(command, check=True)


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """The wheel of this checkout."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return next((tmp_path / "dist").glob("*.whl"))


def test_client_daemon_and_project_each_have_their_own_environment(wheel: Path, tmp_path: Path) -> None:
    """The project's tests run in the project's environment, whatever the daemon and the client run in."""
    for name in ("client", "server"):
        make_venv(tmp_path / name)
        install(wheel, tmp_path / name)
    project = tmp_path / "elsewhere"
    (project / "tests").mkdir(parents=True)
    (project / "scale.py").write_text(DEPENDENT)
    (project / "conftest.py").write_text("")
    (project / "tests" / "test_scale.py").write_text(TESTS)
    site = make_venv(tmp_path / "project-venv")
    (site / "only_here.py").write_text("LIMIT = 3\n")
    env = {**os.environ, "PATH": "/usr/bin:/bin", "VIRTUAL_ENV": str(tmp_path / "project-venv")}

    def run(environment: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(tmp_path / environment / "bin" / "qcn-agent"), *arguments]
        return subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, timeout=240, check=False)

    try:
        assert "serves" in run("server", "serve").stdout
        result = run("client", "fix", "clamp in scale.py ignores its upper bound", "--json")
        log = (Path(env["QCN_AGENT_HOME"]) / "state" / "daemon.log").read_text()
    finally:
        run("server", "stop")

    events = [json.loads(line) for line in result.stderr.splitlines()]
    baseline = next(event["data"] for event in events if event["kind"] == "tests")
    assert (baseline["num_passed"], baseline["num_failed"]) == (1, 1)
    assert str(ROOT) not in log.replace(DEPENDENCIES, "")
    assert json.loads(result.stdout)["exit_code"] == result.returncode in (0, 1, 3, 4)
