"""What a run changed, so that it can be taken back byte by byte, with or without git, even after a crash.

    <state>/journals/<run id>/
        run.json         workspace, issue, time
        live             locked (flock) while the run lives
        changes.jsonl    one line a change, synced before the file is touched; "abandoned" if that failed
        blobs/<sha256>   the bytes as found

A file is put back only if its bytes are ones that we wrote; whatever a person changed meanwhile stays and is reported.
How long journals are kept says `pruning.py`.
"""

import contextlib
import fcntl
import hashlib
import itertools
import json
import os
import stat
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from qcn_agent import paths
from qcn_agent.errors import DamagedJournalError, JournalError, LiveRunError
from qcn_tools.base import ChangedMeanwhileError
from qcn_tools.workspace import AtomicWriter, PathRefused

ABANDONED = '{"abandoned": true}'  # the change before this line never reached its file
State = Literal["found", "ours", "foreign"]


@dataclass(frozen=True)
class Change:
    """One write. Hashes are SHA-256 in hex; `before` is None when the file did not exist, `mode` its permissions."""

    path: str
    before: str | None
    after: str
    mode: int | None
    mtime_ns: int | None
    created_dirs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Restored:
    """What taking back did: paths put back, paths left alone because someone else changed them, and failures.

    `failed` holds "path: reason"; those paths can be taken back later.
    """

    restored: tuple[str, ...]
    kept: tuple[str, ...]
    failed: tuple[str, ...] = ()


class Journal:
    """The record of one run; also the Writer that the tools of this run write through."""

    def __init__(self, folder: Path, workspace: Path) -> None:
        self.folder = folder
        self.workspace = workspace
        self._writer = AtomicWriter(workspace)
        self._changes = _read_changes(folder / "changes.jsonl")
        self._lock: int | None = None
        self._left_alone: dict[str, Path | None] = {}

    @classmethod
    def create(cls, workspace: Path, issue: str, run_id: str = "") -> "Journal":
        """Start a journal for a run in `workspace` (absolute). `run_id` must be new; empty: one is made."""
        folder = journals_dir() / (run_id or new_run_id())
        folder.mkdir(mode=0o700)
        (folder / "blobs").mkdir(mode=0o700)
        about = {"workspace": str(workspace), "issue": issue[:2000], "started": time.time()}
        _append_synced(folder / "run.json", json.dumps(about))
        journal = cls(folder, workspace)
        journal._lock = _take_lock(folder)
        return journal

    @property
    def run_id(self) -> str:
        """Name of the run, unique and sortable by time."""
        return self.folder.name

    @property
    def changes(self) -> tuple[Change, ...]:
        """All changes since the run began or was last taken back."""
        return tuple(self._changes)

    @property
    def about(self) -> str:
        """When the run began (local time) and what it was for, in a line."""
        try:
            table = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))
            began = time.strftime("%Y-%m-%d %H:%M", time.localtime(table["started"]))
            return f"{began}, {' '.join(table['issue'].split())[:60]!r}"
        except (OSError, ValueError, KeyError, TypeError):
            return self.run_id

    def close(self) -> None:
        """The run is over: from now on others may take it back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def write(self, path: Path, data: bytes, expected: bytes | None) -> None:
        """Record the bytes as found, then replace the file atomically, keeping its mode.

        Raises ChangedMeanwhileError when the file does not hold `expected` (None: must not exist).
        """
        relative = str(path.relative_to(self.workspace))
        before = path.read_bytes() if path.exists() else None
        if before != expected:
            raise ChangedMeanwhileError(relative)
        status = path.stat() if before is not None else None
        change = Change(
            relative,
            self._keep_blob(before),
            _sha(data),
            stat.S_IMODE(status.st_mode) if status else None,
            status.st_mtime_ns if status else None,
            tuple(str(p.relative_to(self.workspace)) for p in _missing_parents(path)),
        )
        _append_synced(self.folder / "changes.jsonl", json.dumps(asdict(change)) + "\n")
        self._changes.append(change)
        try:
            self._writer.write(path, data, expected)
        except BaseException:
            self._changes.pop()
            _append_synced(self.folder / "changes.jsonl", ABANDONED + "\n")
            raise

    def first_bytes(self) -> dict[str, bytes | None]:
        """Each changed path with its bytes as found (None: it did not exist)."""
        found: dict[str, bytes | None] = {}
        for change in self._changes:
            found.setdefault(change.path, self._blob(change.before) if change.before else None)
        return found

    def state_key(self) -> str:
        """A digest of what the run's files hold now: equal keys mean equal trees, as far as we changed them."""
        last = {change.path: change.after for change in self._changes}
        same = {path: sha for path, sha in last.items() if sha != self._first(path).before}
        return _sha(json.dumps(sorted(same.items())).encode())

    def mixed(self) -> dict[str, Path | None]:
        """Files that hold what somebody else saved after a change of ours, be it on record or just taken back.

        Each with the copy of what the run found; None where it found no file.
        """
        paths = dict.fromkeys(change.path for change in self._changes)
        return {path: self._copy(path) for path in paths if self._state_now(path) == "foreign"} | self._left_alone

    def is_in_tree(self) -> bool:
        """Whether a file still holds what this run wrote, so that it can be taken back."""
        return any(self._state_now(change.path) == "ours" for change in self._changes)

    def restore(self) -> Restored:
        """Put every file back as found, unless someone else changed it meanwhile, and start afresh.

        A file that can't be put back does not stop the others; its changes stay on record.
        """
        restored: list[str] = []
        kept: list[str] = []
        failed: dict[str, str] = {}
        for path in dict.fromkeys(change.path for change in self._changes):
            try:
                (restored if self._restore_one(path) else kept).append(path)
            except ChangedMeanwhileError:
                kept.append(path)
            except (OSError, JournalError) as error:
                failed[path] = str(error)
            except PathRefused as refusal:
                failed[path] = refusal.reason
        self._left_alone = {path: self._copy(path) for path in kept} | self._left_alone
        for change in reversed(self._changes):
            for folder in change.created_dirs:
                _remove_if_empty(self.workspace / folder)
        self._start_afresh([change for change in self._changes if change.path in failed])
        return Restored(tuple(restored), tuple(kept), tuple(f"{path}: {reason}" for path, reason in failed.items()))

    def _start_afresh(self, left: list[Change]) -> None:
        log = self.folder / "changes.jsonl"
        if self._changes:
            log.rename(self.folder / f"changes.{time.time_ns()}.jsonl")
        if left:
            _append_synced(log, "".join(json.dumps(asdict(change)) + "\n" for change in left))
        self._changes = left

    def _first(self, path: str) -> Change:
        return next(change for change in self._changes if change.path == path)

    def _copy(self, path: str) -> Path | None:
        before = self._first(path).before
        return self.folder / "blobs" / before if before else None

    def _state(self, relative: str, data: bytes | None) -> State:
        """Whose `data`, the bytes of a changed file, are; someone else's, too, if they wrote between two changes."""
        history = [change for change in self._changes if change.path == relative]
        now = _sha(data) if data is not None else None
        if any(later.before != earlier.after for earlier, later in itertools.pairwise(history)):
            return "foreign"
        if now == history[0].before:
            return "found"
        return "ours" if now in {change.after for change in history} else "foreign"

    def _state_now(self, relative: str) -> State:
        try:
            return self._state(relative, _read(self.workspace / relative))
        except OSError:
            return "foreign"

    def _restore_one(self, relative: str) -> bool:
        path, first = self.workspace / relative, self._first(relative)
        data = _read(path)
        state = self._state(relative, data)
        if state != "ours":
            return state == "found"  # nothing to do; also after a crash between record and write
        if first.before is None:
            path.unlink()
            return True
        self._writer.write(path, self._blob(first.before), data)
        if first.mode is not None and first.mtime_ns is not None:
            path.chmod(first.mode)
            os.utime(path, ns=(path.stat().st_atime_ns, first.mtime_ns))
        return True

    def _keep_blob(self, data: bytes | None) -> str | None:
        if data is None:
            return None
        sha = _sha(data)
        blob = self.folder / "blobs" / sha
        if not blob.exists():
            _append_synced(blob, data)
        return sha

    def _blob(self, sha: str) -> bytes:
        data = (self.folder / "blobs" / sha).read_bytes()
        if _sha(data) != sha:
            raise DamagedJournalError(f"journal {self.run_id}: the saved copy {sha[:12]} is damaged")
        return data


def journals_dir() -> Path:
    """Where journals live, 0700."""
    folder = paths.state_dir() / "journals"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def new_run_id() -> str:
    """A name for a run: unique, sortable by time."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:6]}"


def latest(*workspaces: Path) -> Journal | None:
    """The newest journal of these workspaces that still has something to take back.

    Raises LiveRunError when its run is still going on; DamagedJournalError when it is damaged, or when there is none
    but one that does not say any more what it belongs to.
    """
    nameless = None
    for folder in sorted(journals_dir().iterdir(), reverse=True):
        workspace = workspace_of(folder)
        if not has_changes(folder):
            continue
        if workspace in workspaces:
            return _open_ended(folder, workspace)
        nameless = folder if workspace is None and nameless is None else nameless
    if nameless is not None:
        raise _damaged(nameless, "it does not say any more which project it is of; no other one is of this project")
    return None


def find(run_id: str, workspace: Path) -> Journal | None:
    """The journal of one run, if it has something to take back. Raises like `latest`."""
    folder = journals_dir() / run_id
    return _open_ended(folder, workspace) if workspace_of(folder) == workspace and has_changes(folder) else None


def workspace_of(folder: Path) -> Path | None:
    """The workspace that a journal is of; None when it does not say."""
    try:
        return Path(json.loads((folder / "run.json").read_text(encoding="utf-8"))["workspace"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def has_changes(folder: Path) -> bool:
    """Whether a journal has changes that were not taken back."""
    return (folder / "changes.jsonl").is_file()


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a run that is over from being taken back or removed by others. Raises LiveRunError when it is not over."""
    lock = _take_lock(folder)
    try:
        yield
    finally:
        os.close(lock)


def _open_ended(folder: Path, workspace: Path) -> Journal:
    """The journal in `folder`, whose run must be over."""
    with locked(folder):
        return Journal(folder, workspace)


def _take_lock(folder: Path) -> int:
    """Descriptor of the locked file, which the kernel frees when the process dies."""
    lock = os.open(folder / "live", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise LiveRunError(f"the run {folder.name} is still going on", hint="wait, or stop it with Ctrl-C") from error
    return lock


def _read_changes(log: Path) -> list[Change]:
    if not log.is_file():
        return []
    changes: list[Change] = []
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            if line == ABANDONED:
                changes.pop()
                continue
            changes.append(Change(**{**entry, "created_dirs": tuple(entry["created_dirs"])}))
        except (ValueError, TypeError, KeyError, IndexError) as error:
            if number == len(lines):
                break  # cut off by a crash before its file was touched
            raise _damaged(log.parent, f"line {number} of changes.jsonl can't be read") from error
    return changes


def _damaged(folder: Path, why: str) -> DamagedJournalError:
    return DamagedJournalError(
        f"the journal of the run {folder.name} is damaged: {why}",
        hint=f"copies of the files as they were lie in {folder / 'blobs'}: put them back by hand, "
        f"then remove {folder} to get at the runs before it",
    )


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() and not path.is_symlink() else None


def _missing_parents(path: Path) -> list[Path]:
    missing = []
    for parent in path.parents:
        if parent.exists():
            break
        missing.append(parent)
    return missing


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        pass  # something of the user's is in it


def _append_synced(path: Path, data: str | bytes) -> None:
    payload = data.encode() if isinstance(data, str) else data
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(payload)
        file.flush()
        os.fsync(file.fileno())


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
