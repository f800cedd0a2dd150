"""Where the daemon listens and how a client proves who it is: files in the state directory. Standard library only.

daemon.lock   held (flock) while the daemon lives, so there is never a second model in memory
daemon.json   pid, socket path, version; written when it listens
daemon.token  256 bits, 0600; the command jail can't read it
daemon.log    what the daemon and llama.cpp have to say
"""

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from qcn_agent import paths
from qcn_agent.errors import DaemonError
from qcn_tools import scratch

MAX_SOCKET_PATH = 100  # bytes; sun_path holds 108 on Linux and 104 on macOS
_CLAIM_TRIES = 100


@dataclass(frozen=True)
class Endpoint:
    """A daemon that listens."""

    pid: int
    socket: str
    version: str


def log_file() -> Path:
    """The daemon's log."""
    return paths.state_dir() / "daemon.log"


def socket_path() -> Path:
    """Where the daemon listens: in the state directory, or, if that path is too long, in a private temporary one."""
    path = paths.state_dir() / "daemon.sock"
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"qcn-{os.getuid()}-{digest}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if status.st_uid != os.getuid() or status.st_mode & 0o077 or folder.is_symlink():
        raise DaemonError(f"{folder} is not private to you", hint="remove it, or set QCN_AGENT_HOME to a short path")
    return folder / "daemon.sock"


def take_socket() -> tuple[Path, int | None]:
    """The path to listen on, with nothing there, and the claim on its folder if that is a temporary one.

    What killed daemons have left in the temporary directory is swept first.
    """
    scratch.sweep()
    path, claim = socket_path(), None
    for _ in range(_CLAIM_TRIES if path.parent != paths.state_dir() else 0):
        if (claim := scratch.claim(path.parent)) is not None:
            break
        socket_path()  # makes it again, should another daemon have swept it just now
    path.unlink(missing_ok=True)
    return path, claim


def leave_socket(path: Path, claim: int | None) -> None:
    """Take away what `take_socket` gave."""
    path.unlink(missing_ok=True)
    if claim is not None:
        with contextlib.suppress(OSError):
            path.parent.rmdir()
        os.close(claim)


def publish(endpoint: Endpoint) -> None:
    """Tell clients where the daemon listens."""
    _write_private(paths.state_dir() / "daemon.json", json.dumps(asdict(endpoint)))


def find() -> Endpoint | None:
    """The daemon that says it listens, if any; it may be dead by now."""
    try:
        table = json.loads((paths.state_dir() / "daemon.json").read_text(encoding="utf-8"))
        return Endpoint(int(table["pid"]), str(table["socket"]), str(table["version"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def withdraw() -> None:
    """Forget a daemon that ends."""
    for name in ("daemon.json", "daemon.token"):
        (paths.state_dir() / name).unlink(missing_ok=True)


def new_token() -> str:
    """Make and store the token of this daemon's life."""
    token = secrets.token_hex(32)
    _write_private(paths.state_dir() / "daemon.token", token)
    return token


def read_token() -> str:
    """The token of the running daemon. Raises DaemonError when there is none."""
    try:
        return (paths.state_dir() / "daemon.token").read_text(encoding="utf-8")
    except OSError as error:
        raise DaemonError(f"can't read the daemon's token: {error}", hint="is it another user's daemon?") from error


def take_lock(timeout_s: float = 0.0) -> IO[str] | None:
    """Become the only daemon: the open lock file to hold on to, or None when another one lives.

    What a daemon that was killed has left is forgotten. Without a daemon, a lock that is taken is one that a client
    looks at just now: a starting daemon waits a little (`timeout_s`).
    """
    file = (paths.state_dir() / "daemon.lock").open("a")
    deadline = time.monotonic() + timeout_s
    while not _locked(file, fcntl.LOCK_EX):
        if time.monotonic() >= deadline:
            file.close()
            return None
        time.sleep(0.02)
    withdraw()
    return file


def is_locked() -> bool:
    """Whether a daemon lives. Looks at the lock by sharing it for a moment, so clients don't see one another."""
    with (paths.state_dir() / "daemon.lock").open("a") as file:
        return not _locked(file, fcntl.LOCK_SH)


def _locked(file: IO[str], how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write_private(path: Path, text: str) -> None:
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(path)
