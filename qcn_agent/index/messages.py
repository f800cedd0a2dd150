"""What the builder and its workers say to each other: four bytes of length, then a pickle, both ways."""

import pickle
import struct
from dataclasses import dataclass
from typing import Any, BinaryIO

from qcn_agent.index.files import FileStamp
from qcn_agent.index.record import FileRecord

LENGTH = struct.Struct("<I")
Request = tuple[str, bytes, bool]
"""(path, content hash that is known of it or b"", whether parsers are to be kept away)"""


@dataclass(frozen=True)
class Unchanged:
    """The contents are those that the request named."""

    path: str
    stamp: FileStamp


Answer = FileRecord | Unchanged | None
"""None for a path that is no regular file any more."""


def frame_of(message: object) -> bytes:
    """A message as it goes through the pipe."""
    data = pickle.dumps(message, protocol=5)
    return LENGTH.pack(len(data)) + data


def message_of(data: bytes) -> Any:
    """What a frame holds. Pickle is safe here: both ends are ours, and the pipe is private."""
    return pickle.loads(data)  # noqa: S301


def read_frame(stream: BinaryIO) -> Any:
    """The next message; EOFError at the end."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        raise EOFError
    return message_of(stream.read(LENGTH.unpack(head)[0]))
