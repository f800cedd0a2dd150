"""The daemon's side of the indexer process: starts it, asks it, hears what it says. Its thread only waits."""

import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from qcn_agent.errors import IndexingError
from qcn_agent.index.builder import BuildResult

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class KeeperState:
    """What the indexer last said.

    `phase` is idle, building or failed (then `message` says why); `done` of `total` files are read. `is_writer` is
    False while another process keeps the index; `is_watching` while changes are noticed as they happen.
    """

    phase: str = "idle"
    done: int = 0
    total: int = 0
    is_writer: bool = True
    is_watching: bool = False
    message: str = ""


class IndexKeeper:
    """One indexer process, started when it is first asked, and again when it has died."""

    def __init__(self, workspace: Path, database: Path, *, num_workers: int, watch: bool) -> None:
        self._arguments = (os.fspath(workspace), os.fspath(database), str(num_workers), str(int(watch)))
        self._ids = itertools.count(1)
        self._said = threading.Condition()
        self._answers: dict[int, dict[str, Any] | None] = {}
        self._progress: Progress | None = None
        self._process: subprocess.Popen[str] | None = None
        self.state = KeeperState()

    @property
    def pid(self) -> int | None:
        """The process, while there is one."""
        return self._process.pid if self._process else None

    def ask(
        self, command: dict[str, Any], progress: Progress | None = None, timeout_s: float | None = None
    ) -> BuildResult:
        """Perform a command and wait for it. Where another process keeps the index nothing is done.

        Raises IndexingError when it fails, the process dies, or `timeout_s` passes (the work goes on then).
        """
        number = next(self._ids)
        with self._said:
            process = self._started()
            self._answers[number] = None
            self._progress = progress or self._progress
            self.state = replace(self.state, phase="building", message="")
            _tell(process, {**command, "id": number})
            is_answered = self._said.wait_for(
                lambda: self._answers[number] is not None or self._process is not process, timeout_s
            )
            answer = self._answers.pop(number)
            self._progress = None
        if not is_answered:
            raise IndexingError("the index is still being built", hint="ask again later")
        return _result(answer)

    def close(self) -> None:
        """End the process; what it has written stays."""
        with self._said:
            process, self._process = self._process, None
        if process is None:
            return
        if process.stdin:
            _close(process.stdin)
        try:
            process.wait(2.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _started(self) -> "subprocess.Popen[str]":
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "qcn_agent.index.indexer", *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
        )
        threading.Thread(target=self._listen, args=(self._process,), daemon=True).start()
        return self._process

    def _listen(self, process: "subprocess.Popen[str]") -> None:
        if process.stdout:
            with process.stdout:
                for line in process.stdout:
                    self._hear(json.loads(line))
        process.wait()
        if process.stdin:
            _close(process.stdin)
        with self._said:
            if self._process is process:
                self._process = None
                self.state = replace(self.state, phase="failed", message="the indexer's process ended")
            self._said.notify_all()

    def _hear(self, message: dict[str, Any]) -> None:
        with self._said:
            self.state = _next_state(self.state, message)
            if message.get("id") in self._answers:
                self._answers[message["id"]] = message
            progress = self._progress if message["event"] == "progress" else None
            self._said.notify_all()
        if progress:
            progress(message["done"], message["total"])


def _next_state(state: KeeperState, message: dict[str, Any]) -> KeeperState:
    event = message["event"]
    if event == "progress":
        return replace(state, phase="building", done=message["done"], total=message["total"])
    if event == "watching":
        return replace(state, is_watching=message["is_live"])
    if event == "failed":
        return replace(state, phase="failed", message=message["message"])
    return replace(state, phase="idle", is_writer=event != "busy", message="")


def _result(answer: dict[str, Any] | None) -> BuildResult:
    if answer is None:
        raise IndexingError("the indexer's process ended", hint="ask again: it is started anew")
    if answer["event"] == "failed":
        raise IndexingError(f"the index can't be kept: {answer['message']}", hint="is there room on the disk?")
    return BuildResult(**answer["result"]) if answer["event"] == "done" else BuildResult(0, 0, 0, 0, 0.0)


def _close(pipe: IO[str]) -> None:
    try:
        pipe.close()
    except BrokenPipeError:
        pass  # what was not sent is lost with the process


def _tell(process: "subprocess.Popen[str]", command: dict[str, Any]) -> None:
    try:
        if process.stdin:
            process.stdin.write(json.dumps(command) + "\n")
            process.stdin.flush()
    except (BrokenPipeError, ValueError):
        pass  # the listener notices that it is gone
