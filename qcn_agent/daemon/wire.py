"""The wire below LSP: Content-Length frames, and the two frames that open a connection. Standard library only.

    client → {"method": "qcn/hello", "params": {"protocol": 1, "version": …, "token": …}}
    daemon → {"method": "qcn/welcome", "params": {"protocol": 1, "version": …, "pid": …}}
             or {"error": {"code": …, "message": …}} and a close

After that both sides speak JSON-RPC as LSP frames it.
"""

import json
from collections.abc import Callable
from typing import Any

from qcn_agent.errors import DaemonDiedError, DaemonError

PROTOCOL = 1
MAX_HELLO_BYTES = 4096
MAX_HEAD_BYTES = 4096
MAX_FRAME_BYTES = 64 << 20
HELLO_TIMEOUT_S = 5.0
UNAUTHORIZED, INCOMPATIBLE = -32050, -32051
_CHUNK_BYTES = 1 << 16


def encode(message: dict[str, Any]) -> bytes:
    """One frame."""
    body = json.dumps(message).encode()
    return b"Content-Length: %d\r\n\r\n" % len(body) + body


class FrameReader:
    """Frames from a blocking source. Whatever interrupts it, even KeyboardInterrupt, loses no byte: just go on.

    `receive` gives at most so many bytes, none at the end: `socket.recv`.
    """

    def __init__(self, receive: Callable[[int], bytes], max_bytes: int = MAX_FRAME_BYTES) -> None:
        self._receive = receive
        self._max_bytes = max_bytes
        self._buffer = bytearray()
        self._end = 0

    def peek(self) -> dict[str, Any] | None:
        """The next frame, which stays the next one until `drop`; None at a clean end.

        Raises DaemonError for anything malformed, DaemonDiedError for an end in the middle.
        """
        while (frame := self._frame()) is None:
            num_bytes = len(self._buffer)
            # From the socket into the buffer within C: an interrupt comes before or after, never in between.
            next(map(self._buffer.extend, map(self._receive, (_CHUNK_BYTES,))))
            if len(self._buffer) == num_bytes:
                if num_bytes:
                    raise DaemonDiedError("the connection broke in the middle of a message")
                return None
        return frame

    def drop(self) -> None:
        """Go on to the frame after the one that `peek` gave."""
        del self._buffer[: self._end]

    def _frame(self) -> dict[str, Any] | None:
        """The frame at the start of the buffer, if it is all there."""
        head_end = self._buffer.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES)
        if head_end < 0:
            if len(self._buffer) >= MAX_HEAD_BYTES:
                raise DaemonError("received a message without a proper header")
            return None
        lines = bytes(self._buffer[:head_end]).split(b"\r\n")
        lengths = [content_length(line, self._max_bytes) for line in lines if is_length(line)]
        if not lengths:
            raise DaemonError("received a message without a length")
        begin = head_end + 4
        self._end = begin + lengths[-1]
        return _decode(self._buffer[begin : self._end]) if len(self._buffer) >= self._end else None


def is_length(line: bytes) -> bool:
    """Whether a header line announces the length."""
    return line.lower().startswith(b"content-length:")


def content_length(header: bytes, max_bytes: int) -> int:
    """The length that a header line announces. Raises DaemonError when it is malformed or too large."""
    try:
        length = int(header.split(b":", 1)[1])
    except (IndexError, ValueError) as error:
        raise DaemonError(f"malformed header {header[:40]!r}") from error
    if not 0 <= length <= max_bytes:
        raise DaemonError(f"a message of {length} bytes is more than the limit of {max_bytes}")
    return length


def _decode(body: bytes | bytearray) -> dict[str, Any]:
    try:
        message = json.loads(body)
    except ValueError as error:
        raise DaemonError("received a message that is not JSON") from error
    if not isinstance(message, dict):
        raise DaemonError("received a message that is not an object")
    return message
