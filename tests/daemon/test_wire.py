"""Frames: what is malformed is refused, nothing is lost at the seams."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcn_agent.daemon import wire
from qcn_agent.errors import DaemonError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**50), 2**50) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


class Dribble(io.RawIOBase):
    """A stream that gives one byte at a time, as a slow socket may."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        """It can be read."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """One byte at most."""
        return self._data.read(min(size, 1))


@given(st.dictionaries(st.text(), JSON))
def test_frames_survive_the_wire(message: dict[str, object]) -> None:
    """What is encoded is read back, also byte by byte and with another frame behind it."""
    data = wire.encode(message) + wire.encode({"next": True})
    for stream in (io.BytesIO(data), Dribble(data)):
        assert wire.read(stream) == message
        assert wire.read(stream) == {"next": True}
        assert wire.read(stream) is None


@pytest.mark.parametrize(
    "data",
    [
        b"Content-Length: 5\r\n\r\n{}",
        b"Content-Length: 5",
        b"Content-Length: x\r\n\r\n{}",
        b"Content-Length: -1\r\n\r\n",
        b"Content-Length: 99999999999\r\n\r\n",
        b"Content-Length: 3\r\n\r\nabc",
        b"Content-Length: 2\r\n\r\n[]",
        b"\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_malformed_frame_is_an_error(data: bytes) -> None:
    """Cut short, absurd length, no JSON, no object: DaemonError, never a crash or a wait."""
    with pytest.raises(DaemonError):
        wire.read(io.BytesIO(data))


def test_frame_may_not_exceed_its_limit() -> None:
    """The first frame is small by agreement."""
    with pytest.raises(DaemonError, match="limit"):
        wire.read(io.BytesIO(wire.encode({"token": "x" * 5000})), wire.MAX_HELLO_BYTES)
