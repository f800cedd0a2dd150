"""Folders in the temporary directory: used by one process, swept when that has died."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from qcn_tools import scratch

HOLD = """
import sys
from qcn_tools import scratch
path, _ = scratch.make_scratch("tmp")
(path / "junit.xml").write_text("half a report")
print(path, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary directory of this test's own."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_killed_owner_leaves_a_folder_that_is_swept(temporary: Path) -> None:
    """While its process lives the folder stays; after kill -9 it goes, with what is in it."""
    env = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", HOLD]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        path = Path(owner.stdout.readline().strip())

        assert scratch.sweep() == []
        assert (path / "junit.xml").is_file()
        owner.send_signal(signal.SIGKILL)
        owner.wait(10)

        assert scratch.sweep() == [path]
        assert not path.exists()


@pytest.mark.parametrize("name", ["qcn-notes", "qcn-demo-abcdefgh", "qcn-tmp-notes", "other", "qcn-abcdefgh/"])
def test_folders_that_are_not_ours_stay(temporary: Path, name: str) -> None:
    """Other names, and folders with the name of an old scratch folder in which there is something."""
    folder = temporary / name
    folder.mkdir(0o700)
    if name.endswith("/"):
        (folder / "mine.txt").write_text("mine")

    assert scratch.sweep() == []
    assert folder.is_dir()


def test_mode_and_kind_must_be_right(temporary: Path) -> None:
    """A folder that others can read, a link and a file are nothing that we made."""
    (temporary / "qcn-tmp-abcdefgh").mkdir(0o755)
    (temporary / "target").mkdir(0o700)
    (temporary / "qcn-tmp-linklink").symlink_to(temporary / "target")
    (temporary / "qcn-tmp-filefile").write_text("x")

    assert scratch.sweep() == []
    assert len(list(temporary.iterdir())) == 4


def test_dead_socket_and_empty_old_folder_go(temporary: Path) -> None:
    """What a killed daemon with a long home has left, and an empty folder of an older version."""
    socket, old = temporary / f"qcn-{os.getuid()}-0123456789abcdef", temporary / "qcn-abcdefgh"
    for folder in (socket, old):
        folder.mkdir(0o700)
    (socket / "daemon.sock").touch()
    claim = scratch.claim(socket)
    assert claim is not None

    assert scratch.sweep() == [old]
    os.close(claim)
    assert scratch.sweep() == [socket]


def test_claim_is_exclusive_and_needs_the_folder(temporary: Path) -> None:
    """One at a time; a folder that is gone, or another one of its name, can't be claimed."""
    path, descriptor = scratch.make_scratch("judge")

    assert path.stat().st_mode & 0o777 == 0o700
    assert scratch.claim(path) is None
    os.close(descriptor)
    again = scratch.claim(path)
    assert again is not None
    os.close(again)
    scratch.remove_tree(path)
    assert scratch.claim(path) is None


def test_remove_tree_gets_into_closed_folders(temporary: Path) -> None:
    """What a test made unreadable goes too, and links are not followed."""
    (temporary / "a" / "b").mkdir(parents=True)
    (temporary / "a" / "b" / "c").write_text("x")
    (temporary / "kept").write_text("x")
    (temporary / "a" / "link").symlink_to(temporary / "kept")
    (temporary / "a" / "b").chmod(0)

    scratch.remove_tree(temporary / "a")

    assert [path.name for path in temporary.iterdir()] == ["kept"]
