"""`qcn-agent lsp`: what an editor starts. It carries LSP between the editor and the one daemon of all editors.

Standard library only, so that it is there at once and small. It starts the daemon when there is none, and again when it
has died: the new one is told all that the editor has said that still holds (`mirror.py`). What the editor waits for
then gets an empty answer; no request is ever sent twice. A daemon that was stopped is not brought back, but the next
one that somebody starts is taken.
"""

import contextlib
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable

from qcn_agent.daemon import client, wire
from qcn_agent.errors import DaemonError, QcnError
from qcn_lsp.mirror import Message, Mirror, answer_instead
from qcn_tools.environment import allowed_env

MAX_DEATHS, DEATHS_WITHIN_S = 3, 300.0  # more often it is not started again
_LOOK_EVERY_S = 1.0  # for another daemon, after one was stopped
_INITIALIZE = "qcn-shim-initialize"
_PARENT_POLL_S = 0.5
_ERROR = 1  # MessageType

Connect = Callable[[Callable[[str], None]], client.Client]


class Shim:
    """Between one editor and the daemon. `receive` reads from the editor, `send` writes to it."""

    def __init__(
        self,
        receive: Callable[[int], bytes],
        send: Callable[[bytes], object],
        connect: Connect = client.connect,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._frames = wire.FrameReader(receive)
        self._send = send
        self._connect = connect
        self._clock = clock
        self._mirror = Mirror()
        self._lock = threading.RLock()  # over all below, and over what is sent: an order that the mirror knows
        self._daemon: client.Client | None = None  # there, and told all
        self._waiting: deque[Message] = deque()  # for the first daemon
        self._deaths: deque[float] = deque()
        self._is_first = True
        self._was_stopped = False
        self._has_given_up = False
        self._reason = ""  # why there is no daemon now
        self.keeper = threading.Thread(target=self._keep_daemon, name="qcn-daemon", daemon=True)

    def run(self) -> int:
        """Serve until the editor hangs up or says `exit`; the exit code."""
        self.keeper.start()
        is_shut_down = False
        try:
            while (message := self._frames.peek()) is not None:
                self._frames.drop()
                if message.get("method") == "exit":
                    break
                is_shut_down = is_shut_down or message.get("method") == "shutdown"
                with self._lock:
                    self._from_editor(message)
        except (DaemonError, OSError) as error:
            _note(f"the editor: {error}")
            is_shut_down = False
        with self._lock:
            self._has_given_up = True
            if self._daemon is not None:
                self._daemon.close()
        return 0 if is_shut_down else 1

    def _from_editor(self, message: Message) -> None:
        if message.get("method") == "initialize":
            message = _with_environment(message)
            self._watch(message)
        told = self._mirror.from_editor(message)
        if told is None:
            return
        if self._daemon is not None:
            self._pass_on(told)
        elif self._is_first and not self._has_given_up:
            self._waiting.append(told)
        elif "method" in message and "id" in message:
            self._answer(answer_instead(message["id"], message["method"], self._reason))

    def _pass_on(self, message: Message) -> None:
        assert self._daemon is not None  # noqa: S101 - the caller looked
        try:
            self._daemon.send(message)
        except QcnError:
            self._daemon = None  # the other thread notices as well, and brings a new one

    def _answer(self, message: Message) -> None:
        self._mirror.from_daemon(message)
        self._tell(message)

    def _tell(self, message: Message) -> None:
        """An editor that does not read any more is noticed where its messages are read."""
        with contextlib.suppress(OSError):
            self._send(wire.encode(message))

    def _keep_daemon(self) -> None:
        """The other thread: a daemon, its messages, and the next one."""
        while not self._has_given_up:
            try:
                daemon = self._next_daemon() if self._was_stopped else self._connect(lambda text: None)
                self._introduce(daemon)
                self._listen(daemon)
            except QcnError as error:
                self._lost(error)

    def _introduce(self, daemon: client.Client) -> None:
        """Bring a daemon up to date. The first one hears what has come so far, another one what still holds."""
        again = None
        with self._lock:
            if not self._is_first:
                again = self._mirror.initialize_again(_INITIALIZE)
        if again is not None:
            daemon.send(again)
            while daemon.receive().get("id") != _INITIALIZE:
                pass
        with self._lock:
            messages = list(self._waiting) if self._is_first else list(self._mirror.introduction())
            self._waiting.clear()
            for message in messages:
                daemon.send(message)
            self._is_first, self._daemon = False, daemon

    def _next_daemon(self) -> client.Client:
        """One that somebody else has started."""
        while (daemon := client.connect_if_ready()) is None:
            time.sleep(_LOOK_EVERY_S)
        self._was_stopped = False
        return daemon

    def _listen(self, daemon: client.Client) -> None:
        while True:
            message = daemon.receive()
            if message.get("method") == "qcn/stopping":
                self._was_stopped = True
                continue
            with self._lock:
                self._answer(message)

    def _lost(self, error: QcnError) -> None:
        """The daemon has gone, or can't be had."""
        with self._lock:
            if self._has_given_up:  # the editor has gone, and we after it
                return
            self._daemon, self._reason = None, str(error)
            self._waiting.clear()
            is_fatal = "initialize" in self._mirror.requests.values()
            for answer in list(self._mirror.answers_instead(str(error))):
                self._tell(answer)
            if self._was_stopped:
                return
            self._has_given_up = is_fatal or self._is_too_often()
            if self._has_given_up:
                self._say(f"qcn-agent: {error}. It is not started again; {error.hint or 'see `qcn-agent status`'}")
        _note(str(error))

    def _is_too_often(self) -> bool:
        """Count a death."""
        now = self._clock()
        self._deaths.append(now)
        while now - self._deaths[0] > DEATHS_WITHIN_S:
            self._deaths.popleft()
        return len(self._deaths) >= MAX_DEATHS

    def _say(self, text: str) -> None:
        params = {"type": _ERROR, "message": text}
        self._tell({"jsonrpc": "2.0", "method": "window/showMessage", "params": params})

    def _watch(self, initialize: Message) -> None:
        """An editor that is killed may leave its end of the pipe open in another process."""
        params = initialize.get("params")
        editor = params.get("processId") if isinstance(params, dict) else None
        if isinstance(editor, int) and not isinstance(editor, bool) and editor > 0:
            threading.Thread(target=_end_with, args=(editor,), name="editor", daemon=True).start()


def _with_environment(initialize: Message) -> Message:
    """The daemon runs commands of this editor's projects with what this editor's environment allows."""
    params = initialize.get("params")
    options = params.get("initializationOptions") if isinstance(params, dict) else None
    if not isinstance(params, dict) or not isinstance(options, dict | None):
        return initialize
    options = {**(options or {}), "qcnEnv": allowed_env(os.environ)}
    return {**initialize, "params": {**params, "initializationOptions": options}}


def _note(text: str) -> None:
    """For the output panel that an editor keeps."""
    sys.stderr.write(f"qcn-agent lsp: {text}\n")


def _end_with(process_id: int) -> None:
    while _is_alive(process_id):
        time.sleep(_PARENT_POLL_S)
    os._exit(1)


def _is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def main() -> int:
    """Serve the editor at standard input and output; the exit code."""
    output = sys.stdout.buffer
    sys.stdout = sys.stderr  # whatever prints: the wire is not for it

    def send(data: bytes) -> None:
        output.write(data)
        output.flush()

    return Shim(lambda count: os.read(0, count), send).run()
