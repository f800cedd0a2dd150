"""Files that only their owner can read or replace, in a folder that anybody may have put anything into."""

import os
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

_TEMPORARY = ".tmp"


def check_folder(folder: Path) -> None:
    """Raise OSError unless `folder` is a real directory of ours, closed to others."""
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(f"{folder} is not a folder (a link to one is not taken)")
    if status.st_uid != os.geteuid():
        raise PermissionError(f"{folder} belongs to another user")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise PermissionError(f"{folder} is open to others; chmod 700 closes it")


def open_regular(file: Path) -> BinaryIO:
    """A plain file for reading. Raises OSError for anything else; no link is followed, no pipe or device waited for."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{file.name} is no plain file")
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def write_whole(file: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Make `file` (0600), complete and on the disk, or raise OSError and leave nothing. Its folder is made (0700)."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_folder(file.parent)
    temporary = file.with_name(f"{file.name}.{secrets.token_hex(6)}{_TEMPORARY}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            for part in parts:
                stream.write(part)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.rename(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def is_temporary(file: Path) -> bool:
    """Whether it is being written, or was when its writer died."""
    return file.suffix == _TEMPORARY
