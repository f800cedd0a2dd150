"""The wire below LSP: Content-Length frames, and the two frames that open a connection. Standard library only.

    client → {"method": "qcn/hello", "params": {"protocol": 1, "version": …, "token": …}}
    daemon → {"method": "qcn/welcome", "params": {"protocol": 1, "version": …, "pid": …}}
             or {"error": {"code": …, "message": …}} and a close

After that both sides speak JSON-RPC as LSP frames it.
"""

import json
from typing import Any, Protocol

from qcn_agent.errors import DaemonError

PROTOCOL = 1
MAX_HELLO_BYTES = 4096
MAX_FRAME_BYTES = 64 << 20
HELLO_TIMEOUT_S = 5.0
UNAUTHORIZED, INCOMPATIBLE = -32050, -32051


def encode(message: dict[str, Any]) -> bytes:
    """One frame."""
    body = json.dumps(message).encode()
    return b"Content-Length: %d\r\n\r\n" % len(body) + body


class ByteStream(Protocol):
    """What `read` needs of a blocking stream."""

    def readline(self, size: int, /) -> bytes:
        """A line, or at most `size` bytes of it."""

    def read(self, size: int, /) -> bytes | None:
        """At most `size` bytes."""


def read(stream: ByteStream, max_bytes: int = MAX_FRAME_BYTES) -> dict[str, Any] | None:
    """The next frame from a blocking stream; None at a clean end. Raises DaemonError for anything malformed."""
    length = None
    while line := stream.readline(1024):
        if line == b"\r\n":
            if length is None:
                break
            return _decode(_read_exactly(stream, length))
        length = content_length(line, max_bytes) if line.lower().startswith(b"content-length:") else length
    if length is None and not line:
        return None
    raise DaemonError("the connection broke in the middle of a message")


def content_length(header: bytes, max_bytes: int) -> int:
    """The length that a header line announces. Raises DaemonError when it is malformed or too large."""
    try:
        length = int(header.split(b":", 1)[1])
    except (IndexError, ValueError) as error:
        raise DaemonError(f"malformed header {header[:40]!r}") from error
    if not 0 <= length <= max_bytes:
        raise DaemonError(f"a message of {length} bytes is more than the limit of {max_bytes}")
    return length


def _read_exactly(stream: ByteStream, length: int) -> bytes:
    data = b""
    while len(data) < length:  # an unbuffered stream returns what has come so far
        part = stream.read(length - len(data))
        if not part:
            raise DaemonError("the connection broke in the middle of a message")
        data += part
    return data


def _decode(body: bytes) -> dict[str, Any]:
    try:
        message = json.loads(body)
    except ValueError as error:
        raise DaemonError("received a message that is not JSON") from error
    if not isinstance(message, dict):
        raise DaemonError("received a message that is not an object")
    return message
