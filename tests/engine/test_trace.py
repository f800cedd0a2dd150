"""The trace file: readable at any time, by its owner alone, and never larger than it may be."""

import json
import logging
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qcn_agent.engine import trace
from qcn_agent.engine.trace import TraceFile
from qcn_agent.errors import UsageError


def strict(path: Path) -> list[dict[str, Any]]:
    """The events, by a JSON parser that needs the bracket which the format leaves out."""
    events: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8") + "]")
    return events


def test_spans_counters_and_tracks_are_events(tmp_path: Path) -> None:
    """In microseconds, with their arguments; a counter is written when it changes; tracks have names."""
    path = tmp_path / "trace.json"
    file = TraceFile(path)
    file.watch(lambda: {"device states": 3})
    file.name_track(7, "completion 7: s")
    file.span(7, "queue", 1.0, 1.5, {"steps_waited": 2})
    file.close()
    events = strict(path)
    spans = [event for event in events if event["ph"] == "X"]
    assert [(s["name"], s["ts"], s["dur"], s["tid"]) for s in spans] == [("queue", 1e6, 5e5, 7)]
    assert spans[0]["args"] == {"steps_waited": 2}
    assert {event["args"]["name"] for event in events if event["ph"] == "M"} == {"engine", "completion 7: s"}
    assert [event["args"]["value"] for event in events if event["ph"] == "C"] == [3]
    assert {event["pid"] for event in events} == {os.getpid()}
    assert trace.read(path) == events


def test_a_file_is_begun_anew_and_is_private(tmp_path: Path) -> None:
    """Whatever it was before; two writers after each other share it."""
    path = tmp_path / "trace.json"
    path.write_text("old")
    path.chmod(0o644)
    trace.begin(path)
    assert (path.stat().st_size, stat.S_IMODE(path.stat().st_mode)) == (0, 0o600)
    for number in range(2):
        file = TraceFile(path)
        file.span(0, f"span {number}", 0.0, 1.0, {})
        file.close()
        file.close()  # harmless
    assert [event["name"] for event in strict(path) if event["ph"] == "X"] == ["span 0", "span 1"]


def test_a_file_that_can_t_be_written_is_said(tmp_path: Path) -> None:
    """At the start, not in the middle."""
    for start in (trace.begin, TraceFile):
        with pytest.raises(UsageError, match="can't write a trace"):
            start(tmp_path / "no" / "trace.json")


def test_only_a_plain_file_is_taken(tmp_path: Path) -> None:
    """A device keeps its mode, which for root would change it for everybody; a pipe is not waited for."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o644)
    for path in (Path(os.devnull), pipe):
        mode = path.stat().st_mode
        for start in (trace.begin, TraceFile):
            with pytest.raises(UsageError, match="can't write a trace"):
                start(path)
        assert path.stat().st_mode == mode


def test_it_stops_at_its_greatest_size_with_a_note(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing follows the note, and the file is still whole."""
    path = tmp_path / "trace.json"
    file = TraceFile(path, max_bytes=5000)
    with caplog.at_level(logging.WARNING):
        for number in range(1000):
            file.span(0, f"span {number}", 0.0, 1.0, {})
        file.close()
    events = strict(path)
    assert path.stat().st_size < 5300
    assert 30 < len(events) < 100
    assert "greatest size" in events[-1]["name"]
    assert "ends" in caplog.text


def test_after_a_kill_it_can_be_read(tmp_path: Path, wait_for: Callable[[Callable[[], bool]], None]) -> None:
    """The writer dies in the middle of its work; what it had flushed is whole."""
    path = tmp_path / "trace.json"
    code = (
        "import itertools, sys\nfrom pathlib import Path\nfrom qcn_agent.engine.trace import TraceFile\n"
        "file = TraceFile(Path(sys.argv[1]), flush_s=0.001)\n"
        "for number in itertools.count():\n    file.span(0, f'span {number}', number, number + 1, {})\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(path)])
    try:
        wait_for(lambda: path.exists() and path.stat().st_size > 20_000)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    names = [event["name"] for event in strict(path) if event["ph"] == "X"]
    assert len(names) > 100
    assert names == [f"span {number}" for number in range(len(names))]


def test_a_line_cut_short_is_left_out(tmp_path: Path) -> None:
    """Where the disk was full, say."""
    path = tmp_path / "trace.json"
    path.write_text('[\n{"name": "a"},\n{"na')
    assert trace.read(path) == [{"name": "a"}]


@pytest.fixture
def wait_for() -> Callable[[Callable[[], bool]], None]:
    """`wait_for(condition)`: polls, for a minute at most."""

    def wait(condition: Callable[[], bool]) -> None:
        end = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.01)

    return wait
