"""Keeps the beginning and the end of a stream of any length in bounded memory."""

from collections import deque

_HEAD_SHARE = 0.4  # test failures sit at the end


class OutputBuffer:
    """Collects bytes; holds at most about `limit` of them plus one chunk."""

    def __init__(self, limit: int) -> None:
        self._head_limit = int(limit * _HEAD_SHARE)
        self._tail_limit = limit - self._head_limit
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._num_tail = 0
        self.num_bytes = 0

    def add(self, chunk: bytes) -> None:
        """Take the next bytes of the stream."""
        self.num_bytes += len(chunk)
        room = self._head_limit - len(self._head)
        self._head += chunk[:room]
        rest = chunk[room:]
        if rest:
            self._tail.append(rest)
            self._num_tail += len(rest)
        while self._tail and self._num_tail - len(self._tail[0]) >= self._tail_limit:
            self._num_tail -= len(self._tail.popleft())

    @property
    def truncated(self) -> bool:
        """Whether something was left out of `text`."""
        return self.num_bytes > self._head_limit + self._tail_limit

    def text(self) -> str:
        """The stream as text, undecodable bytes replaced; a line in the middle says how much is missing."""
        tail = b"".join(self._tail)[-self._tail_limit :] if self._tail else b""
        if not self.truncated:
            return (bytes(self._head) + tail).decode("utf-8", "replace")
        missing = self.num_bytes - len(self._head) - len(tail)
        parts = bytes(self._head).decode("utf-8", "replace"), tail.decode("utf-8", "replace")
        return f"{parts[0]}\n… {missing:,} bytes left out …\n{parts[1]}"
