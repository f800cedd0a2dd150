"""A trace file in Chrome's format, for Perfetto (ui.perfetto.dev) or chrome://tracing.

The file is a JSON array without its closing bracket, one event a line, so it can be read at any time, after a kill,
too. Whoever has something to say appends a tuple to a queue; a thread of its own makes JSON of it.
"""

import json
import logging
import os
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from qcn_agent.errors import UsageError

logger = logging.getLogger(__name__)

MAX_BYTES = 200_000_000
_FLUSH_S = 0.25
_MAX_QUEUED = 1_000_000  # the oldest are lost when the disk is slower than that
_NOTE = {"name": "the trace ends here: it has reached its greatest size", "ph": "i", "s": "g"}

Args = Mapping[str, Any]
Counters = Callable[[], Mapping[str, float]]
_Span = tuple[int, str, float, float, Args]


def begin(path: Path) -> None:
    """Make `path` an empty file that only its owner can read. Raises UsageError when that is not possible."""
    descriptor = _open(path)
    try:
        os.ftruncate(descriptor, 0)
        os.fchmod(descriptor, 0o600)
    except OSError as error:
        raise _refused(path, error.strerror) from error
    finally:
        os.close(descriptor)


class TraceFile:
    """Appends to `path`, which is empty or holds a trace, up to `max_bytes`. `span` may be called from any thread.

    Times are those of `time.perf_counter`, in seconds. Raises UsageError when the file can't be opened.
    """

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES, flush_s: float = _FLUSH_S) -> None:
        self._max_bytes = max_bytes
        self._flush_s = flush_s
        self._queue: deque[_Span] = deque(maxlen=_MAX_QUEUED)
        self._tracks: dict[int, str] = {0: "engine"}  # whose names are still to be written
        self._counters: Counters = dict
        self._latest: Mapping[str, float] = {}
        self._stop = threading.Event()
        self._descriptor = _open(path)
        self._num_bytes = os.fstat(self._descriptor).st_size
        self._thread = threading.Thread(target=self._loop, name="qcn-trace", daemon=True)
        self._thread.start()

    def span(self, track: int, name: str, begin: float, end: float, args: Args) -> None:
        """Something lasted from `begin` to `end`. Track 0 is the engine's, the others are named by `name_track`."""
        self._queue.append((track, name, begin, end, args))

    def name_track(self, track: int, name: str) -> None:
        """Call before the first span on a track."""
        self._tracks[track] = name

    def watch(self, counters: Counters) -> None:
        """From now on write `counters`, callable from any thread, whenever they have changed."""
        self._counters = counters

    def close(self) -> None:
        """Write what is queued."""
        if not self._stop.is_set():
            self._stop.set()
            self._thread.join()
            os.close(self._descriptor)

    def _loop(self) -> None:
        try:
            while not self._stop.wait(self._flush_s):
                self._flush()
            self._flush()
        except OSError as error:
            logger.warning("the trace ends early: %s", error)
            self._max_bytes = 0

    def _flush(self) -> None:
        spans = [self._queue.popleft() for _ in range(len(self._queue))]
        events = [*self._new_tracks(), *(_span_event(span) for span in spans), *self._changed_counters()]
        if self._num_bytes < self._max_bytes and events:
            self._write(events)

    def _new_tracks(self) -> list[dict[str, Any]]:
        names = [(track, self._tracks.pop(track)) for track in list(self._tracks)]
        return [{"name": "thread_name", "ph": "M", "tid": track, "args": {"name": name}} for track, name in names]

    def _changed_counters(self) -> list[dict[str, Any]]:
        found, before = self._counters(), self._latest
        self._latest = found
        now = _us(time.perf_counter())
        changed = [(name, value) for name, value in found.items() if before.get(name) != value]
        return [{"name": name, "ph": "C", "ts": now, "tid": 0, "args": {"value": value}} for name, value in changed]

    def _write(self, events: Iterable[dict[str, Any]]) -> None:
        """In one call, so that a kill leaves whole lines."""
        lines = [json.dumps({**event, "pid": os.getpid()}) for event in events]
        kept, size = list[str](), self._num_bytes
        for line in lines:
            size += len(line) + 2
            if size > self._max_bytes:
                kept.append(json.dumps({**_NOTE, "ts": _us(time.perf_counter()), "tid": 0, "pid": os.getpid()}))
                logger.warning("the trace has reached %d bytes and ends", self._max_bytes)
                self._max_bytes = 0
                break
            kept.append(line)
        text = (",\n" if self._num_bytes else "[\n") + ",\n".join(kept)
        data = memoryview(text.encode())
        self._num_bytes += len(data)
        while data:
            data = data[os.write(self._descriptor, data) :]


def _open(path: Path) -> int:
    """Open for appending. A plain file only: nobody waits for a pipe's reader, or changes the mode of /dev/null."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        raise _refused(path, error.strerror) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _refused(path, "it is no plain file")
    return descriptor


def _refused(path: Path, reason: str | None) -> UsageError:
    return UsageError(f"can't write a trace to {path}: {reason}", hint="name another file")


def read(path: Path) -> list[dict[str, Any]]:
    """The events of a trace file; a last line cut short is left out."""
    events = []
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        try:
            events.append(json.loads(line.removesuffix(",")))
        except ValueError:
            break
    return events


def _span_event(span: _Span) -> dict[str, Any]:
    track, name, begin, end, args = span
    times = {"ts": _us(begin), "dur": _us(end - begin)}
    return {"name": name, "ph": "X", **times, "tid": track, "args": args}


def _us(seconds: float) -> float:
    return round(1e6 * seconds, 1)
