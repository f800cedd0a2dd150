"""Who gets in: the same user with the right token, and nobody else."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qcn_agent import __version__
from qcn_agent.daemon import client, endpoint, wire
from qcn_agent.errors import DaemonDiedError

Start = Callable[..., Any]


def say(first: bytes) -> dict[str, Any] | None:
    """Send raw bytes as the first frame and read the answer."""
    where = endpoint.find()
    assert where is not None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(10)
        connection.connect(where.socket)
        connection.sendall(first)
        connection.shutdown(socket.SHUT_WR)
        return wire.FrameReader(connection.recv).peek()


def hello(**changes: Any) -> bytes:
    """A first frame with some parameters changed."""
    params = {"protocol": wire.PROTOCOL, "version": __version__, "token": endpoint.read_token(), **changes}
    return wire.encode({"jsonrpc": "2.0", "method": "qcn/hello", "params": params})


def test_right_token_is_welcome(daemon: Start) -> None:
    """The answer names version and process."""
    daemon()

    answer = say(hello())

    assert answer is not None
    assert answer["params"] == {"protocol": wire.PROTOCOL, "version": __version__, "pid": os.getpid()}


@pytest.mark.parametrize("token", ["", "0" * 64, None, 7, {"a": 1}])
def test_wrong_token_is_refused(daemon: Start, token: object) -> None:
    """No token, a wrong one, or not even text: an error and a closed connection."""
    daemon()

    answer = say(hello(token=token))

    assert answer is not None
    assert answer["error"]["code"] == wire.UNAUTHORIZED


def test_other_protocol_is_refused_with_both_versions(daemon: Start) -> None:
    """An incompatible client learns what it talks to."""
    daemon()

    answer = say(hello(protocol=99, version="9.9"))

    assert answer is not None
    assert answer["error"]["code"] == wire.INCOMPATIBLE
    assert __version__ in answer["error"]["message"]
    assert "9.9" in answer["error"]["message"]


@pytest.mark.parametrize(
    "first",
    [
        b"\r\n",
        b"Content-Length: 999999\r\n\r\n",
        b"Content-Length: 3\r\n\r\nabc",
        b"Content-Length: 2\r\n\r\n[]",
        b"x" * 10_000,
        wire.encode({"jsonrpc": "2.0", "id": 1, "method": "qcn/status"}),
        b"Content-Length: 4000\r\n\r\n" + b"[" * 4000,
    ],
)
def test_garbage_is_hung_up_on_and_the_daemon_lives(daemon: Start, first: bytes) -> None:
    """Whatever a stranger sends, the next client is served."""
    daemon()

    answer = say(first)

    assert answer is None or "error" in answer
    assert "params" in (say(hello()) or {})


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_other_user_is_refused(daemon: Start) -> None:
    """Another uid is turned away although it knows the token and reaches the socket."""
    daemon()
    where = endpoint.find()
    assert where is not None
    frame = hello().hex()
    open_way(Path(where.socket))
    script = (
        "import os, socket, sys\nos.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "s = socket.socket(socket.AF_UNIX); s.settimeout(10); s.connect(sys.argv[1])\n"
        "try:\n    s.sendall(bytes.fromhex(sys.argv[2])); answer = s.recv(4096)\n"
        "except ConnectionError:\n    answer = b''\nprint('connected, got', answer)\n"
    )

    result = subprocess.run(
        [sys.executable, "-c", script, where.socket, frame], capture_output=True, timeout=30, check=True
    )

    assert result.stdout == b"connected, got b''\n"


def open_way(path: Path) -> None:
    """Let others reach `path`, so that only the server's own check is left."""
    path.chmod(0o666)
    for folder in path.parents:
        if folder == Path("/tmp"):
            break
        folder.chmod(0o755)


def test_a_stop_hangs_up_in_order(daemon: Start, caplog: pytest.LogCaptureFixture) -> None:
    """A client that stays connected is told by the end of the stream; nothing goes wrong in the daemon."""
    running = daemon()
    connection = client.connect_to_running()
    assert connection is not None
    connection._socket.settimeout(10)
    with connection:
        running.__exit__()
        with pytest.raises(DaemonDiedError):
            connection.request("qcn/status", {})
    assert [record.getMessage() for record in caplog.records] == []


def test_many_clients_at_once_wait_for_their_turn(daemon: Start) -> None:
    """While the loop is at something else, hundreds can connect; none is told to come again."""
    running, free, sockets = daemon(), threading.Event(), list[socket.socket]()
    where = endpoint.find()
    assert where is not None
    running.call(lambda _: free.wait(30))
    try:
        for _ in range(300):
            sockets.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            sockets[-1].settimeout(10)
            sockets[-1].connect(where.socket)
    finally:
        free.set()
        for one in sockets:
            one.close()
    assert "params" in (say(hello()) or {})


def test_client_reads_the_status(daemon: Start) -> None:
    """The real client over the real socket."""
    daemon()

    connection = client.connect_to_running()

    assert connection is not None
    with connection:
        status = connection.request("qcn/status", {})
    assert status["version"] == __version__
    assert json.loads(json.dumps(status)) == status


def test_unknown_method_is_an_error_and_the_connection_lives(daemon: Start) -> None:
    """A client of another time gets an answer."""
    daemon()
    connection = client.connect_to_running()
    assert connection is not None

    with connection:
        with pytest.raises(Exception, match="no_such"):
            connection.request("qcn/no_such", {})
        assert connection.request("qcn/status", {})["num_clients"] == 1


def test_without_a_daemon_there_is_no_connection() -> None:
    """Nobody listens: None, at once."""
    assert client.connect_to_running() is None


def test_daemon_that_vanished_leaves_no_dead_end(daemon: Start) -> None:
    """A description whose socket is gone is an error that says so."""
    endpoint.new_token()
    endpoint.publish(endpoint.Endpoint(2**22, "/nowhere", __version__))

    with pytest.raises(client.NobodyListensError, match="can't be reached"):
        client.connect_to_running()
