"""The client side: interrupts at any point, a daemon that is being born, several clients that start one."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from qcn_agent import __version__
from qcn_agent.daemon import client, endpoint, wire
from qcn_agent.errors import DaemonDiedError, DaemonError, QcnError

# A daemon that outlives its client is what these tests are about.
pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
ANSWERS: tuple[dict[str, Any], ...] = (
    {"method": "qcn/event", "params": {"text": "working"}},
    {"method": "qcn/event", "params": {"text": "still working"}},
    {"id": 1, "error": {"message": "cancelled"}},
    {"method": "qcn/event", "params": {"text": "late"}},
    {"id": 2, "result": "second"},
)


@contextlib.contextmanager
def talking(receive: Callable[[socket.socket, int], bytes]) -> Iterator[tuple[client.Client, socket.socket]]:
    """A client whose daemon has said all of ANSWERS already, and the daemon's end; the client reads by `receive`."""
    near, far = socket.socketpair()
    far.sendall(b"".join(map(wire.encode, ANSWERS)))
    with far, client.Client(near, wire.FrameReader(lambda size: receive(near, size)), 1, "0") as connection:
        yield connection, far


@pytest.mark.parametrize("chunk_bytes", [7, 100])
def test_interrupt_between_any_two_parts_keeps_the_connection_usable(chunk_bytes: int) -> None:
    """Ctrl-C anywhere in the answers, also inside a frame: the confirmation is found, the next answer is its own."""
    num_bytes = sum(len(wire.encode(answer)) for answer in ANSWERS[:3])
    for number in range(-(-num_bytes // chunk_bytes)):
        left = number

        def receive(near: socket.socket, size: int) -> bytes:
            nonlocal left
            left -= 1
            if left == -1:
                raise KeyboardInterrupt
            return near.recv(min(size, chunk_bytes))

        with talking(receive) as (connection, far):
            with pytest.raises(KeyboardInterrupt):
                connection.request("first", {})
            assert connection.request("second", {}) == "second"
            sent = wire.FrameReader(far.recv)
            said = []
            for _ in range(3):
                said.append(sent.peek())
                sent.drop()

        assert [message["method"] for message in said if message] == ["first", "$/cancelRequest", "second"]


def test_interrupt_of_a_listener_keeps_the_connection_usable() -> None:
    """Ctrl-C while an event is being shown."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with talking(lambda near, size: near.recv(size)) as (connection, _):
        with pytest.raises(KeyboardInterrupt):
            connection.request("first", {}, interrupt)
        assert connection.request("second", {}) == "second"


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), BrokenPipeError(), OSError(28, "no space left")])
def test_what_comes_after_an_interruption_is_kept(failure: BaseException) -> None:
    """Ctrl-C, and a listener whose output is gone: the request is cancelled, what was said meanwhile is there."""

    def fail(*_: Any) -> None:
        raise failure

    with talking(lambda near, size: near.recv(size)) as (connection, far):
        with pytest.raises(type(failure)):
            connection.request("first", {}, fail)
        sent = wire.FrameReader(far.recv)
        sent.peek()
        sent.drop()
        cancel = sent.peek()

    assert cancel is not None
    assert cancel["method"] == "$/cancelRequest"
    assert connection.is_confirmed
    assert [params["text"] for _, params in connection.missed] == ["working", "still working"]


def test_unconfirmed_interruption_is_told_apart() -> None:
    """The daemon dies while it is asked to stop: nobody may say that it has put the tree back."""

    def die(_: str, __: Any) -> None:
        far.shutdown(socket.SHUT_WR)
        raise KeyboardInterrupt

    near, far = socket.socketpair()
    far.sendall(wire.encode(ANSWERS[0]))
    with far, client.Client(near, wire.FrameReader(near.recv), 1, "0") as connection:
        with pytest.raises(KeyboardInterrupt):
            connection.request("first", {}, die)

        assert not connection.is_confirmed


def test_error_answers_and_late_events_do_not_disturb_the_next_request() -> None:
    """An answer is taken off, whether it is good or bad."""
    heard: list[str] = []
    with talking(lambda near, size: near.recv(size)) as (connection, _):
        with pytest.raises(QcnError, match="cancelled"):
            connection.request("first", {}, lambda _, params: heard.append(params["text"]))
        assert connection.request("second", {}, lambda _, params: heard.append(params["text"])) == "second"

    assert heard == ["working", "still working", "late"]


@pytest.mark.parametrize("last", [b"", b"Content-Le", wire.encode({"id": 1})[:-1]])
def test_lost_connection_is_a_death(last: bytes) -> None:
    """An end between frames or inside one: the daemon has died, which other errors must not be taken for."""
    near, far = socket.socketpair()
    far.sendall(last)
    far.shutdown(socket.SHUT_WR)

    with (
        far,
        client.Client(near, wire.FrameReader(near.recv), 1, "0") as connection,
        pytest.raises(DaemonDiedError, match="died in the middle"),
    ):
        connection.request("first", {})


@pytest.fixture
def dead_daemon() -> None:
    """What kill -9 leaves: an address, a token, a socket file that nobody listens on; and no lock."""
    endpoint.new_token()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as abandoned:
        abandoned.bind(str(endpoint.socket_path()))
    endpoint.publish(endpoint.Endpoint(2**22, str(endpoint.socket_path()), __version__))


@pytest.fixture
def stopped_at_the_end() -> Iterator[None]:
    """Ends a daemon that the test has started."""
    yield
    connection = client.connect_to_running()
    if connection is not None:
        with connection:
            connection.request("qcn/stop", {})
        client.wait_until_gone()


def test_daemon_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It hangs, or was halted: `stop` would not help, so the advice is its process id."""
    monkeypatch.setattr(wire, "HELLO_TIMEOUT_S", 0.05)
    lock = endpoint.take_lock()
    assert lock is not None
    with lock, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as silent:
        silent.bind(str(endpoint.socket_path()))
        silent.listen()
        endpoint.new_token()
        endpoint.publish(endpoint.Endpoint(4711, str(endpoint.socket_path()), __version__))
        with pytest.raises(DaemonError, match="does not answer") as caught:
            client.connect_to_running()
    assert "kill 4711" in caught.value.hint


def test_several_clients_after_a_kill_get_one_daemon(dead_daemon: None, stopped_at_the_end: None) -> None:
    """Three terminals at once, each with a daemon of its own to start: one daemon wins, and all are served by it."""
    pids: list[int] = []

    def ask() -> None:
        with client.connect(lambda _: None) as connection:
            pids.append(connection.pid)

    clients = [threading.Thread(target=ask) for _ in range(3)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join(60)

    assert len(pids) == 3
    assert len(set(pids)) == 1


def test_newborn_daemon_is_waited_for(dead_daemon: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Someone has the lock, the address is still the dead one's: nobody listens yet, which is no reason to give up."""
    address = endpoint.find()
    assert address is not None
    with endpoint.take_lock(), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as newborn:  # type: ignore[union-attr]
        endpoint.new_token()
        endpoint.publish(address)
        with pytest.raises(client.NobodyListensError):
            client.connect_to_running()

        def greet() -> None:
            peer, _ = newborn.accept()
            with peer:
                wire.FrameReader(peer.recv).peek()
                peer.sendall(wire.encode({"method": "qcn/welcome", "params": {"pid": 7, "version": __version__}}))

        greeter = threading.Thread(target=greet)

        def come_up(_: float) -> None:
            """The client has tried in vain and waits."""
            Path(address.socket).unlink()
            newborn.bind(address.socket)
            newborn.listen()
            greeter.start()

        monkeypatch.setattr(time, "sleep", come_up)
        with client.connect(lambda _: None) as connection:
            assert connection.pid == 7
        greeter.join(10)


def test_daemon_that_is_just_ending_is_waited_for(monkeypatch: pytest.MonkeyPatch, stopped_at_the_end: None) -> None:
    """It still holds its lock while it unloads: a new one is started when it is gone, and not before."""
    old = endpoint.take_lock()
    assert old is not None
    real, naps = time.sleep, 0

    def end_after_a_while(seconds: float) -> None:
        nonlocal naps
        naps += 1
        if naps == 3:
            old.close()
        real(seconds)

    monkeypatch.setattr(time, "sleep", end_after_a_while)
    with client.connect(lambda _: None) as connection:
        assert connection.request("qcn/status", {})["pid"] == connection.pid
    assert naps >= 3


def test_daemon_that_never_ends_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time for a start the client gives up, and says on whom it has waited."""
    monkeypatch.setattr(client, "START_TIMEOUT_S", 0.1)
    with endpoint.take_lock(), pytest.raises(DaemonError, match="has not ended") as caught:  # type: ignore[union-attr]
        client.connect(lambda _: None)

    assert "did not start" not in str(caught.value)


def test_started_daemon_has_the_clients_model_and_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped_at_the_end: None
) -> None:
    """It runs in another folder, so it must see absolute paths: of the model, and of its own home."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QCN_AGENT_HOME", "near")
    monkeypatch.setenv("QCN_MODEL_PATH", "ignored.gguf")

    with client.connect(lambda _: None, str(tmp_path / "model.gguf")) as connection:
        model = connection.request("qcn/status", {})["model"]

    assert model == {"state": "none", "path": str(tmp_path / "model.gguf")}
    assert (tmp_path / "near" / "state" / "daemon.log").is_file()
