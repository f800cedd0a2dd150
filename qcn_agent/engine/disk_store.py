"""KV stretches and recurrent states as files, so that a conversation outlives the process.

A file is one blob: a header line of JSON, the tokens that it covers, the payload. It is named by what it is a function
of, so writers can't disagree, and it is complete or absent (temp + fsync + rename). The folder belongs to one model,
build and layout (`fingerprint`); files of another one are in another folder and never met. Whatever is wrong with a
file makes it a miss.
"""

import contextlib
import hashlib
import json
import logging
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from qcn_agent.engine.arena import Blob, Identity
from qcn_agent.engine.backend import BlobLostError, Bytes

logger = logging.getLogger(__name__)

_MAGIC = "qcn-kv 1"
_MAX_HEADER = 4096
_MAX_WRITE_S = 3600.0
_MAX_AGE_S = 30 * 86_400.0


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


class DiskStore:
    """Blobs of one model in `folder`, at most `max_bytes` of them."""

    def __init__(self, folder: Path, fingerprint: str, max_bytes: int) -> None:
        self.num_bytes = 0
        self.max_bytes = max_bytes
        self._folder = folder / hashlib.blake2b(fingerprint.encode(), digest_size=16).hexdigest()
        self._fingerprint = fingerprint
        self.is_broken = False  # it could not be written: not tried again in this run

    def load(self) -> list[StoredBlob]:
        """All complete files, KV before states, shorter paths first. Half-written and old ones are swept away."""
        found: list[StoredBlob] = []
        with contextlib.suppress(FileNotFoundError):
            for file in sorted(self._folder.iterdir()):
                stored = None if _is_being_written(file) else self._look(file)
                if stored is not None:
                    found.append(stored)
                    self.num_bytes += stored.num_bytes
        return sorted(found, key=lambda stored: (stored.identity.is_state, stored.identity.end))

    def has_room(self, num_bytes: int) -> bool:
        """Whether so much more fits, and the disk still takes it."""
        return not self.is_broken and self.num_bytes + num_bytes <= self.max_bytes

    def write(self, identity: Identity, data: Bytes) -> Path | None:
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
        file = self._folder / f"{identity.after}-{identity.start}-{identity.end}"
        is_written = self._put(file, (line, identity.tokens, identity.ends, data.data))
        return file if is_written else None

    def note(self, blob: Blob, file: Path) -> None:
        """The file of `blob` is written."""
        blob.file = file
        self.num_bytes += blob.num_bytes

    def read(self, blob: Blob) -> Bytes:
        """The payload, checked. Raises BlobLostError, after which the file is gone."""
        assert blob.file is not None  # noqa: S101 - the caller asks only for what was written
        try:
            with blob.file.open("rb") as stream:
                header, identity = self._read_head(stream)
                data = np.fromfile(stream, np.uint8)
            if len(data) != blob.num_bytes or _checksum(identity, data) != header.checksum:
                raise ValueError("damaged")
        except (OSError, ValueError, TypeError) as error:
            name = blob.file.name
            self.remove(blob)
            raise BlobLostError(f"{name}: {error}") from error
        return data

    def remove(self, blob: Blob) -> None:
        """Delete the file, if there is one."""
        if blob.file is not None:
            with contextlib.suppress(OSError):
                blob.file.unlink(missing_ok=True)
            self.num_bytes -= blob.num_bytes
            blob.file = None

    def _look(self, file: Path) -> StoredBlob | None:
        try:
            with file.open("rb") as stream:
                header, identity = self._read_head(stream)
                size = stream.tell() + header.num_bytes
            status = file.stat()
            if status.st_size != size or time.time() - status.st_mtime > _MAX_AGE_S:
                raise ValueError("not complete, or too old")
            return StoredBlob(identity, header.num_bytes, file)
        except (OSError, ValueError, TypeError) as error:
            logger.info("a file of the cache is no use and is removed: %s", error)
            with contextlib.suppress(OSError):
                file.unlink()
            return None

    def _read_head(self, stream: BinaryIO) -> tuple[_Header, Identity]:
        header = _Header(**json.loads(stream.readline(_MAX_HEADER)))
        if header.magic != _MAGIC or header.fingerprint != self._fingerprint or not 0 <= header.start <= header.end:
            raise ValueError("not of this cache")
        num_tokens = header.end - header.start
        tokens, ends = stream.read(4 * num_tokens), stream.read(num_tokens)
        if len(tokens) + len(ends) != 5 * num_tokens:
            raise ValueError("not complete")
        return header, Identity(header.start, header.end, header.before, header.after, tokens, ends)

    def _put(self, file: Path, parts: tuple[bytes | memoryview, ...]) -> bool:
        temporary = file.with_suffix(f".{os.getpid()}.tmp")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as stream:
                for part in parts:
                    stream.write(part)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.rename(file)
        except FileNotFoundError as error:  # somebody swept it away
            logger.info("a file of the cache could not be kept: %s", error)
            return False
        except OSError as error:
            logger.warning("the disk cache can't be written any more in this run: %s", error)
            self.is_broken = True
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            return False
        return True


def _is_being_written(file: Path) -> bool:
    """Whether another process may still be at it."""
    try:
        return file.suffix == ".tmp" and time.time() - file.stat().st_mtime < _MAX_WRITE_S
    except OSError:
        return True


def _checksum(identity: Identity, data: Bytes) -> str:
    digest = hashlib.blake2b(np.ascontiguousarray(data).data, digest_size=16)
    for part in (identity.tokens, identity.ends, f"{identity.start} {identity.before} {identity.after}".encode()):
        digest.update(part)
    return digest.hexdigest()
