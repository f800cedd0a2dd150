"""Our side: the engine in a child process, asked over a pipe."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import asdict
from pathlib import Path
from typing import Any

from qcn_agent.benchmark.arms import Answer, Ask, Memory, end, resident_mib
from qcn_agent.benchmark.held import Held, Setup
from qcn_agent.benchmark.traces import Tokens
from tests.bench.engine_setup import Figures

ROOT = Path(__file__).parents[2]
START_S, STATUS_S = 300, 60


def to_answer(found: Mapping[str, Any]) -> Answer:
    """The child's reply as a value. Raises RuntimeError when it is an error."""
    if "error" in found:
        raise RuntimeError(f"our engine: {found['error']}")
    fields = {name: value for name, value in found.items() if name != "id"}
    fields["tokens"], fields["chunks_ms"] = tuple(found["tokens"]), tuple(found["chunks_ms"])
    fields["times_ms"] = tuple((at, count) for at, count in found["times_ms"])
    return Answer(**fields)


class OurArm:
    """See `Arm`. All it keeps on disk lies in `home`, so a second start finds what the first one left."""

    name = "ours"

    def __init__(self, setup: Setup, home: Path) -> None:
        self._setup = setup
        self._home = home
        self._process: subprocess.Popen[str] | None = None
        self._waiting: dict[int, Future[dict[str, Any]]] = {}
        self._lock = threading.Lock()
        self._number = 0
        self._reader: threading.Thread | None = None
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - closed in close
        self.peak = Held()

    def start(self) -> None:
        """See `Arm.start`."""
        settings = {**asdict(self._setup), "path": str(self._setup.path)}
        argv = [sys.executable, "-m", "tests.bench.engine_child", json.dumps(settings)]
        env = {**os.environ, "QCN_AGENT_HOME": str(self._home)}
        self._process = subprocess.Popen(
            argv, cwd=ROOT, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors
        )
        self._number, self._waiting = 0, {}
        ready = self._expect(0)
        self._reader = threading.Thread(target=self._read, args=(self._process, self._waiting), daemon=True)
        self._reader.start()
        ready.result(START_S)

    def submit(self, ask: Ask) -> "Future[Answer]":
        """See `Arm.submit`."""
        answered: Future[Answer] = Future()

        def done(found: "Future[dict[str, Any]]") -> None:
            try:
                answered.set_result(to_answer(found.result()))
            except RuntimeError as error:
                answered.set_exception(error)

        self._send({"op": "generate", **asdict(ask)}).add_done_callback(done)
        return answered

    def encode(self, text: str, special: bool) -> Tokens:
        """Tokens of a text by the model's vocabulary."""
        found = self._send({"op": "encode", "text": text, "special": special}).result(STATUS_S)
        return tuple(found["tokens"])

    def figures(self) -> Figures:
        """The engine's figures now; what it holds counts for the peak."""
        found = self._send({"op": "status"}).result(STATUS_S)
        figures = Figures(**{**{k: v for k, v in found.items() if k != "id"}, "held": Held(**found["held"])})
        self.peak = self.peak.most(figures.held)
        return figures

    def memory(self) -> Memory:
        """See `Arm.memory`."""
        self.figures()
        return Memory(self.peak, resident_mib(self.pid))

    @property
    def pid(self) -> int:
        """Of the child. Raises RuntimeError when there is none."""
        if self._process is None:
            raise RuntimeError("our engine is not running")
        return self._process.pid

    def kill(self) -> None:
        """See `Arm.kill`. Requests on their way fail."""
        self._end(gently=False)

    def close(self) -> None:
        """See `Arm.close`."""
        self._end(gently=True)
        self._errors.close()

    def _end(self, *, gently: bool) -> None:
        end(self._process, gently=gently)
        if self._reader is not None:
            self._reader.join()
        self._process = self._reader = None

    def _expect(self, number: int) -> "Future[dict[str, Any]]":
        self._waiting[number] = Future()
        return self._waiting[number]

    def _send(self, message: dict[str, Any]) -> "Future[dict[str, Any]]":
        process = self._process
        if process is None or process.stdin is None:
            raise RuntimeError("our engine is not running")
        with self._lock:
            self._number += 1
            reply = self._expect(self._number)
            try:
                process.stdin.write(json.dumps({"id": self._number, **message}) + "\n")
                process.stdin.flush()
            except OSError as error:
                raise RuntimeError(f"our engine has gone: {self._last_words()}") from error
        return reply

    def _read(self, process: "subprocess.Popen[str]", waiting: "dict[int, Future[dict[str, Any]]]") -> None:
        """The reader thread: replies to their futures; when the process ends, what waits fails."""
        assert process.stdout is not None
        with contextlib.suppress(ValueError):  # a line cut short by a kill, or the pipe closed
            for line in process.stdout:
                found = json.loads(line)
                waiting.pop(found["id"]).set_result(found)
        with self._lock:
            for future in waiting.values():
                future.set_exception(RuntimeError(f"our engine has gone: {self._last_words()}"))

    def _last_words(self) -> str:
        self._errors.seek(0)
        return self._errors.read()[-2000:].strip()
