"""Which files a workspace has: what git tracks or would add, else a walk under ignore rules.

Only regular files count. Links are never followed, so that nothing outside is read and nothing goes in circles. Names
that are not UTF-8 are kept (`os.fsdecode`). Paths are relative to the workspace, with forward slashes.
"""

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from qcn_agent.index.git import run_git
from qcn_agent.index.ignore import NEVER, QCNIGNORE, RARELY, IgnoreRules
from qcn_agent.index.limits import MAX_BYTES

_GIT_TIMEOUT_S = 60.0
_MAX_NESTED_REPOSITORIES = 5
_MAX_FOLDER_DEPTH = 128
_GONE = (errno.ENOENT, errno.ELOOP, errno.ENOTDIR)


@dataclass(frozen=True)
class FileStamp:
    """What tells cheaply that a file is the one that was read: bytes, nanoseconds, inode."""

    size: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> "FileStamp":
        """From a stat call."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ino)


def list_files(workspace: Path) -> dict[str, FileStamp]:
    """All files of a workspace and their stamps, sorted by path."""
    rules = IgnoreRules.read(workspace / QCNIGNORE)
    names = _git_files(workspace)
    found = _walk(workspace) if names is None else names
    return stamps(workspace, (name for name in sorted(set(found)) if not is_ignored(rules, name)))


def is_ignored(rules: IgnoreRules | None, path: str) -> bool:
    """Whether `.qcnignore` leaves a file out."""
    return rules is not None and bool(rules.match(path))


def read_file(path: Path) -> tuple[FileStamp, bytes | None] | None:
    """The stamp and the bytes of a regular file; None instead of the bytes of one that is too large or unreadable.

    Links are not followed, and what is no regular file is None altogether.
    """
    try:
        status = path.lstat()
    except (OSError, ValueError):
        return None
    try:
        if not stat.S_ISREG(status.st_mode):
            return None
        if status.st_size > MAX_BYTES:
            return FileStamp.of(status), None
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            return FileStamp.of(status), file.read(min(status.st_size, MAX_BYTES) + 1)
    except OSError as error:
        return None if error.errno in _GONE else (FileStamp.of(status), None)


def stamps(workspace: Path, paths: Iterable[str]) -> dict[str, FileStamp]:
    """The stamps of those paths that are regular files."""
    root, found = os.fspath(workspace), {}
    for path in paths:
        try:
            status = os.lstat(f"{root}/{path}")
        except (OSError, ValueError):
            continue
        if stat.S_ISREG(status.st_mode):
            found[path] = FileStamp.of(status)
    return found


def wanted(workspace: Path, paths: Iterable[str], timeout_s: float = _GIT_TIMEOUT_S) -> set[str]:
    """Those of the paths that belong to the workspace: git would list them, or no ignore rule speaks against them."""
    asked = [path for path in paths if not _leads_outside(workspace, path)]
    rules = IgnoreRules.read(workspace / QCNIGNORE)
    listed = _listed(workspace, asked, timeout_s) if asked else None
    allowed = _allowed_by_rules(workspace, asked) if listed is None else listed
    return {path for path in allowed if not is_ignored(rules, path)}


def is_left_out(workspace: Path, path: str, timeout_s: float = _GIT_TIMEOUT_S) -> bool:
    """Whether a file does not belong to the workspace, or would not once it is on disk: git lists none that isn't.

    What can't be found out is left out. `timeout_s` is for each question to git.
    """
    if _leads_outside(workspace, path) or any(part in NEVER for part in path.split("/")):
        return True
    if wanted(workspace, [path], timeout_s):
        return False
    if os.path.lexists(workspace / path) or is_ignored(IgnoreRules.read(workspace / QCNIGNORE), path):
        return True
    own = next((folder for folder in reversed(_folders(path)) if (workspace / folder / ".git").exists()), "")
    asked = (workspace / own, "check-ignore", "--", path[len(own) :])
    said = run_git(*asked, timeout_s=timeout_s, also_fine=(1,))
    return said is None or bool(said)


def _listed(workspace: Path, paths: Iterable[str], timeout_s: float, depth: int = 0) -> set[str] | None:
    """Of a few paths, those that git lists, here or in the submodules and nested repositories that it lists."""
    asked = set(paths)
    names = _git_ls(workspace, "--", *(f":(literal){path}" for path in asked), timeout_s=timeout_s)
    if names is None:
        return None
    found = asked.intersection(names)
    nested: dict[str, list[str]] = {}
    for path in asked - found if depth < _MAX_NESTED_REPOSITORIES else ():
        folder = next((folder for folder in _folders(path)[1:] if (workspace / folder / ".git").exists()), "")
        if folder and _is_folder(workspace / folder[:-1]):
            nested.setdefault(folder, []).append(path[len(folder) :])
    for folder, inside in nested.items():
        listed = _git_ls(workspace, "--", f":(literal){folder[:-1]}", timeout_s=timeout_s) or ()
        if {folder, folder[:-1]}.intersection(listed):
            found.update(folder + path for path in _listed(workspace / folder, inside, timeout_s, depth + 1) or ())
    return found


def _leads_outside(workspace: Path, path: str) -> bool:
    """Whether a path goes up, or through a link."""
    return ".." in path.split("/") or any((workspace / folder).is_symlink() for folder in _folders(path)[1:])


def _folders(path: str) -> list[str]:
    """The folders that a path lies in, from the workspace itself ("") down; each ends with a slash."""
    parts = path.split("/")
    return ["/".join(parts[:count]) + "/" if count else "" for count in range(len(parts))]


def _git_ls(folder: Path, *arguments: str, timeout_s: float = _GIT_TIMEOUT_S) -> list[str] | None:
    output = run_git(folder, "ls-files", "-co", "--exclude-standard", "-z", *arguments, timeout_s=timeout_s)
    return None if output is None else [os.fsdecode(name) for name in output.split(b"\0") if name]


def _git_files(workspace: Path, depth: int = 0) -> list[str] | None:
    """What git lists, with what it lists in submodules and nested repositories; None where it is no repository."""
    names = _git_ls(workspace)
    if names is None:
        return None
    found: list[str] = []
    for name in names:
        if not name.endswith("/") and not _is_folder(workspace / name):
            found.append(name)
        elif depth < _MAX_NESTED_REPOSITORIES and (workspace / name / ".git").exists():
            nested = _git_files(workspace / name, depth + 1) or []
            found.extend(f"{name.rstrip('/')}/{path}" for path in nested)
    return found


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def _walk(workspace: Path) -> Iterator[str]:
    """Without git: files below the workspace, under the `.gitignore` files met on the way."""
    pending: list[tuple[str, tuple[tuple[str, IgnoreRules], ...], int]] = [("", (), 0)]
    while pending:
        folder, rules, depth = pending.pop()
        own = IgnoreRules.read(workspace / folder / ".gitignore")
        rules = (*rules, (folder, own)) if own else rules
        for entry, path in _entries(workspace, folder):
            is_folder = entry.is_dir(follow_symlinks=False)
            if _is_left_out(path + "/" if is_folder else path, entry.name, rules):
                continue
            if not is_folder:
                yield path
            elif depth < _MAX_FOLDER_DEPTH:
                pending.append((path + "/", rules, depth + 1))


def _entries(workspace: Path, folder: str) -> Iterator[tuple[os.DirEntry[str], str]]:
    try:
        with os.scandir(workspace / folder) as entries:
            for entry in entries:
                yield entry, folder + entry.name
    except OSError:
        return


def _is_left_out(path: str, name: str, rules: tuple[tuple[str, IgnoreRules], ...]) -> bool:
    """By the innermost rule that speaks of the path."""
    if name in NEVER or (path.endswith("/") and name in RARELY):
        return True
    verdicts = (own.match(path[len(folder) :]) for folder, own in reversed(rules))
    return next((verdict for verdict in verdicts if verdict is not None), False)


def _allowed_by_rules(workspace: Path, paths: Iterable[str]) -> set[str]:
    """Of a few paths, those that a walk would meet."""
    allowed = set()
    for path in paths:
        parts = path.split("/")
        folders = _folders(path)
        read = ((folder, IgnoreRules.read(workspace / folder / ".gitignore")) for folder in folders)
        rules = tuple((folder, own) for folder, own in read if own)
        steps = [*zip(folders[1:], parts, strict=False), (path, parts[-1])]
        if not any(_is_left_out(step, name, rules) for step, name in steps):
            allowed.add(path)
    return allowed
