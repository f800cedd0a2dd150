"""KV stretches and recurrent states as files, so that a conversation outlives the process.

A file is one blob: a header line of JSON, the tokens that it covers, the payload. It is named by what it is a function
of, so writers can't disagree, and it is complete or absent (temp + fsync + rename). The folder belongs to one model,
build and layout (`fingerprint`); files of another one are in another folder and never met. Whatever is wrong with a
file makes it a miss, and whatever is wrong with the folder leaves us without a disk, not without a daemon.
"""

import contextlib
import hashlib
import json
import logging
import os
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from qcn_agent.engine.arena import Blob, Identity
from qcn_agent.engine.backend import BlobLostError, Bytes
from qcn_agent.engine.ownership import owned_name, owners_of
from qcn_agent.engine.private_file import check_folder, is_temporary, open_regular, write_whole

logger = logging.getLogger(__name__)

_FOLDER = re.compile(r"[0-9a-f]{32}")
_MAGIC = "qcn-kv 1"
_MAX_HEADER = 4096
_MAX_WRITE_S = 3600.0
_MAX_AGE_S = 30 * 86_400.0
_MAX_TOKENS = 1 << 24  # of a path
RETRY_S = 60.0
_WRONG = (OSError, ValueError, TypeError, RecursionError)  # with a file that somebody else has written


@dataclass(frozen=True)
class _Header:
    magic: str
    fingerprint: str
    start: int
    end: int
    before: str
    after: str
    num_bytes: int
    checksum: str


@dataclass(frozen=True)
class StoredBlob:
    """A file found at start-up."""

    identity: Identity
    num_bytes: int
    file: Path
    owners: frozenset[str]  # projects, see `ownership.py`


class DiskStore:
    """Blobs of one model in `folder`, at most `max_bytes` of them. At the start that is the limit of all models'."""

    def __init__(
        self, folder: Path, fingerprint: str, max_bytes: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.num_bytes = 0
        self.bytes_of: Counter[frozenset[str]] = Counter()  # by what the files' names say of their owners
        self.max_bytes = max_bytes
        self._folder = folder / hashlib.blake2b(fingerprint.encode(), digest_size=16).hexdigest()
        self._fingerprint = fingerprint
        self._clock = clock
        self._no_write_before = float("-inf")

    def load(self) -> list[StoredBlob]:
        """All complete files, KV before states, by where they begin. Half-written and old ones are swept away.

        So is what other models and settings have left, as far as it is old or has no room beside ours.
        """
        found: list[StoredBlob] = []
        for file in self._files():
            stored = None if _is_being_written(file) else self._look(file)
            if stored is not None:
                found.append(stored)
                self._count(stored.file, stored.num_bytes)
        self._sweep_others()
        return sorted(found, key=lambda stored: (stored.identity.is_state, stored.identity.start, stored.identity.end))

    def _sweep_others(self) -> None:
        room = self.max_bytes - self.num_bytes
        for modified_at, num_bytes, file in sorted(_files_beside(self._folder), reverse=True):
            room -= num_bytes
            if room < 0 or time.time() - modified_at > _MAX_AGE_S:
                with contextlib.suppress(OSError):
                    file.unlink()
                    file.parent.rmdir()  # when it was the last

    def _files(self) -> list[Path]:
        """None, and no more attempts to write, when the folder can't be trusted or read."""
        try:
            check_folder(self._folder)
            return sorted(self._folder.iterdir())
        except FileNotFoundError:
            pass  # the first write makes it
        except OSError as error:
            logger.warning("no conversations are kept on disk: %s", error)
            self._no_write_before = float("inf")
        return []

    @property
    def is_broken(self) -> bool:
        """Whether it could not be written a short while ago, or can't be trusted at all."""
        return self._clock() < self._no_write_before

    def rest(self) -> None:
        """Write nothing for a while, after something went wrong: a full disk may be emptied again."""
        self._no_write_before = max(self._no_write_before, self._clock() + RETRY_S)

    def has_room(self, num_bytes: int) -> bool:
        """Whether so much more fits, and the disk still takes it."""
        return not self.is_broken and self.num_bytes + num_bytes <= self.max_bytes

    def write(self, identity: Identity, data: Bytes, owners: frozenset[str] = frozenset()) -> Path | None:
        """Make a complete file. None when the disk is full or can't be written; nothing is left behind then.

        May be called from another thread than the rest; the caller gives the result to `note`.
        """
        header = _Header(
            magic=_MAGIC,
            fingerprint=self._fingerprint,
            start=identity.start,
            end=identity.end,
            before=identity.before,
            after=identity.after,
            num_bytes=len(data),
            checksum=_checksum(identity, data),
        )
        line = json.dumps(asdict(header)).encode() + b"\n"
        name = owned_name(f"{identity.after}-{identity.start}-{identity.end}", owners)
        file = self._folder / name
        is_written = self._put(file, (line, identity.tokens, identity.ends, data.data))
        return file if is_written else None

    def note(self, blob: Blob, file: Path) -> None:
        """The file of `blob` is written."""
        blob.file = file
        self._count(file, blob.num_bytes)
        self.rename(blob)

    def rename(self, blob: Blob) -> None:
        """Make the file, if there is one, say who owns it. It keeps its name when that fails."""
        if blob.file is None or (name := owned_name(blob.file.name, blob.owners)) == blob.file.name:
            return
        try:
            renamed = blob.file.rename(blob.file.with_name(name))
        except OSError as error:
            logger.info("a file of the cache keeps its owners: %s", error)
            return
        self._count(blob.file, -blob.num_bytes)
        self._count(renamed, blob.num_bytes)
        blob.file = renamed

    def read(self, blob: Blob) -> Bytes:
        """The payload, checked. Raises BlobLostError, after which the file is gone."""
        assert blob.file is not None  # noqa: S101 - the caller asks only for what was written
        try:
            with open_regular(blob.file) as stream:
                header, identity = self._read_head(stream)
                data = np.fromfile(stream, np.uint8, blob.num_bytes)
            if len(data) != header.num_bytes or _checksum(identity, data) != header.checksum:
                raise ValueError("damaged")
        except _WRONG as error:
            name = blob.file.name
            self.remove(blob)
            raise BlobLostError(f"{name}: {error}") from error
        return data

    def remove(self, blob: Blob) -> None:
        """Delete the file, if there is one."""
        if blob.file is not None:
            with contextlib.suppress(OSError):
                blob.file.unlink(missing_ok=True)
            self._count(blob.file, -blob.num_bytes)
            blob.file = None

    def _count(self, file: Path, num_bytes: int) -> None:
        """`num_bytes` more in this file, or less."""
        owners = owners_of(file.name)
        self.num_bytes += num_bytes
        self.bytes_of[owners] += num_bytes
        if not self.bytes_of[owners]:
            del self.bytes_of[owners]

    def _look(self, file: Path) -> StoredBlob | None:
        try:
            with open_regular(file) as stream:
                header, identity = self._read_head(stream)
                if time.time() - os.fstat(stream.fileno()).st_mtime > _MAX_AGE_S:
                    raise ValueError("too old")
            return StoredBlob(identity, header.num_bytes, file, owners_of(file.name))
        except _WRONG as error:
            logger.info("a file of the cache is no use and is removed: %s", error)
            with contextlib.suppress(OSError):
                file.unlink()
            return None

    def _read_head(self, stream: BinaryIO) -> tuple[_Header, Identity]:
        """What a file says of itself, which fits its size; `stream` is at the payload then. Raises one of _WRONG."""
        header = _Header(**json.loads(stream.readline(_MAX_HEADER)))
        if header.magic != _MAGIC or header.fingerprint != self._fingerprint:
            raise ValueError("not of this cache")
        kinds = [type(value) for value in (header.start, header.end, header.num_bytes, header.before, header.after)]
        if kinds != [int, int, int, str, str] or not 0 <= header.start <= header.end <= _MAX_TOKENS:
            raise ValueError("not what we write")
        num_tokens = header.end - header.start
        size = stream.tell() + 5 * num_tokens + header.num_bytes
        if not 0 <= header.num_bytes <= self.max_bytes or os.fstat(stream.fileno()).st_size != size:
            raise ValueError("not complete, or too large")
        tokens, ends = stream.read(4 * num_tokens), stream.read(num_tokens)
        return header, Identity(header.start, header.end, header.before, header.after, tokens, ends)

    def _put(self, file: Path, parts: tuple[bytes | memoryview, ...]) -> bool:
        try:
            write_whole(file, parts)
        except FileNotFoundError as error:  # somebody swept it away
            logger.info("a file of the cache could not be kept: %s", error)
            return False
        except OSError as error:
            logger.warning("the disk cache can't be written, to be tried again in %.0f s: %s", RETRY_S, error)
            self.rest()
            return False
        return True


def _files_beside(ours: Path) -> list[tuple[float, int, Path]]:
    """Time, size and path of what is in other such folders; what is being written is left alone."""
    found = []
    with contextlib.suppress(OSError):
        for folder in ours.parent.iterdir():
            if folder != ours and _FOLDER.fullmatch(folder.name) and folder.is_dir() and not folder.is_symlink():
                statuses = [(file.lstat(), file) for file in folder.iterdir() if not _is_being_written(file)]
                found += [(status.st_mtime, status.st_size, file) for status, file in statuses]
    return found


def _is_being_written(file: Path) -> bool:
    """Whether another process may still be at it."""
    try:
        return is_temporary(file) and time.time() - file.lstat().st_mtime < _MAX_WRITE_S
    except OSError:
        return True


def _checksum(identity: Identity, data: Bytes) -> str:
    digest = hashlib.blake2b(np.ascontiguousarray(data).data, digest_size=16)
    for part in (identity.tokens, identity.ends, f"{identity.start} {identity.before} {identity.after}".encode()):
        digest.update(part)
    return digest.hexdigest()
