"""Folders of ours beside the user's own in the temporary directory: locked while they are used, swept when abandoned.

The lock is one on the folder itself, which the kernel frees when its process dies, however it dies.
"""

import contextlib
import fcntl
import os
import re
import shutil
import stat
import tempfile
from pathlib import Path

PREFIX = "qcn-"
_SCRATCH = re.compile(r"qcn-(tmp|judge)-[a-z0-9_]{8}")
_SOCKET = re.compile(r"qcn-\d+-[0-9a-f]{16}")  # a daemon's, see daemon/endpoint.py
_OLD_SCRATCH = re.compile(r"qcn-[a-z0-9_]{8}")  # of versions that did not lock
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def make_scratch(kind: str) -> tuple[Path, int]:
    """A new folder `qcn-<kind>-…`, 0700, and the descriptor that says that it is in use: close it after removing it."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{kind}-")).resolve()
        descriptor = claim(path)
        if descriptor is not None:  # else a daemon that has just started took it for an abandoned one
            return path, descriptor


def claim(folder: Path) -> int | None:
    """Lock `folder` for as long as the descriptor is open; None when somebody else has it, or it is not there."""
    try:
        descriptor = os.open(folder, _DIRECTORY)
    except OSError:
        return None
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(folder.lstat(), os.fstat(descriptor)):  # not removed in between
            return descriptor
    os.close(descriptor)
    return None


def sweep() -> list[Path]:
    """Remove what killed daemons of this user have left in the temporary directory; returns the paths.

    Ours are folders of this user with our names, 0700, which no living process has claimed: scratch folders go with
    all that is in them, one for a socket when only the socket is in it, those of older versions when they are empty.
    """
    return [path for path in sorted(Path(tempfile.gettempdir()).glob(f"{PREFIX}*")) if _sweep_one(path)]


def _sweep_one(path: Path) -> bool:
    descriptor = claim(path) if _is_ours(path) else None
    if descriptor is None:
        return False
    try:
        if _SCRATCH.fullmatch(path.name):
            remove_tree(path)
        else:
            _remove_if_unused(path)
    finally:
        os.close(descriptor)
    return not path.exists()


def _is_ours(path: Path) -> bool:
    if not any(pattern.fullmatch(path.name) for pattern in (_SCRATCH, _SOCKET, _OLD_SCRATCH)):
        return False
    try:
        status = path.lstat()
    except OSError:
        return False
    is_private = stat.S_ISDIR(status.st_mode) and stat.S_IMODE(status.st_mode) == 0o700
    return is_private and status.st_uid == os.getuid()


def _remove_if_unused(folder: Path) -> None:
    with contextlib.suppress(OSError):
        if _SOCKET.fullmatch(folder.name) and [entry.name for entry in folder.iterdir()] == ["daemon.sock"]:
            (folder / "daemon.sock").unlink()
        folder.rmdir()


def remove_tree(path: Path) -> None:
    """Remove a folder, also where a test made what is in it unreadable."""
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        for directory, names, _ in os.walk(path):
            for name in names:
                if not (Path(directory) / name).is_symlink():
                    (Path(directory) / name).chmod(0o700)
        shutil.rmtree(path, ignore_errors=True)
