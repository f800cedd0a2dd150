"""The process that keeps one workspace's index: it alone writes, and only while it holds the lock.

Lines of JSON. In: {"do": "refresh"} or {"do": "update", "paths": [...]}, each with an "id". Out: {"event": "progress",
"done", "total"}, {"event": "done", "id", "result"}, {"event": "busy", "id"} when another process keeps the index,
{"event": "failed", "id", "message"}, {"event": "watching", "is_live"}. It ends when its stdin does.
"""

import gc
import json
import logging
import os
import queue
import sqlite3
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from qcn_agent.index.builder import Builder, BuildResult
from qcn_agent.index.cochange import cochange_rows, head_of
from qcn_agent.index.limits import NICENESS
from qcn_agent.index.lock import WriterLock
from qcn_agent.index.pool import WorkerPool
from qcn_agent.index.store import Store
from qcn_agent.index.watcher import Watcher

logger = logging.getLogger(__name__)

RESCAN_S = 300.0
RESCAN_UNWATCHED_S = 5.0
_SLOWEST_SHARE = 20  # scanning takes at most a twentieth of the time
Command = dict[str, Any]


class Indexer:
    """Runs commands one after another; changes that the watcher sees are commands, too."""

    def __init__(self, workspace: Path, database: Path, num_workers: int, out: TextIO) -> None:
        self._workspace, self._database, self._out = workspace, database, out
        self._lock = WriterLock(database.with_name(database.name + ".lock"))
        self._pool = WorkerPool(workspace, num_workers)
        self._store: Store | None = None
        self._commands: queue.Queue[Command] = queue.Queue()
        self._watcher: Watcher | None = None
        self._rescan_s = RESCAN_S
        self._say_lock = threading.Lock()

    def run(self, commands: TextIO, *, watch: bool) -> None:
        """Until there are no more commands."""
        threading.Thread(target=self._listen, args=(commands,), daemon=True).start()
        if watch:
            self._watch()
        while True:
            command = self._next_command()
            if command["do"] == "end":
                break
            self._attempt(command)
        self._close()

    def _listen(self, commands: TextIO) -> None:
        for line in commands:
            self._commands.put(json.loads(line))
        self._commands.put({"do": "end"})

    def _watch(self) -> None:
        self._watcher = Watcher(self._workspace, self._on_change)
        is_live = self._watcher.start()
        self._rescan_s = RESCAN_S if is_live else RESCAN_UNWATCHED_S
        self._say({"event": "watching", "is_live": is_live})

    def _on_change(self, paths: frozenset[str] | None) -> None:
        self._commands.put({"do": "refresh"} if paths is None else {"do": "update", "paths": sorted(paths)})

    def _next_command(self) -> Command:
        try:
            return self._commands.get(timeout=self._rescan_s if self._watcher else None)
        except queue.Empty:
            return {"do": "refresh"}

    def _attempt(self, command: Command) -> None:
        """A command's failure is an answer; a damaged database is made anew once."""
        try:
            try:
                result = self._perform(command)
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise
                logger.warning("the index is damaged and made anew: %s", error)
                self._discard()
                result = self._perform({"do": "refresh"})
        except (sqlite3.Error, OSError) as error:
            self._close_store()
            self._say({"event": "failed", "id": command.get("id"), "message": str(error)})
            return
        if result is None:
            self._say({"event": "busy", "id": command.get("id")})
        else:
            self._say({"event": "done", "id": command.get("id"), "result": asdict(result)})

    def _perform(self, command: Command) -> BuildResult | None:
        """None when another process holds the lock."""
        if not self._lock.acquire():
            return None
        self._store = self._store or Store(self._database)
        builder = Builder(self._workspace, self._store, self._pool)
        if command["do"] == "update":
            return builder.update(map(os.fsdecode, map(os.fsencode, command["paths"])))
        result = builder.refresh(lambda done, total: self._say({"event": "progress", "done": done, "total": total}))
        self._rescan_s = max(self._rescan_s, _SLOWEST_SHARE * result.elapsed_s)
        self._learn_history()
        if result.num_read or result.num_removed:
            self._store.checkpoint()
        self._pool.warm_up()
        return result

    def _learn_history(self) -> None:
        """Co-change of the commit that is checked out, if it is not known yet."""
        head = head_of(self._workspace)
        if self._store is None or head == (self._store.meta("cochange_head") or ""):
            return
        rows = cochange_rows(self._workspace, self._store.file_ids())
        with self._store.transaction():
            self._store.replace_cochange(rows)
            self._store.set_meta("cochange_head", head)

    def _discard(self) -> None:
        self._close_store()
        for suffix in ("", "-wal", "-shm"):
            self._database.with_name(self._database.name + suffix).unlink(missing_ok=True)

    def _close_store(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    def _close(self) -> None:
        if self._watcher:
            self._watcher.close()
        self._pool.close()
        self._close_store()
        self._lock.release()

    def _say(self, message: dict[str, Any]) -> None:
        with self._say_lock:
            try:
                self._out.write(json.dumps(message) + "\n")
                self._out.flush()
            except BrokenPipeError:
                self._commands.put({"do": "end"})


def main() -> None:
    """usage: indexer WORKSPACE DATABASE NUM_WORKERS WATCH(0|1)"""
    workspace, database, num_workers, watch = sys.argv[1:5]
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)  # records come by the thousand and hold no cycles
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    Indexer(Path(workspace), Path(database), int(num_workers), out).run(sys.stdin, watch=watch == "1")


if __name__ == "__main__":
    main()
