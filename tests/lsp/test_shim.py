"""The shim between an editor and a daemon that comes, goes and dies; both ends are played by the test."""

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from queue import Queue
from typing import Any

import pytest

from qcn_agent.daemon import client, wire
from qcn_agent.errors import DaemonError
from qcn_lsp.shim import MAX_DEATHS, Shim

TIMEOUT_S = 10.0
ITEM = {"uri": "file:///a.py", "languageId": "python", "version": 1, "text": "x"}


class End:
    """One end of a connection that is played here."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(TIMEOUT_S)
        self._connection = connection
        self._frames = wire.FrameReader(connection.recv)

    def send(self, method: str | None = None, request_id: Any = None, **rest: Any) -> None:
        """A message; an answer when there is no method."""
        named = {"method": method} if method is not None else {}
        numbered = {"id": request_id} if request_id is not None else {}
        self._connection.sendall(wire.encode({"jsonrpc": "2.0", **named, **numbered, **rest}))

    def receive(self) -> dict[str, Any]:
        """The next message, which must come."""
        message = self._frames.peek()
        assert message is not None
        self._frames.drop()
        return message

    def is_hung_up(self) -> bool:
        """Whether the other side has gone."""
        return self._frames.peek() is None

    def hang_up(self) -> None:
        """At once."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()


class Stage:
    """A shim, its editor, and daemons as they are asked for."""

    def __init__(self) -> None:
        here, there = socket.socketpair()
        self.editor = End(here)
        self._editors_end = there
        self._ends: list[socket.socket] = []
        self._offers: Queue[socket.socket | Exception] = Queue()
        self.now = 0.0
        self.exit_code: int | None = None
        self._shim = Shim(there.recv, there.sendall, self._connect, lambda: self.now)
        self._thread = threading.Thread(target=lambda: setattr(self, "exit_code", self._shim.run()))
        self._thread.start()

    def daemon(self) -> End:
        """The next one that the shim gets."""
        here, there = socket.socketpair()
        self._ends += (here, there)
        self._offers.put(there)
        return End(here)

    def fail(self, error: Exception) -> None:
        """The next attempt to get one fails."""
        self._offers.put(error)

    def started(self) -> End:
        """A session under way: the daemon of an editor that has opened a document."""
        daemon = self.daemon()
        self.editor.send("initialize", 1, params={"capabilities": {}})
        assert daemon.receive()["method"] == "initialize"
        daemon.send(request_id=1, result={"capabilities": {}})
        assert self.editor.receive()["id"] == 1
        self.editor.send("initialized", params={})
        self.editor.send("textDocument/didOpen", params={"textDocument": ITEM})
        assert [daemon.receive()["method"] for _ in range(2)] == ["initialized", "textDocument/didOpen"]
        return daemon

    def end(self) -> None:
        """The editor goes."""
        self.editor.hang_up()
        self._thread.join(TIMEOUT_S)
        self._offers.put(DaemonError("the stage is closed"))
        self._shim.keeper.join(TIMEOUT_S)
        assert not self._thread.is_alive() and not self._shim.keeper.is_alive()
        for end in (self._editors_end, *self._ends):
            end.close()

    def _connect(self, _: Callable[[str], None]) -> client.Client:
        offer = self._offers.get()
        if isinstance(offer, BaseException):
            raise offer
        return client.Client(offer, wire.FrameReader(offer.recv), os.getpid(), "test")


@pytest.fixture
def stage() -> Iterator[Stage]:
    """Nothing has happened yet."""
    made = Stage()
    yield made
    made.end()


def test_messages_pass_unchanged_both_ways(stage: Stage) -> None:
    """Requests, answers and notifications of either side."""
    daemon = stage.started()
    stage.editor.send("textDocument/inlineCompletion", "a", params={"x": "é\u2028"})
    asked = daemon.receive()
    assert (asked["id"], asked["params"]) == ("a", {"x": "é\u2028"})
    daemon.send(request_id="a", result={"items": [{"insertText": "y"}]})
    assert stage.editor.receive()["result"] == {"items": [{"insertText": "y"}]}
    daemon.send("workspace/applyEdit", "d", params={})
    assert stage.editor.receive()["method"] == "workspace/applyEdit"
    stage.editor.send(request_id="d", result={"applied": True})
    assert daemon.receive() == {"jsonrpc": "2.0", "id": "d", "result": {"applied": True}}


def test_what_an_editor_says_before_there_is_a_daemon_is_not_lost(stage: Stage) -> None:
    """The first daemon hears all of it, in order."""
    stage.editor.send("initialize", 1, params={})
    stage.editor.send("initialized", params={})
    daemon = stage.daemon()
    assert [daemon.receive()["method"] for _ in range(2)] == ["initialize", "initialized"]


def test_after_a_death_the_next_daemon_knows_the_text_and_the_editor_noticed_nothing(stage: Stage) -> None:
    """What was in flight is answered empty, once; what is typed in between is in the text; nothing is sent twice."""
    daemon = stage.started()
    stage.editor.send("textDocument/inlineCompletion", 2, params={})
    daemon.receive()
    daemon.hang_up()
    assert stage.editor.receive() == {"jsonrpc": "2.0", "id": 2, "result": {"items": []}}
    spot = {"line": 0, "character": 1}
    typed = {"range": {"start": spot, "end": spot}, "text": "yz"}
    changed = {"textDocument": {"uri": ITEM["uri"], "version": 2}, "contentChanges": [typed]}
    stage.editor.send("textDocument/didChange", params=changed)
    stage.editor.send("textDocument/inlineCompletion", 3, params={})
    assert stage.editor.receive() == {"jsonrpc": "2.0", "id": 3, "result": {"items": []}}

    second = stage.daemon()
    again = second.receive()
    assert again["method"] == "initialize"
    second.send(request_id=again["id"], result={"capabilities": {}})
    told = [second.receive() for _ in range(2)]
    assert [message["method"] for message in told] == ["initialized", "textDocument/didOpen"]
    assert told[1]["params"]["textDocument"] == {**ITEM, "version": 2, "text": "xyz"}
    stage.editor.send("textDocument/inlineCompletion", 4, params={})
    assert second.receive()["id"] == 4
    second.send(request_id=4, result={"items": []})
    assert stage.editor.receive()["id"] == 4


def test_deaths_in_a_row_end_the_attempts_with_one_message(stage: Stage) -> None:
    """No loop that never ends; what the editor asks for then is answered at once."""
    stage.started().hang_up()
    for _ in range(MAX_DEATHS - 1):
        stage.fail(DaemonError("it did not start", hint="look at its log"))
    shown = stage.editor.receive()
    assert shown["method"] == "window/showMessage"
    assert "it did not start" in shown["params"]["message"]
    assert "look at its log" in shown["params"]["message"]
    stage.editor.send("textDocument/codeAction", 2, params={})
    assert stage.editor.receive() == {"jsonrpc": "2.0", "id": 2, "result": []}


def test_deaths_long_apart_do_not_add_up(stage: Stage) -> None:
    """One in five minutes is no reason to give up."""
    stage.started().hang_up()
    for number in range(1, MAX_DEATHS + 2):
        daemon = stage.daemon()
        again = daemon.receive()
        daemon.send(request_id=again["id"], result={"capabilities": {}})
        assert [daemon.receive()["method"] for _ in range(2)] == ["initialized", "textDocument/didOpen"]
        if number <= MAX_DEATHS:
            stage.now = 301.0 * number
            daemon.hang_up()


def test_a_daemon_that_can_not_start_is_said_as_the_answer_to_initialize(stage: Stage) -> None:
    """The editor shows that; it decides whether to try again."""
    stage.editor.send("initialize", 1, params={})
    for _ in range(MAX_DEATHS):
        stage.fail(DaemonError("no daemon for you"))
    said = [stage.editor.receive() for _ in range(2)]  # in either order: it may fail before it is asked
    (answer,) = (message for message in said if "id" in message)
    assert (answer["id"], answer["error"]["message"]) == (1, "no daemon for you")
    assert {message.get("method") for message in said} == {None, "window/showMessage"}


def test_the_daemon_hears_when_the_editor_goes(stage: Stage) -> None:
    """After `shutdown` and `exit` the end is in order."""
    daemon = stage.started()
    stage.editor.send("shutdown", 2)
    daemon.receive()
    daemon.send(request_id=2, result=None)
    stage.editor.receive()
    stage.editor.send("exit")
    assert daemon.is_hung_up()
    stage.end()
    assert stage.exit_code == 0


def test_an_editor_that_speaks_something_else_is_left(stage: Stage) -> None:
    """A message without a length is the end of it."""
    stage.editor._connection.sendall(b"hello, is anybody there? " * 200)
    stage._thread.join(TIMEOUT_S)
    assert stage.exit_code == 1
