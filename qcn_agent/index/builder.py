"""Brings the database into line with the workspace: what is new, changed, moved, gone."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from qcn_agent.index.files import FileStamp, list_files, read_file, stamps, wanted
from qcn_agent.index.messages import Answer, Unchanged
from qcn_agent.index.pool import WorkerPool
from qcn_agent.index.record import FileRecord, content_hash
from qcn_agent.index.store import Store

Progress = Callable[[int, int], None]

_BATCH_FILES = 500
_BATCH_S = 2.0


@dataclass(frozen=True)
class BuildResult:
    """What a refresh did: files that were read, moved and removed, files it looked at, and its time."""

    num_files: int
    num_read: int
    num_moved: int
    num_removed: int
    elapsed_s: float


@dataclass(frozen=True)
class _Changes:
    """Paths to read with what is known of them, and the ids of what is gone."""

    to_read: tuple[str, ...]
    gone: tuple[int, ...]


class Builder:
    """Refreshes one store. Each batch of files is a transaction: a kill leaves a smaller index, no wrong one."""

    def __init__(self, workspace: Path, store: Store, pool: WorkerPool) -> None:
        self._workspace, self._store, self._pool = workspace, store, pool

    def refresh(self, progress: Progress = lambda _done, _total: None) -> BuildResult:
        """Look at every file of the workspace; `progress(done, total)` counts the files to read."""
        started = time.monotonic()
        found, known = list_files(self._workspace), self._store.stamps()
        gone = tuple(file_id for path, (file_id, _stamp) in known.items() if path not in found)
        to_read = tuple(path for path, stamp in found.items() if path not in known or known[path][1] != stamp)
        return self._apply(_Changes(to_read, gone), found, started, progress)

    def update(self, paths: Iterable[str]) -> BuildResult:
        """Look at some paths only; folders and what does not belong to the workspace are passed over."""
        started = time.monotonic()
        asked = sorted(set(paths))
        found = stamps(self._workspace, asked)
        known = {path: identity[0] for path in asked if (identity := self._store.identity(path))}
        fresh = [path for path in found if path not in known]
        allowed = wanted(self._workspace, fresh)
        found = {path: stamp for path, stamp in found.items() if path in known or path in allowed}
        gone = tuple(file_id for path, file_id in known.items() if path not in found)
        return self._apply(_Changes(tuple(found), gone), found, started, lambda _done, _total: None)

    def _apply(self, changes: _Changes, found: dict[str, FileStamp], started: float, progress: Progress) -> BuildResult:
        moved = self._move(changes, found) if changes.gone and changes.to_read else {}
        gone = [file_id for file_id in changes.gone if file_id not in moved.values()]
        if gone:
            with self._store.transaction():
                for file_id in gone:
                    self._store.remove(file_id)
        to_read = [path for path in changes.to_read if path not in moved]
        num_read = self._read(to_read, progress) if to_read else 0
        return BuildResult(len(found), num_read, len(moved), len(gone), time.monotonic() - started)

    def _move(self, changes: _Changes, found: dict[str, FileStamp]) -> dict[str, int]:
        """New paths that hold exactly what a vanished one held: file_id by path. Nothing of them is parsed again."""
        vanished = self._store.by_hash(changes.gone)
        moved: dict[str, int] = {}
        with self._store.transaction():
            for path in changes.to_read:
                if not vanished:
                    break
                read = None if self._store.identity(path) else read_file(self._workspace / path)
                file_id = vanished.pop(content_hash(read[1]), None) if read and read[1] is not None else None
                if file_id is not None and read and self._store.can_move(file_id, path):
                    self._store.move(file_id, path, read[0])
                    moved[path] = file_id
        return moved

    def _read(self, paths: list[str], progress: Progress) -> int:
        requests = ((path, self._known_hash(path)) for path in paths)
        answers = self._pool.run(requests)
        done, batch, batch_started = 0, list[tuple[str, Answer]](), time.monotonic()
        num_read = 0
        for item in answers:
            batch.append(item)
            if len(batch) >= _BATCH_FILES or time.monotonic() - batch_started > _BATCH_S:
                num_read += self._write(batch)
                done += len(batch)
                progress(done, len(paths))
                batch, batch_started = [], time.monotonic()
        num_read += self._write(batch)
        progress(len(paths), len(paths))
        return num_read

    def _known_hash(self, path: str) -> bytes:
        identity = self._store.identity(path)
        return identity[1] if identity else b""

    def _write(self, batch: list[tuple[str, Answer]]) -> int:
        """One transaction; how many files had other contents than before."""
        if not batch:
            return 0
        with self._store.transaction():
            for path, answer in batch:
                self._store_answer(path, answer)
        return sum(isinstance(answer, FileRecord) for _path, answer in batch)

    def _store_answer(self, path: str, answer: Answer) -> None:
        if isinstance(answer, FileRecord):
            self._store.put(answer)
            return
        identity = self._store.identity(path)
        if identity and isinstance(answer, Unchanged):
            self._store.restamp(identity[0], answer.stamp)
        elif identity:
            self._store.remove(identity[0])
