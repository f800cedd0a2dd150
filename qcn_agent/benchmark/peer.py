"""The peer: a real llama-server in a child process, asked over HTTP with token ids."""

import json
import re
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from qcn_agent.benchmark.arms import Answer, Ask, Memory, end, resident_mib
from qcn_agent.benchmark.held import Held, Setup

SERVER = Path(__file__).with_name("peer_server.py")
INSTALL = "pip install xllamacpp (a llama-server in a wheel)"
TIMEOUT_S = 600
DEFAULT: Mapping[str, Any] = {"n_parallel": -1}  # as llama-server starts: 4 slots, a unified cache
TUNED: Mapping[str, Any] = {
    "n_parallel": 12,
    "kv_unified": True,
    "n_ctx_checkpoints": 128,
    "checkpoint_min_step": 64,
    "cache_idle_slots": False,
    "n_batch": 512,
}
_LOGS_CHECKPOINTS = 4  # verbosity
_CREATED = re.compile(r"slot .*id +(\d+) .*created context checkpoint (\d+) of")
_SAVED = re.compile(r"- prompt +0x[0-9a-f]+: +(\d+) tokens, checkpoints: +(\d+)")
_SUMMARY = "- cache state:"


def is_installed(python: str) -> bool:
    """Whether an interpreter has the peer."""
    return subprocess.run([python, "-c", "import xllamacpp"], capture_output=True, check=False).returncode == 0


def held(log: Iterable[str]) -> Held:
    """The most that a server's log shows in host memory: checkpoints of its slots, and prompts saved with theirs."""
    slots: dict[str, int] = {}
    states = tokens = 0
    most = Held()
    for line in log:
        if _SUMMARY in line:
            states = tokens = 0
        elif found := _SAVED.search(line):
            tokens += int(found[1])
            states += int(found[2]) + 1  # its own state, too
        elif found := _CREATED.search(line):
            slots[found[1]] = int(found[2])
        most = most.most(Held(0, states + sum(slots.values()), tokens))
    return most


def to_answer(lines: Iterable[bytes], clock_ms: "Clock", *, wants_times: bool) -> Answer:
    """Read a streamed completion. Raises RuntimeError when the server reports an error or stops half-way."""
    tokens: list[int] = []
    times: list[tuple[float, int]] = []
    for line in lines:
        if not line.startswith(b"data: "):
            continue
        found, now = json.loads(line[6:]), clock_ms()
        if "error" in found:
            raise RuntimeError(f"llama-server: {found['error']}")
        tokens += found["tokens"]
        if found["tokens"]:
            times.append((now, len(tokens)))
        if found["stop"]:
            timings = found["timings"]
            first = times[0][0] if times else now
            shown = tuple(times) if wants_times else ()
            return Answer(tuple(tokens), timings["prompt_n"], timings["cache_n"], now, first, times_ms=shown)
    raise RuntimeError("llama-server: the answer ended half-way")


class Clock:
    """Milliseconds since it was made."""

    def __init__(self) -> None:
        self._begin = time.perf_counter()

    def __call__(self) -> float:
        """The time now."""
        return 1e3 * (time.perf_counter() - self._begin)


class PeerArm:
    """See `Arm`. `flags` are fields of llama.cpp's own parameters; nothing survives its process.

    `pins_slots`: each session has a slot of its own, as a careful client asks for; they are shared when they run out.
    """

    def __init__(
        self, name: str, python: str, setup: Setup, flags: Mapping[str, Any], *, pins_slots: bool = False
    ) -> None:
        self.name = name
        self._num_slots = flags["n_parallel"] if pins_slots else 0
        self._slots: dict[str, int] = {}
        self._argv = [python, str(SERVER)]
        self._settings = {
            "path": str(setup.path),
            "n_ctx": setup.n_ctx,
            "n_threads": setup.n_threads,
            "verbosity": _LOGS_CHECKPOINTS,
            **flags,
        }
        self._process: subprocess.Popen[str] | None = None
        self._log = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - closed in close
        self._url = self.version = ""

    def start(self) -> None:
        """See `Arm.start`."""
        self._process = subprocess.Popen(
            [*self._argv, json.dumps(self._settings)],
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        for line in self._process.stdout or ():
            if line.startswith('{"url"'):
                ready = json.loads(line)
                self._url, self.version = ready["url"], ready["version"]
                return
        end(self._process, gently=False)
        raise RuntimeError(f"llama-server did not start: {''.join(self._read_log()[-20:])}")

    def submit(self, ask: Ask) -> "Future[Answer]":
        """See `Arm.submit`. Times include the HTTP round trip, about a millisecond."""
        answered: Future[Answer] = Future()

        def run() -> None:
            try:
                answered.set_result(self._complete(ask))
            except (OSError, ValueError, RuntimeError) as error:
                answered.set_exception(error)

        threading.Thread(target=run, daemon=True).start()
        return answered

    def memory(self) -> Memory:
        """See `Arm.memory`: checkpoints and saved prompts, from the log."""
        return Memory(held(self._read_log()), resident_mib(self._process.pid) if self._process else 0.0)

    def kill(self) -> None:
        """See `Arm.kill`."""
        end(self._process, gently=False)

    def close(self) -> None:
        """See `Arm.close`."""
        end(self._process, gently=True)
        self._log.close()

    def _complete(self, ask: Ask) -> Answer:
        body = {
            "prompt": list(ask.prompt),
            "n_predict": ask.num_new,
            "temperature": 0,
            "ignore_eos": True,
            "cache_prompt": True,
            "return_tokens": True,
            "stream": True,
            "id_slot": self._slot_of(ask.session),
        }
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self._url + "/completion", json.dumps(body).encode(), headers)  # noqa: S310
        clock = Clock()
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310 - our own child's address
            return to_answer(response, clock, wants_times=ask.wants_times)

    def _slot_of(self, session: str) -> int:
        """-1 leaves the choice to the server."""
        if not self._num_slots:
            return -1
        return self._slots.setdefault(session, len(self._slots) % self._num_slots)

    def _read_log(self) -> list[str]:
        self._log.seek(0)
        return self._log.readlines()
