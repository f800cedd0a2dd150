"""The one place where a path that a model wrote becomes a file.

Everything is opened from the root down, a component at a time and without following links, so that a path that is
swapped between the check and the use is refused and never followed.
"""

import contextlib
import difflib
import functools
import os
import secrets
import stat
import subprocess
from collections.abc import Callable, Coroutine, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from qcn_tools.base import ChangedMeanwhileError, Observation
from qcn_tools.environment import ENVIRONMENT_MARKS
from qcn_tools.git import git_argv, git_env

MAX_FILE_BYTES = 10_000_000
MAX_FILES = 50_000
READ_ONLY_NAMES = ("qcn-agent.toml",)  # our own settings: what is confined may not loosen its confinement
_UNLISTED = {".git", ".venv", "venv", "node_modules", "__pycache__", ".hg", ".svn", ".tox", ".mypy_cache"}
_GIT_TIMEOUT_S = 10.0
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # non-blocking: a FIFO must not hang us

T = TypeVar("T")


class PathRefused(Exception):
    """A path the model may not use; `reason` completes the sentence "refused: ..."."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


def observes_refusals(
    run: Callable[[T, Mapping[str, Any]], Coroutine[Any, Any, Observation]],
) -> Callable[[T, Mapping[str, Any]], Coroutine[Any, Any, Observation]]:
    """Turn PathRefused, ChangedMeanwhileError and errors of the file system in a tool's `run` into `refused`."""

    @functools.wraps(run)
    async def guarded(self: T, arguments: Mapping[str, Any]) -> Observation:
        try:
            return await run(self, arguments)
        except PathRefused as refusal:
            path, reason = refusal.path, refusal.reason
        except ChangedMeanwhileError:
            path, reason = str(arguments["path"]), "it was changed by someone else just now; read it again"
        except OSError as error:
            path, reason = str(arguments.get("path", ".")), error.strerror or str(error)
        return Observation("refused", {"path": path, "reason": reason}, ok=False)

    return guarded


class Workspace:
    """A directory that tools work in. `root` is absolute and free of symbolic links."""

    def __init__(self, root: Path) -> None:
        self.given_root = Path(os.path.abspath(root))  # noqa: PTH100 - resolve() would follow links
        self.root = root.resolve(strict=True)

    def resolve(self, path: str, *, write: bool = False) -> Path:
        """Absolute path, free of symbolic links, of what the model calls `path`; it need not exist.

        Raises PathRefused for anything outside the root, in a `.git`, or neither file nor directory; with `write`
        also for the settings of this program, for what is installed (`site-packages`, environments), and for what the
        mode bits keep from being written.
        """
        self._check_text(path)
        real = Path(os.path.realpath(self.root / self._relative_parts(path)))
        if not real.is_relative_to(self.root):
            raise PathRefused(path, "it leads out of the workspace through a symbolic link")
        parts = real.relative_to(self.root).parts
        if any(_is_git(part) for part in parts):
            raise PathRefused(path, "git's own files are off limits")
        if write:
            self._check_writable(path, parts)
        self._check_kind(path, real)
        if write:
            _check_modes(path, real)
        return real

    def relative(self, path: Path) -> str:
        """`path` as the model sees it: relative to the root, with `/`; the root itself is `.`."""
        return path.relative_to(self.root).as_posix()

    def read_bytes(self, path: Path, limit: int = MAX_FILE_BYTES) -> bytes:
        """Contents of a resolved file.

        Raises PathRefused when it is larger than `limit` bytes or not a regular file, FileNotFoundError when missing.
        """
        with self.opened_parent(path) as parent:
            descriptor = self._open(path, parent)
        with os.fdopen(descriptor, "rb") as file:
            size = os.fstat(descriptor).st_size
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise PathRefused(self.relative(path), "it is not a regular file")
            data = b"" if size > limit else file.read(limit + 1)
        if size > limit or len(data) > limit:
            raise PathRefused(self.relative(path), f"it is larger than the limit of {limit:,} bytes ({size:,})")
        return data

    @contextlib.contextmanager
    def opened_parent(self, path: Path, *, create: bool = False) -> Iterator[int]:
        """Descriptor of the directory that holds a resolved `path`, walked to without following links.

        With `create`, missing directories are made on the way. Raises PathRefused where a component became a link.
        """
        current = os.open(self.root, _DIRECTORY)
        try:
            for name in path.relative_to(self.root).parts[:-1]:
                if create:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(name, dir_fd=current)
                below = self._open_directory(name, current, path)
                os.close(current)
                current = below
            yield current
        finally:
            os.close(current)

    def files(self) -> list[str]:
        """Sorted relative paths of tracked files and of untracked ones that are not ignored; at most 50,000.

        Without git: all files but those in well-known directories of generated things. Names that are not UTF-8 are
        left out, as no model can name them.
        """
        listed = self._git_files()
        names = self._walked_files() if listed is None else listed
        return sorted(name for name in names if _is_utf8(name))[:MAX_FILES]

    def nearest(self, path: str, *, limit: int = 3) -> tuple[str, ...]:
        """Existing files whose path looks most like `path`: the same name elsewhere first, then similar spelling."""
        names = self.files()[:5000]
        wanted = PurePosixPath(path).name
        same = [name for name in names if PurePosixPath(name).name == wanted]
        close = difflib.get_close_matches(path, names, n=limit, cutoff=0.6)
        by_name = {PurePosixPath(name).name: name for name in names}
        similar = [by_name[name] for name in difflib.get_close_matches(wanted, by_name, n=limit, cutoff=0.7)]
        return tuple(dict.fromkeys([*same[:limit], *close, *similar]))[:limit]

    def _check_text(self, path: str) -> None:
        if not path.strip():
            raise PathRefused(path, "the path is empty")
        if "\0" in path or not _is_utf8(path):
            raise PathRefused(path.replace("\0", "\\0").encode(errors="replace").decode(), "it is not a file name")
        if len(path) > 4096 or any(len(part.encode()) > 255 for part in path.split("/")):
            raise PathRefused(path[:80] + "…", "it is too long")

    def _relative_parts(self, path: str) -> PurePosixPath:
        pure = PurePosixPath(path)
        if ".." in pure.parts:
            raise PathRefused(path, "`..` is not allowed; give the path from the root of the workspace")
        if not pure.is_absolute():
            return pure
        for root in (self.root, self.given_root):
            if pure.is_relative_to(root):
                return pure.relative_to(root)
        raise PathRefused(path, "it is outside the workspace; give the path from the root of the workspace")

    def _check_writable(self, path: str, parts: tuple[str, ...]) -> None:
        folded = tuple(part.casefold() for part in parts)
        if len(parts) == 1 and folded[0] in READ_ONLY_NAMES:
            raise PathRefused(path, "it configures this program")
        installed = {".venv", "site-packages"} & set(folded) or folded[:1] == ("venv",)
        above = [self.root.joinpath(*parts[:depth]) for depth in range(1, len(parts) + 1)]
        if installed or any((directory / mark).exists() for directory in above for mark in ENVIRONMENT_MARKS):
            raise PathRefused(path, "it belongs to an installed environment, not to the project")

    def _check_kind(self, path: str, real: Path) -> None:
        try:
            mode = real.lstat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:  # a loop of links, or a directory that may not be entered
            raise PathRefused(path, error.strerror or str(error)) from error
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise PathRefused(path, "it is neither a file nor a directory")

    def _open_directory(self, name: str, parent: int, path: Path) -> int:
        try:
            return os.open(name, _DIRECTORY, dir_fd=parent)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise PathRefused(self.relative(path), f"{name} is not a directory") from error

    def _open(self, path: Path, parent: int) -> int:
        try:
            return os.open(path.name, _READ, dir_fd=parent)
        except FileNotFoundError:
            raise
        except OSError as error:  # a link (ELOOP), a socket (ENXIO), or no permission
            raise PathRefused(self.relative(path), f"it can't be opened: {error.strerror}") from error

    def _git_files(self) -> list[str] | None:
        argv = git_argv("-C", str(self.root), "ls-files", "--cached", "--others", "--exclude-standard", "-z")
        try:
            done = subprocess.run(
                argv,
                check=False,
                cwd="/",
                env=git_env(outside=self.root),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_GIT_TIMEOUT_S,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        if done.returncode != 0:
            return None
        names = {os.fsdecode(name) for name in done.stdout.split(b"\0") if name}  # a conflict lists a path thrice
        return [name for name in names if _is_regular(self.root / name)]

    def _walked_files(self) -> list[str]:
        found: list[str] = []
        for directory, subdirectories, names in os.walk(self.root):
            subdirectories[:] = sorted(name for name in subdirectories if name not in _UNLISTED)
            here = Path(directory)
            found += [self.relative(here / name) for name in names if _is_regular(here / name)]
            if len(found) >= MAX_FILES:
                break
        return found


class AtomicWriter:
    """Writer that replaces files in one step: a reader sees the old bytes or the new ones, never a mixture.

    The mode bits of an existing file are kept; missing directories are created. A hard link is broken, so that a
    second name outside the workspace keeps the old bytes.
    """

    def __init__(self, root: Path) -> None:
        self._workspace = Workspace(root)

    def write(self, path: Path, data: bytes, expected: bytes | None) -> None:
        """Replace or create `path`, which is absolute and holds `expected` (None: does not exist).

        Raises PathRefused, OSError, or ChangedMeanwhileError when it holds something else, and then changes nothing.
        """
        target = self._workspace.resolve(str(path), write=True)
        with self._workspace.opened_parent(target, create=True) as parent:
            temporary = f".{target.name[:100]}.{secrets.token_hex(6)}.tmp"
            descriptor = os.open(temporary, _NEW_FILE, 0o666, dir_fd=parent)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(data)
                    self._keep_mode(target.name, parent, descriptor)
                    file.flush()
                    os.fsync(descriptor)
                if not _holds(target.name, parent, expected):
                    raise ChangedMeanwhileError(str(path))
                os.rename(temporary, target.name, src_dir_fd=parent, dst_dir_fd=parent)
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=parent)
                raise
            os.fsync(parent)

    def _keep_mode(self, name: str, parent: int, descriptor: int) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.fchmod(descriptor, stat.S_IMODE(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode))


def _holds(name: str, parent: int, expected: bytes | None) -> bool:
    """Whether a file has exactly these bytes; None: whether there is nothing of that name."""
    try:
        descriptor = os.open(name, _READ, dir_fd=parent)
    except FileNotFoundError:
        return expected is None
    except OSError:  # a link or a socket, which is not what anyone read
        return False
    try:
        if expected is None or not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return False
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(len(expected) + 1) == expected
    finally:
        os.close(descriptor)


def _check_modes(path: str, real: Path) -> None:
    """Raises PathRefused for a read-only file, and for one whose directory is read-only.

    By the mode bits: replacing a file needs no right to write it, and root needs none at all, but a person who took
    these rights away meant it.
    """
    if real.is_file() and not _has_write_bit(real):
        raise PathRefused(path, "it is read-only; only its owner may change that")
    above = next(directory for directory in real.parents if directory.is_dir())
    if not _has_write_bit(above):
        raise PathRefused(path, "its directory is read-only; only its owner may change that")


def _has_write_bit(path: Path) -> bool:
    """For one's own files, and for root, the owner's bit; else that of group or others, the kernel decides then."""
    status = path.stat()
    wanted = stat.S_IWUSR if os.geteuid() in (0, status.st_uid) else stat.S_IWGRP | stat.S_IWOTH
    return bool(status.st_mode & wanted)


def _is_git(name: str) -> bool:
    """Whether a file system that ignores case or invisible characters could take `name` for `.git`."""
    visible = "".join(character for character in name if character.isprintable())
    return visible.casefold().rstrip(". ") in (".git", "git~1")


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_regular(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False
