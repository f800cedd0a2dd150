"""Nobody else reads or replaces our files, and nothing that lies in their folder stops us."""

import os
import stat
from pathlib import Path

import pytest

from qcn_agent.engine.private_file import check_folder, is_temporary, open_regular, write_whole


def test_a_file_is_whole_and_private(tmp_path: Path) -> None:
    """So is the folder that is made for it; nothing else is left in there."""
    file = tmp_path / "kv" / "x"
    old = os.umask(0)
    try:
        write_whole(file, (b"ab", memoryview(b"cd")))
    finally:
        os.umask(old)
    assert file.read_bytes() == b"abcd"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert list(file.parent.iterdir()) == [file]


def test_a_link_in_the_place_of_a_file_is_replaced(tmp_path: Path) -> None:
    """What it points to is not written to."""
    tmp_path.chmod(0o700)
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    (tmp_path / "x").symlink_to(victim)
    write_whole(tmp_path / "x", (b"new",))
    assert victim.read_bytes() == b"mine"
    assert not (tmp_path / "x").is_symlink()


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    """A part that can't be written, or a directory in the file's place."""
    tmp_path.chmod(0o700)
    (tmp_path / "x").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_whole(tmp_path / "x", (b"new",))
    assert [file.name for file in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_folder_that_is_open_to_others_is_not_used(tmp_path: Path, mode: int) -> None:
    """The message says how to close it."""
    tmp_path.chmod(mode)
    with pytest.raises(PermissionError, match="chmod 700"):
        check_folder(tmp_path)
    with pytest.raises(PermissionError):
        write_whole(tmp_path / "x", (b"",))
    assert list(tmp_path.iterdir()) == []


def test_only_a_real_folder_of_ours_is_used(tmp_path: Path) -> None:
    """Not a link to one, not a file, not another user's."""
    tmp_path.chmod(0o700)
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "file").touch()
    for place in ("link", "file"):
        with pytest.raises(NotADirectoryError):
            check_folder(tmp_path / place)
    if os.geteuid() == 0:
        os.chown(tmp_path, 12345, -1)
        with pytest.raises(PermissionError, match="another user"):
            check_folder(tmp_path)
        os.chown(tmp_path, 0, -1)
    check_folder(tmp_path)


def test_only_a_plain_file_is_opened(tmp_path: Path) -> None:
    """A pipe that nobody writes to would block for ever."""
    (tmp_path / "file").write_bytes(b"abc")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "folder").mkdir()
    num_open = len(list(Path("/dev/fd").iterdir()))
    for name in ("pipe", "link", "folder", "nothing"):
        with pytest.raises(OSError, match=name):
            open_regular(tmp_path / name)
    assert len(list(Path("/dev/fd").iterdir())) == num_open
    with open_regular(tmp_path / "file") as stream:
        assert stream.read() == b"abc"


def test_a_half_written_file_shows() -> None:
    """By its name, which no complete one has."""
    assert is_temporary(Path("x.a.b.0123.tmp"))
    assert not is_temporary(Path("x.a.b"))
