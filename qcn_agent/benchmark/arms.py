"""The two sides of the engine benchmark, as child processes that answer token prompts.

The benchmark's own process never loads llama.cpp, so both sides can be killed and started again.
"""

import contextlib
import subprocess
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from qcn_agent.benchmark.held import Held
from qcn_agent.benchmark.traces import Tokens


@dataclass(frozen=True)
class Ask:
    """One request to a side. `wants_times`: when each token came is of interest."""

    session: str
    prompt: Tokens
    num_new: int
    boundaries: tuple[int, ...] = ()
    is_completion: bool = False
    wants_times: bool = False


@dataclass(frozen=True)
class Answer:
    """What came back. `num_evaluated` are prompt tokens that were decoded, those read twice included.

    `times_ms` are (milliseconds since the request, tokens so far); `chunks_ms` when each part of the prompt was read.
    `steps_waited` counts foreign steps before its first own one; None: the side doesn't say.
    """

    tokens: Tokens
    num_evaluated: int
    num_cached: int
    total_ms: float
    first_ms: float
    steps_waited: int | None = None
    times_ms: tuple[tuple[float, int], ...] = ()
    chunks_ms: tuple[float, ...] = ()


@dataclass(frozen=True)
class Memory:
    """What a side held at most, and the resident memory of its process when that was asked."""

    held: Held
    resident_mib: float


class Arm(Protocol):
    """A side: it is running from the start until `close`, or until `kill`, after which `start` brings it back."""

    name: str

    def start(self) -> None:
        """Start the process and wait until it serves. Raises RuntimeError, with its last words, when it fails."""

    def submit(self, ask: Ask) -> "Future[Answer]":
        """Send a request; several may be on their way."""

    def memory(self) -> Memory:
        """The most it has held since the start."""

    def kill(self) -> None:
        """End the process at once, as a crash would."""

    def close(self) -> None:
        """End the process. May be called at any time, also twice."""


def resident_mib(pid: int) -> float:
    """Main memory that a process occupies; 0 when it is gone."""
    shown = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return int(shown.stdout.strip() or 0) / 1024


def end(process: "subprocess.Popen[str] | None", *, gently: bool) -> None:
    """Stop a child by closing its input, or by a signal; never leave it behind."""
    if process is None:
        return
    if gently and process.stdin is not None:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            process.stdin.close()
            process.wait(timeout=20)
    if process.poll() is None:
        process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # what it hadn't read
                pipe.close()
