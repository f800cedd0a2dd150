"""A worker process: reads files and answers their records, until its stdin ends.

Parsers run only here. What crashes or hangs one costs one file, because the parent tries it again without a parser.

Frames both ways: four bytes of length, then a pickle. Request: (path, known content hash, text_only). Answer: a
FileRecord, or `Unchanged`, or None for a path that is no regular file any more.
"""

import errno
import gc
import os
import pickle
import signal
import stat
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from qcn_agent.index.files import FileStamp
from qcn_agent.index.record import FileRecord, content_hash, make_record
from qcn_agent.index.syntax import MAX_BYTES
from qcn_agent.index.words import WordSplitter

NICENESS = 19
FILE_BUDGET_S = 10  # the parent ends a worker that takes longer; without a parent it ends itself a little later
MAX_MEMORY_BYTES = 2 << 30
Request = tuple[str, bytes, bool]

_LENGTH = struct.Struct("<I")
_GONE = (errno.ENOENT, errno.ELOOP, errno.ENOTDIR)


@dataclass(frozen=True)
class Unchanged:
    """The contents are those that the request named."""

    path: str
    stamp: FileStamp


Answer = FileRecord | Unchanged | None


def read_frame(stream: BinaryIO) -> Any:
    """The next message; EOFError at the end."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    return pickle.loads(stream.read(_LENGTH.unpack(head)[0]))  # noqa: S301 - between our own two processes


def frame_of(message: object) -> bytes:
    """A message as it goes through the pipe."""
    data = pickle.dumps(message, protocol=5)
    return _LENGTH.pack(len(data)) + data


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
            return FileStamp.of(os.fstat(descriptor)), file.read(MAX_BYTES + 1)
    except OSError as error:
        return None if error.errno in _GONE else (FileStamp.of(status), None)


def answer(workspace: Path, request: Request, splitter: WordSplitter) -> Answer:
    """One request, answered."""
    path, known_hash, text_only = request
    found = read_file(workspace / path)
    if found is None:
        return None
    stamp, source = found
    if source is not None and known_hash and content_hash(source) == known_hash:
        return Unchanged(path, stamp)
    return make_record(path, stamp, source, splitter, text_only=text_only)


def main() -> None:
    """Answer requests about the workspace that the only argument names."""
    workspace = Path(sys.argv[1])
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever a grammar prints is not an answer
    _limit_ourselves()
    gc.disable()  # trees have no cycles, and there is no state to collect
    splitter = WordSplitter()
    while True:
        try:
            request = read_frame(requests)
        except EOFError:
            return
        signal.alarm(FILE_BUDGET_S + 5)
        frame = frame_of(answer(workspace, request, splitter))
        signal.alarm(0)
        try:
            answers.write(frame)
        except BrokenPipeError:
            return


def _limit_ourselves() -> None:
    """Last in the queue for the processor, and no more memory than a file can need."""
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, ValueError, OSError):
        pass


if __name__ == "__main__":
    main()
