"""Children end, gently or not."""

import os
import subprocess
import sys

import pytest

from qcn_agent.benchmark.arms import end, resident_mib

READS = "import sys; sys.stdin.read()"
IGNORES = "import time; time.sleep(600)"


def child(code: str) -> "subprocess.Popen[str]":
    """A process with pipes."""
    argv = [sys.executable, "-c", code]
    return subprocess.Popen(argv, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def test_gentle_end_lets_it_finish() -> None:
    """Closing its input is enough; doing it twice does no harm."""
    process = child(READS)
    end(process, gently=True)
    end(process, gently=True)
    assert process.returncode == 0


@pytest.mark.parametrize("code", [READS, IGNORES])
def test_hard_end_does_not_wait(code: str) -> None:
    """Whatever it does."""
    process = child(code)
    end(process, gently=False)
    assert process.returncode == -9


def test_no_process_is_no_problem() -> None:
    """Before the start."""
    end(None, gently=True)


def test_resident_memory() -> None:
    """This process has some; one that has ended has none."""
    process = child(READS)
    end(process, gently=False)
    assert resident_mib(os.getpid()) > 5
    assert resident_mib(process.pid) == 0
