"""What one process has written another one reads, also after the first has been killed."""

import os
import signal
import subprocess
import sys

from qcn_agent.engine.call_record import CallRecord

MARKS = [f"{number:032x}" for number in range(1, 2000)]


def test_the_latest_writing_counts() -> None:
    """Nothing, several, fewer, none; and a second mapping sees the same."""
    record = CallRecord.create()
    other = CallRecord(os.dup(record.fd))
    assert record.read() == set()
    for marks in (MARKS[:3], MARKS[5:6], []):
        record.write(marks)
        assert record.read() == other.read() == set(marks)
    other.close()
    record.close()
    record.close()


def test_a_crowd_is_cut() -> None:
    """More than it can hold do not spill over."""
    record = CallRecord.create()
    record.write(iter(MARKS))
    assert record.read() == set(MARKS[:1023])
    record.close()


def test_it_outlives_its_writer() -> None:
    """A process writes and is killed at once."""
    record = CallRecord.create()
    code = (
        "import os, sys; from qcn_agent.engine.call_record import CallRecord\n"
        f"CallRecord(int(sys.argv[1])).write({MARKS[:2]!r}); os.kill(os.getpid(), {signal.SIGKILL.value})"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(record.fd)], pass_fds=[record.fd])
    assert ended.returncode == -signal.SIGKILL
    assert record.read() == set(MARKS[:2])
    record.close()
