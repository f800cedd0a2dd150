"""The engine's process ends with its parent, whatever becomes of that."""

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from qcn_agent.engine.call_record import CallRecord
from qcn_agent.engine.isolated_engine import ENGINE_PROCESS

PARENT = """
import os, signal, sys
from pathlib import Path
from qcn_agent.config import ModelConfig
from qcn_agent.engine.isolated_engine import IsolatedEngine
engine = IsolatedEngine.load(ModelConfig(n_ctx=512), Path(sys.argv[1]))
pid = engine.status().engine_pid
assert os.getsid(pid) == os.getpgid(pid) == pid
print(pid, flush=True)
if sys.argv[2] == "stop":
    os.kill(pid, signal.SIGSTOP)
sys.stdin.read()
"""


@pytest.fixture
def record() -> Iterator[CallRecord]:
    """An empty record."""
    record = CallRecord.create()
    yield record
    record.close()


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="Linux only")
@pytest.mark.parametrize("child", ["run", "stop"])
@pytest.mark.parametrize("end", ["kill", "exit"])
def test_no_orphan_is_left(model_path: Path, child: str, end: str) -> None:
    """The parent is killed, or exits without closing; the child is gone then, in a session of its own or stopped."""
    command = [sys.executable, "-c", PARENT, str(model_path), child]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        pidfd = os.pidfd_open(int(parent.stdout.readline()))
        if end == "kill":
            parent.kill()
        else:
            parent.stdin.close()
        assert parent.wait(30) == (-signal.SIGKILL if end == "kill" else 0)
    readable, _, _ = select.select([pidfd], [], [], 30)  # readable when the process is gone
    os.close(pidfd)
    assert readable == [pidfd]


def test_a_closed_connection_ends_it(record: CallRecord) -> None:
    """Where no signal comes, the end of the stream does."""
    ours, theirs = socket.socketpair()
    fds = (theirs.fileno(), record.fd)
    command = [sys.executable, "-P", "-m", ENGINE_PROCESS, *map(str, fds), str(os.getpid())]
    with subprocess.Popen(command, pass_fds=fds) as process:
        theirs.close()
        ours.close()
        assert process.wait(30) == 1


def test_it_does_not_start_for_a_parent_that_is_gone(record: CallRecord) -> None:
    """The parent died before the child could ask to be ended with it."""
    ours, theirs = socket.socketpair()
    fds = (theirs.fileno(), record.fd)
    command = [sys.executable, "-P", "-m", ENGINE_PROCESS, *map(str, fds), str(os.getpid() + 1)]
    with ours, theirs, subprocess.Popen(command, pass_fds=fds) as process:
        assert process.wait(30) == 1
