"""Talks to the daemon, and starts one if there is none. Standard library only: it works without llama.cpp."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from qcn_agent import __version__
from qcn_agent.daemon import endpoint, wire
from qcn_agent.errors import DaemonDiedError, DaemonError, QcnError, UsageError

START_TIMEOUT_S = 30.0
REQUEST_CANCELLED = -32800  # LSP
_POLL_S = 0.02
MAX_LOG_BYTES = 8 << 20
_STOP = "qcn-agent stop, then try again"
Notify = Callable[[str, Any], None]
T = TypeVar("T")


class NobodyListensError(DaemonError):
    """There is an address, but nobody answers there: the daemon has just died, or a new one is not ready yet."""


class Client:
    """One connection. One request at a time; notifications that come meanwhile go to `on_notification`.

    When a request was interrupted: `missed` holds those (method, params) that came between that and its confirmation,
    `is_confirmed` whether there was one.
    """

    def __init__(self, connection: socket.socket, frames: wire.FrameReader, pid: int, version: str) -> None:
        self._socket = connection
        self._frames = frames
        self._next_id = 0
        self.pid = pid
        self.version = version
        self.missed: list[tuple[str, Any]] = []
        self.is_confirmed = False

    def request(self, method: str, params: Any, on_notification: Notify | None = None) -> Any:
        """Send a request and wait for its result.

        Raises QcnError with the daemon's own message, hint and exit code; DaemonDiedError when the connection is lost
        meanwhile. KeyboardInterrupt, and an OSError of `on_notification`, which can't show any more what it hears,
        cancel the request, wait until the daemon has confirmed it, and are raised again.
        """
        self._next_id += 1
        request_id = self._next_id
        self.send({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params})
        try:
            answer = self._wait(request_id, on_notification)
        except (KeyboardInterrupt, OSError):
            self._cancel(request_id)
            raise
        self._frames.drop()
        return _result(answer)

    def notify(self, method: str, params: Any) -> None:
        """Send a notification."""
        self.send({"jsonrpc": "2.0", "method": method, "params": params})

    def send(self, message: dict[str, Any]) -> None:
        """Send a whole message, for whoever does without `request`. Raises DaemonDiedError."""
        try:
            self._socket.sendall(wire.encode(message))
        except OSError as error:
            raise _died(self.pid) from error

    def receive(self) -> dict[str, Any]:
        """Wait for the next message, whatever it is. Raises DaemonDiedError when the connection is lost."""
        message = self._peek()
        self._frames.drop()
        return message

    def close(self) -> None:
        """Hang up, also for a thread that waits in `receive`."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wait(self, request_id: int, on_notification: Notify | None) -> dict[str, Any]:
        """The answer, which stays the next frame: should an interrupt fall here, `_cancel` must find it."""
        while True:
            message = self._peek()
            if message.get("id") == request_id and "method" not in message:
                return message
            if on_notification is not None and "method" in message:
                on_notification(message["method"], message.get("params"))
            self._frames.drop()

    def _peek(self) -> dict[str, Any]:
        """The next message, which stays the next one until it is dropped."""
        try:
            message = self._frames.peek()
        except (OSError, DaemonDiedError) as error:
            raise _died(self.pid) from error
        if message is None:
            raise _died(self.pid)
        return message

    def _cancel(self, request_id: int) -> None:
        """Returns when the answer is there, which is an error then, or after 10 s."""
        try:
            self.send({"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": request_id}})
            self._socket.settimeout(10.0)
            self._wait(request_id, lambda method, params: self.missed.append((method, params)))
            self._frames.drop()
            self._socket.settimeout(None)
            self.is_confirmed = True
        except DaemonError:
            pass  # whoever interrupts does not care how it ends


def connect(on_wait: Callable[[str], None], model_path: str = "") -> Client:
    """A connection to the daemon, which is started if there is none; `on_wait` is told then.

    A daemon that is started has the model at `model_path`, absolute, for its own unless that is empty. A daemon of
    another version is replaced when it is idle; one that speaks another protocol is a DaemonError.
    """
    client = connect_if_ready()
    if client is not None and client.version != __version__:
        client = _replace(client)
    if client is None:
        on_wait("starting the daemon")
        client = _start_daemon(model_path)
    return client


def connect_to_running() -> Client | None:
    """A connection to the daemon that runs; None when there is none.

    Raises NobodyListensError when it can't be reached, DaemonError when it refuses or does not answer.
    """
    where = endpoint.find()
    if where is None or not endpoint.is_locked():
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        return _greet(connection, where)
    except BaseException:
        connection.close()
        raise


def _greet(connection: socket.socket, where: endpoint.Endpoint) -> Client:
    frames = wire.FrameReader(connection.recv)
    connection.settimeout(wire.HELLO_TIMEOUT_S)
    try:
        connection.connect(where.socket)
        hello = {"protocol": wire.PROTOCOL, "version": __version__, "token": endpoint.read_token()}
        connection.sendall(wire.encode({"jsonrpc": "2.0", "method": "qcn/hello", "params": hello}))
        reply = frames.peek()
    except (ConnectionError, FileNotFoundError, DaemonDiedError) as error:
        raise NobodyListensError(f"the daemon (pid {where.pid}) can't be reached: {error}", hint=_STOP) from error
    except OSError as error:
        hint = f"if it stays so: kill {where.pid}, then try again"  # it would not hear `stop` either
        raise DaemonError(f"the daemon (pid {where.pid}) does not answer: {error}", hint=hint) from error
    if reply is None:
        raise NobodyListensError(f"the daemon (pid {where.pid}) hung up", hint=_STOP)
    if "error" in reply:
        raise DaemonError(f"the daemon refused the connection: {reply['error']['message']}", hint=_STOP)
    frames.drop()
    connection.settimeout(None)
    return Client(connection, frames, int(reply["params"]["pid"]), str(reply["params"]["version"]))


def connect_if_ready() -> Client | None:
    """A connection to the daemon that runs. None, too, while one has the lock but does not listen yet."""
    try:
        return connect_to_running()
    except NobodyListensError:
        return None


def _replace(old: Client) -> Client | None:
    stopped = old.request("qcn/stop", {"if_idle": True})["stopping"]
    if not stopped:
        return old
    old.close()
    wait_until_gone()
    return None


def wait_until_gone(timeout_s: float = 15.0) -> None:
    """Wait until no daemon holds the lock. Raises DaemonError when one still does."""
    _poll(lambda: not endpoint.is_locked(), timeout_s, "the daemon does not end")


def _start_daemon(model_path: str) -> Client:
    """A connection to a new daemon, or to one that somebody else has started meanwhile.

    One that is just ending has the lock, but does not listen any more: it may need seconds to unload its model.
    """
    deadline = time.monotonic() + START_TIMEOUT_S
    while endpoint.is_locked():
        if (other := connect_if_ready()) is not None:
            return other
        if time.monotonic() >= deadline:
            raise DaemonError(f"the daemon before has not ended within {START_TIMEOUT_S:.0f} s", hint=_see())
        time.sleep(_POLL_S)
    return _spawn_daemon(model_path)


def _spawn_daemon(model_path: str) -> Client:
    with _fresh_log().open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "qcn_agent", "serve", "--foreground"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
            env=_daemon_environment(model_path),
        )

    def answer() -> Client | None:
        alive = process.poll() is None
        client = connect_if_ready() if alive else connect_to_running()
        if client is None and not alive and not endpoint.is_locked():
            raise DaemonError(f"the daemon did not start (exit {process.returncode}): {_last_log_line()}", hint=_see())
        return client

    client = _poll(answer, START_TIMEOUT_S, "the daemon does not come up")
    if client.pid != process.pid:
        process.terminate()  # someone else's was faster; ours must not take its place when it is stopped
    return client


def _fresh_log() -> Path:
    """The log to append to; a long one is put aside first."""
    log = endpoint.log_file()
    if log.is_file() and log.stat().st_size > MAX_LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
    return log


def _daemon_environment(model_path: str) -> dict[str, str]:
    """The client's environment less what would let a project's folder replace our modules.

    The daemon starts in another folder, so paths become absolute here.
    """
    kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP")}
    places = {key: os.environ.get(key, "") for key in ("QCN_AGENT_HOME", "QCN_DAEMON_TRACE")}
    places["QCN_MODEL_PATH"] = model_path
    return kept | {key: str(Path(value).absolute()) for key, value in places.items() if value}


def _poll(attempt: Callable[[], T | None], timeout_s: float, failure: str) -> T:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if result := attempt():
            return result
        time.sleep(_POLL_S)
    raise DaemonError(f"{failure} within {timeout_s:.0f} s", hint=_see())


def _result(message: dict[str, Any]) -> Any:
    error = message.get("error")
    if error is None:
        return message.get("result")
    if error.get("code") == REQUEST_CANCELLED:  # not by us: we would not be waiting
        said = "the daemon was stopped; the tree is as it was found, but for --keep and what was warned of"
        raise DaemonError(said, hint="try again")
    data = error.get("data") or {}
    kind = UsageError if data.get("exit_code") == 2 else QcnError
    raised = kind(str(error.get("message", "the daemon failed")), hint=str(data.get("hint", "")))
    raised.exit_code = int(data.get("exit_code", 1))
    raise raised


def _died(pid: int) -> DaemonDiedError:
    return DaemonDiedError(f"the daemon (pid {pid}) died in the middle of the work", hint=_see())


def _see() -> str:
    return f"its log is {endpoint.log_file()}"


def _last_log_line() -> str:
    log: Path = endpoint.log_file()
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:]
    except OSError:
        return "no log"
    return next((line.strip() for line in reversed(lines) if line.strip()), "its log is empty")
