"""`serve`: what a daemon is started with reaches it."""

import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from qcn_agent.daemon import endpoint
from qcn_agent.engine import trace

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def qcn() -> Iterator[Run]:
    """Run the installed command; a daemon that it started is stopped at the end."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).parent / "qcn-agent"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    yield run
    if endpoint.is_locked():
        run("stop")


def test_a_trace_is_written_from_the_first_load_on(qcn: Run, tmp_path: Path) -> None:
    """In a private file that replaces the one before; a daemon that runs already can't begin one."""
    path = tmp_path / "trace.json"
    path.write_text("something old")
    started = qcn("serve", "--trace", str(path))
    again = qcn("serve", "--trace", str(tmp_path / "other.json"))
    stopped = qcn("stop")
    assert (started.returncode, again.returncode, stopped.returncode) == (0, 2, 0), started.stderr
    assert "can't begin a trace" in again.stderr
    assert not (tmp_path / "other.json").exists()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {"engine"} == {event["args"]["name"] for event in trace.read(path) if event["ph"] == "M"}


def test_a_trace_that_can_t_be_written_ends_the_start(qcn: Run, tmp_path: Path) -> None:
    """Not silently without one."""
    result = qcn("serve", "--foreground", "--trace", str(tmp_path / "no" / "trace.json"))
    assert result.returncode == 2
    assert "can't write a trace" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_signal_ends_the_daemon_in_order(number: signal.Signals) -> None:
    """Also that of a terminal that is closed: what is kept is saved, and nothing is left for clients to find."""
    process = subprocess.Popen([sys.executable, "-m", "qcn_agent", "serve", "--foreground"])
    try:
        end = time.monotonic() + 30
        while endpoint.find() is None:
            assert time.monotonic() < end
            time.sleep(0.02)
        process.send_signal(number)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    assert endpoint.find() is None
    assert not endpoint.socket_path().exists()
