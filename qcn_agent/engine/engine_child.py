"""One child process that holds an engine, as its parent sees it."""

import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator

from qcn_agent.engine import codec
from qcn_agent.engine.call_record import CallRecord
from qcn_agent.engine.engine_messages import Order, Report

_SEND_TIMEOUT_S = 10


class EngineChild:
    """Start it on a thread that lives as long as it: Linux ends a child when the thread that made it ends.

    `send` and `kill` may be called from any thread, `reports` and `wait` from one.
    """

    def __init__(self, module: str) -> None:
        """Start `python -m module`: spawned, never forked, in a session of its own, its output on our stderr."""
        self._record = CallRecord.create()
        ours, theirs = socket.socketpair()
        fds = (theirs.fileno(), self._record.fd)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, *map(str, fds), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=sys.__stderr__.fileno() if sys.__stderr__ else subprocess.DEVNULL,
                env={"GGML_NO_BACKTRACE": "1", **os.environ},  # else an abort starts a debugger and waits for it
                pass_fds=fds,
                start_new_session=True,
            )
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", _SEND_TIMEOUT_S, 0))
        self._socket = ours
        self._sending = threading.Lock()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def send(self, order: Order) -> None:
        """Say something; lost when the child is dead. Raises UsageError for what can't travel."""
        self.send_packed(codec.pack(order))

    def send_packed(self, data: bytes) -> None:
        """Likewise, what `codec.pack` has made of an order.

        A child that takes nothing for ten seconds, as one that was halted, is ended: the caller holds locks meanwhile.
        """
        with self._sending:
            try:
                self._socket.sendall(data)
            except BlockingIOError:  # a part may have gone: what follows would have no meaning
                self.kill()
            except OSError:
                pass  # it is dead

    def reports(self) -> Iterator[Report]:
        """What it says, until it ends."""
        with self._socket.makefile("rb") as stream, contextlib.suppress(ConnectionError):
            while len(head := stream.read(codec.HEAD.size)) == codec.HEAD.size:
                num_text, num_arrays = codec.HEAD.unpack(head)
                text, arrays = stream.read(num_text), stream.read(num_arrays)
                if len(text) + len(arrays) < num_text + num_arrays:
                    return
                yield codec.unpack(Report, text, arrays)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def wait(self) -> "Death":
        """Wait until it is gone, and free what belongs to it here. To be called once."""
        code = self._process.wait()
        entered = self._record.read()
        self._record.close()
        with self._sending:
            self._socket.close()
        return Death(self.pid, code, entered)


class Death:
    """How a child ended. `entered`: fingerprints of the requests that were inside llama.cpp."""

    def __init__(self, pid: int, code: int, entered: set[str]) -> None:
        self.pid = pid
        self.entered = entered
        self.reason = _signal_name(-code) if code < 0 else f"exit code {code}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most of the real-time ones have none
        return f"signal {number}"
