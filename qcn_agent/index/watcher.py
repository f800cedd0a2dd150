"""Tells which files change: by the system's notifications, or not at all, which is said."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

from qcn_agent.index.ignore import NEVER, QCNIGNORE, RARELY

DEBOUNCE_S = 0.01
MAX_DELAY_S = 0.5
MAX_PATHS = 500  # more at once is a branch switch: a scan is cheaper

_EVENTS: list[type[FileSystemEvent]] = [
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
]

OnChange = Callable[[frozenset[str] | None], None]


class Watcher(FileSystemEventHandler):
    """Calls `on_change` with the paths that changed, relative to the workspace, or with None when all may have.

    Calls come from a thread, DEBOUNCE_S after the last event of a burst, MAX_DELAY_S after its first at the latest.
    """

    def __init__(self, workspace: Path, on_change: OnChange) -> None:
        self._workspace, self._on_change = os.fspath(workspace), on_change
        self._paths: set[str] = set()
        self._is_all = False
        self._burst: tuple[float, float] | None = None
        self._changed = threading.Condition()
        self._is_closed = False
        self._observer = Observer()
        self._thread = threading.Thread(target=self._deliver, name="index-debounce", daemon=True)

    def start(self) -> bool:
        """Begin; False where the system has no (more) notifications to give, and then nothing will be told."""
        try:
            self._observer.schedule(self, self._workspace, recursive=True, event_filter=_EVENTS)
            self._observer.start()
        except (OSError, RuntimeError):
            self._observer.unschedule_all()
            return False
        self._thread.start()
        return True

    def close(self) -> None:
        """Stop telling."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        if self._observer.is_alive():
            self._observer.stop()
            self._observer.join()
        if self._thread.is_alive():
            self._thread.join()

    def on_any_event(self, event: FileSystemEvent) -> None:
        """From watchdog's thread."""
        places = [os.fsdecode(place) for place in (event.src_path, event.dest_path) if place]
        paths = [path for place in places if (path := self._relative(place)) is not None]
        if not paths:
            return
        with self._changed:
            self._is_all |= event.is_directory or any(_changes_rules(path) for path in paths)
            self._paths.update(paths)
            now = time.monotonic()
            self._burst = (self._burst[0] if self._burst else now, now)
            self._changed.notify()

    def _relative(self, place: str) -> str | None:
        """The path below the workspace; None for what is never indexed."""
        path = os.path.relpath(place, self._workspace).replace(os.sep, "/")
        folders = path.split("/")[:-1]
        if path == ".git/HEAD":
            return path
        return None if NEVER & {*folders, path} or RARELY & set(folders) else path

    def _deliver(self) -> None:
        while True:
            with self._changed:
                while not self._is_closed and (wait_s := self._wait_s()) != 0:
                    self._changed.wait(wait_s)
                if self._is_closed:
                    return
                paths, is_all = frozenset(self._paths), self._is_all or len(self._paths) > MAX_PATHS
                self._paths.clear()
                self._is_all, self._burst = False, None
            self._on_change(None if is_all else paths)

    def _wait_s(self) -> float | None:
        """Seconds until the burst counts as over; None while there is none."""
        if self._burst is None:
            return None
        first, last = self._burst
        return max(0.0, min(last + DEBOUNCE_S, first + MAX_DELAY_S) - time.monotonic())


def _changes_rules(path: str) -> bool:
    return path == ".git/HEAD" or path.rpartition("/")[2] in (".gitignore", ".gitmodules", QCNIGNORE)
