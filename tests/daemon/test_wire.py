"""Frames: what is malformed is refused, nothing is lost at the seams."""

import io
import signal
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcn_agent.daemon import wire
from qcn_agent.errors import DaemonDiedError, DaemonError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**50), 2**50) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def source(data: bytes, chunk_bytes: int = 1 << 20) -> Callable[[int], bytes]:
    """What a socket's `recv` would give: at most `chunk_bytes` at a time, then nothing."""
    stream = io.BytesIO(data)
    return lambda num_bytes: stream.read(min(num_bytes, chunk_bytes))


def read(frames: wire.FrameReader) -> dict[str, Any] | None:
    """The next frame, taken off."""
    frame = frames.peek()
    frames.drop()
    return frame


@settings(deadline=None)
@given(st.dictionaries(st.text(), JSON), st.integers(1, 50))
def test_frames_survive_the_wire(message: dict[str, object], chunk_bytes: int) -> None:
    """What is encoded is read back, in parts of any size and with another frame behind it."""
    frames = wire.FrameReader(source(wire.encode(message) + wire.encode({"next": True}), chunk_bytes))

    assert read(frames) == message
    assert read(frames) == {"next": True}
    assert read(frames) is None


def test_frame_stays_until_it_is_dropped() -> None:
    """Who is interrupted while handling a frame finds it again."""
    frames = wire.FrameReader(source(wire.encode({"n": 1}) + wire.encode({"n": 2})))

    assert frames.peek() == frames.peek() == {"n": 1}
    frames.drop()
    assert frames.peek() == {"n": 2}


def test_signals_at_any_moment_lose_nothing() -> None:
    """KeyboardInterrupt out of a real signal, at random moments of reading a real socket: each frame comes once."""
    num_frames, num_interrupts = 10_000, 0
    numbers: list[int] = []
    reading, writing = socket.socketpair()
    armed: list[bool] = []

    def interrupt(*_: object) -> None:
        if armed:
            armed.clear()
            raise KeyboardInterrupt

    data = b"".join(wire.encode({"number": number, "pad": "x" * (number % 300)}) for number in range(num_frames))
    writer = threading.Thread(target=writing.sendall, args=(data,))
    frames = wire.FrameReader(reading.recv)
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
    try:
        writer.start()
        while len(numbers) < num_frames:
            try:
                armed.append(True)
                frame = frames.peek()
                armed.clear()
            except KeyboardInterrupt:
                num_interrupts += 1
                continue
            assert frame is not None
            numbers.append(frame["number"])
            frames.drop()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        writer.join(10)
        reading.close()
        writing.close()

    assert numbers == list(range(num_frames))
    assert num_interrupts > 5


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
        b"x" * 10_000,
    ],
)
def test_malformed_frame_is_an_error(data: bytes) -> None:
    """Cut short, absurd length, no JSON, no object: DaemonError, never a crash or a wait."""
    with pytest.raises(DaemonError):
        wire.FrameReader(source(data)).peek()


def test_frame_may_not_exceed_its_limit() -> None:
    """The first frame is small by agreement."""
    with pytest.raises(DaemonError, match="limit"):
        wire.FrameReader(source(wire.encode({"token": "x" * 5000})), wire.MAX_HELLO_BYTES).peek()


def test_end_in_the_middle_is_a_death_and_at_a_seam_is_none() -> None:
    """A lost connection can be told from nonsense."""
    whole = wire.encode({"n": 1})

    assert wire.FrameReader(source(b"")).peek() is None
    for length in range(1, len(whole)):
        with pytest.raises(DaemonDiedError):
            wire.FrameReader(source(whole[:length])).peek()
