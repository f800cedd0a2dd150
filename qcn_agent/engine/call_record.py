"""Which requests are inside llama.cpp, in memory that two processes share: it is still there when one of them dies.

Fingerprints are written on the engine thread before each call, so this must cost next to nothing: no system call, and
nobody is woken.
"""

import mmap
import os
import struct
import tempfile
from collections.abc import Iterable

_COUNT = struct.Struct("=I")
_MARK_BYTES = 16
_MAX_MARKS = 1023
_NUM_BYTES = (1 + _MAX_MARKS) * _MARK_BYTES


class CallRecord:
    """Fingerprints of 32 hexadecimal digits. One process writes, another reads."""

    def __init__(self, fd: int) -> None:
        """Map the record behind a file descriptor, which is taken over."""
        self.fd = fd
        self._memory = mmap.mmap(fd, _NUM_BYTES)

    @classmethod
    def create(cls) -> "CallRecord":
        """A new, empty record."""
        with tempfile.TemporaryFile() as file:
            file.truncate(_NUM_BYTES)
            return cls(os.dup(file.fileno()))

    def write(self, fingerprints: Iterable[str]) -> None:
        """These, and no others, are inside from now on; at most 1023 are remembered."""
        marks = [bytes.fromhex(mark) for mark in fingerprints][:_MAX_MARKS]
        _COUNT.pack_into(self._memory, 0, 0)  # whoever dies in the middle leaves none, not a mixture
        for index, mark in enumerate(marks, 1):
            self._memory[index * _MARK_BYTES : (index + 1) * _MARK_BYTES] = mark
        _COUNT.pack_into(self._memory, 0, len(marks))

    def read(self) -> set[str]:
        """Those that are inside, or were when the writer died."""
        (count,) = _COUNT.unpack_from(self._memory, 0)
        ends = range(2 * _MARK_BYTES, (min(count, _MAX_MARKS) + 2) * _MARK_BYTES, _MARK_BYTES)
        return {self._memory[end - _MARK_BYTES : end].hex() for end in ends}

    def close(self) -> None:
        """Unmap it. Harmless when repeated."""
        if not self._memory.closed:
            self._memory.close()
            os.close(self.fd)
