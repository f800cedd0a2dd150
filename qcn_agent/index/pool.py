"""Worker processes and what they answer. One that dies or hangs takes one file with it."""

import os
import pickle
import queue
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from qcn_agent.index.files import FileStamp, stamps
from qcn_agent.index.limits import FILE_BUDGET_S
from qcn_agent.index.messages import LENGTH, Answer, Request, frame_of, message_of
from qcn_agent.index.record import make_record
from qcn_agent.index.words import WordSplitter

_MAX_WAITING = 64
_CHUNK_BYTES = 1 << 20


class WorkerLostError(Exception):
    """The worker died or took too long; it was put to an end."""


class Worker:
    """One worker process, seen by its parent. A fresh interpreter, never a fork."""

    def __init__(self, workspace: Path, budget_s: float) -> None:
        self._budget_s = budget_s
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "qcn_agent.index.worker", os.fspath(workspace)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def ask(self, request: Request) -> bytes:
        """The pickled answer to a request. Raises WorkerLostError."""
        deadline = time.monotonic() + self._budget_s
        stdin = self._process.stdin
        try:
            if stdin is None:
                raise WorkerLostError
            stdin.write(frame_of(request))
            return self._read(LENGTH.unpack(self._read(LENGTH.size, deadline))[0], deadline)
        except (OSError, WorkerLostError) as error:
            self.kill()
            raise WorkerLostError from error

    def _read(self, size: int, deadline: float) -> bytes:
        parts, missing = [], size
        descriptor = self._process.stdout.fileno() if self._process.stdout else -1
        while missing:
            ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
            part = os.read(descriptor, min(missing, _CHUNK_BYTES)) if ready else b""
            if not part:
                raise WorkerLostError
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def close(self) -> None:
        """Let it end by itself."""
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            pass
        self.kill()

    def kill(self) -> None:
        """End it now."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()


class WorkerPool:
    """Up to `size` workers; one stays warm between runs, so that a saved file does not wait for an interpreter."""

    def __init__(self, workspace: Path, size: int, budget_s: float = FILE_BUDGET_S) -> None:
        self._workspace, self._size, self._budget_s = workspace, max(1, size), budget_s
        self._idle: list[Worker] = []
        self.num_lost = 0

    def warm_up(self) -> None:
        """Have a worker ready."""
        if not self._idle:
            self._idle.append(Worker(self._workspace, self._budget_s))

    def close(self) -> None:
        """End all workers."""
        while self._idle:
            self._idle.pop().close()

    def run(self, requests: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, Answer]]:
        """The answer for each (path, known content hash), in the order in which they become ready."""
        waiting = [*requests]
        tasks = iter(waiting)
        answers: queue.Queue[tuple[str, bytes | Exception] | None] = queue.Queue(_MAX_WAITING)
        lock, is_over = threading.Lock(), threading.Event()

        def next_task() -> tuple[str, bytes] | None:
            with lock:
                return None if is_over.is_set() else next(tasks, None)

        def serve() -> None:
            worker: Worker | None = None
            try:
                while task := next_task():
                    worker, data = self._answer(worker, task)
                    answers.put((task[0], data))
            except Exception as error:  # reported by the consumer
                answers.put(("", error))
            finally:
                self._give_back(worker)
                answers.put(None)

        threads = [threading.Thread(target=serve, daemon=True) for _ in range(min(self._size, len(waiting)))]
        for thread in threads:
            thread.start()
        try:
            yield from _drained(answers, len(threads))
        finally:
            is_over.set()
            _empty(answers, threads)

    def _answer(self, worker: Worker | None, task: tuple[str, bytes]) -> tuple[Worker | None, bytes]:
        """First with a parser, then without, then the path alone."""
        path, known_hash = task
        for text_only in (False, True):
            worker = worker or self._take()
            try:
                return worker, worker.ask((path, known_hash, text_only))
            except WorkerLostError:
                self.num_lost += 1
                worker = None
        stamp = stamps(self._workspace, [path]).get(path)
        return None, pickle.dumps(_path_only(path, stamp) if stamp else None)

    def _take(self) -> Worker:
        try:
            return self._idle.pop()
        except IndexError:
            return Worker(self._workspace, self._budget_s)

    def _give_back(self, worker: Worker | None) -> None:
        if worker is None:
            return
        if self._idle:
            worker.close()
        else:
            self._idle.append(worker)


def _path_only(path: str, stamp: FileStamp) -> Answer:
    return make_record(path, stamp, None, WordSplitter())


def _drained(
    answers: "queue.Queue[tuple[str, bytes | Exception] | None]", num_threads: int
) -> Iterator[tuple[str, Answer]]:
    running = num_threads
    while running:
        item = answers.get()
        if item is None:
            running -= 1
        elif isinstance(item[1], Exception):
            raise item[1]
        else:
            yield item[0], message_of(item[1])


def _empty(answers: "queue.Queue[tuple[str, bytes | Exception] | None]", threads: list[threading.Thread]) -> None:
    """Let threads end that wait to be heard."""
    while any(thread.is_alive() for thread in threads):
        try:
            answers.get(timeout=0.01)
        except queue.Empty:
            pass
