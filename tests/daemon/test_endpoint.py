"""The files by which clients find the daemon: private, exclusive, gone at the end."""

import fcntl
import os
import tempfile
import time
from pathlib import Path

import pytest

from qcn_agent.daemon import endpoint
from qcn_agent.errors import DaemonError
from qcn_tools import scratch


def test_token_and_description_are_private(home: Path) -> None:
    """Nobody else may read them; the folder itself is closed too."""
    token = endpoint.new_token()
    endpoint.publish(endpoint.Endpoint(1, "/s", "0"))

    assert len(bytes.fromhex(token)) * 8 == 256
    assert endpoint.read_token() == token
    for name in ("daemon.token", "daemon.json"):
        assert (home / "state" / name).stat().st_mode & 0o077 == 0
    assert (home / "state").stat().st_mode & 0o077 == 0


def test_lock_is_held_once() -> None:
    """A second daemon does not start while the first one lives."""
    first = endpoint.take_lock()

    assert first is not None
    assert endpoint.take_lock() is None
    assert endpoint.is_locked()
    first.close()
    assert not endpoint.is_locked()


def test_looking_disturbs_nobody(home: Path) -> None:
    """Clients that look at the same time don't take one another for a daemon."""
    endpoint.take_lock().close()  # type: ignore[union-attr]
    with (home / "state" / "daemon.lock").open("a") as other:
        fcntl.flock(other, fcntl.LOCK_SH)

        assert not endpoint.is_locked()


def test_starting_daemon_waits_for_a_client_that_looks(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client looks at the lock in the very moment of the start: the next try succeeds."""
    endpoint.take_lock().close()  # type: ignore[union-attr]
    with (home / "state" / "daemon.lock").open("a") as client:
        fcntl.flock(client, fcntl.LOCK_SH)
        assert endpoint.take_lock() is None
        monkeypatch.setattr(time, "sleep", lambda _: fcntl.flock(client, fcntl.LOCK_UN))

        lock = endpoint.take_lock(timeout_s=10)

    assert lock is not None
    lock.close()


def test_lock_of_a_living_daemon_is_waited_for_in_vain() -> None:
    """The wait has an end."""
    with endpoint.take_lock() as lock:  # type: ignore[union-attr]
        assert endpoint.take_lock(timeout_s=0.05) is None
        assert not lock.closed


def test_new_daemon_forgets_what_a_killed_one_left() -> None:
    """With the lock comes a clean slate: no client may be led to a dead socket."""
    endpoint.new_token()
    endpoint.publish(endpoint.Endpoint(1, "/s", "0"))

    with endpoint.take_lock():  # type: ignore[union-attr]
        assert endpoint.find() is None


def test_withdraw_leaves_no_trace() -> None:
    """After the end there is neither an address nor a token."""
    endpoint.new_token()
    endpoint.publish(endpoint.Endpoint(1, "/s", "0"))

    endpoint.withdraw()

    assert endpoint.find() is None
    with pytest.raises(DaemonError, match="token"):
        endpoint.read_token()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}', '{"pid": 1}'])
def test_damaged_description_counts_as_none(home: Path, text: str) -> None:
    """A half-written file is no daemon."""
    endpoint.publish(endpoint.Endpoint(1, "/s", "0"))
    (home / "state" / "daemon.json").write_text(text)

    assert endpoint.find() is None


def test_long_home_gets_a_short_private_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket path has about 100 bytes; a deep home directory must not break the daemon."""
    monkeypatch.setenv("QCN_AGENT_HOME", str(tmp_path / ("deep" * 30)))

    path = endpoint.socket_path()

    assert len(os.fsencode(path)) <= endpoint.MAX_SOCKET_PATH
    assert path.parent.stat().st_mode & 0o077 == 0
    path.parent.rmdir()


def test_prepared_socket_folder_of_someone_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that others can write to is not used for the socket."""
    monkeypatch.setenv("QCN_AGENT_HOME", str(tmp_path / ("deep" * 30)))
    folder = endpoint.socket_path().parent
    folder.chmod(0o777)

    with pytest.raises(DaemonError, match="private"):
        endpoint.socket_path()
    folder.rmdir()


def test_socket_folder_lives_as_long_as_its_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it listens nobody sweeps the folder; at the end it is gone, and with a short home there is none."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("QCN_AGENT_HOME", str(tmp_path / ("deep" * 30)))
    path, claim = endpoint.take_socket()
    path.touch()

    assert path.parent.parent == tmp_path
    assert scratch.sweep() == []
    endpoint.leave_socket(path, claim)
    assert not path.parent.exists()


def test_taking_a_socket_sweeps_what_was_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that was killed has left a folder and a dead socket; both are gone before the next one listens."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("QCN_AGENT_HOME", str(tmp_path / ("deep" * 30)))
    path, claim = endpoint.take_socket()
    path.touch()
    assert claim is not None
    os.close(claim)
    left, descriptor = scratch.make_scratch("tmp")
    os.close(descriptor)

    again, claim = endpoint.take_socket()

    assert again == path
    assert not path.exists()
    assert not left.exists()
    endpoint.leave_socket(again, claim)
