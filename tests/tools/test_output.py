"""Keeping the two ends of a stream."""

from hypothesis import given
from hypothesis import strategies as st

from qcn_tools.output import OutputBuffer


def collected(chunks: list[bytes], limit: int) -> OutputBuffer:
    """A buffer that was fed `chunks`."""
    buffer = OutputBuffer(limit)
    for chunk in chunks:
        buffer.add(chunk)
    return buffer


@given(st.lists(st.text("abc\n").map(str.encode)), st.integers(2, 60))
def test_nothing_is_lost_below_the_limit_and_both_ends_are_kept_above(chunks: list[bytes], limit: int) -> None:
    """Whatever the chunks: short streams come back whole, long ones as their head and tail."""
    whole = b"".join(chunks).decode()
    buffer = collected(chunks, limit)
    if len(whole) <= limit:
        assert (buffer.text(), buffer.truncated) == (whole, False)
    else:
        head, tail = int(limit * 0.4), limit - int(limit * 0.4)
        assert buffer.truncated
        assert buffer.text() == f"{whole[:head]}\n… {len(whole) - limit:,} bytes left out …\n{whole[-tail:]}"


def test_memory_is_bounded() -> None:
    """A hundred megabytes leave little more than the limit behind."""
    buffer = collected([b"x" * 65536] * 1600, 1000)
    assert buffer.num_bytes == 1600 * 65536
    assert sum(len(chunk) for chunk in buffer._tail) + len(buffer._head) <= 1000 + 65536


def test_undecodable_bytes() -> None:
    """Bytes that are not UTF-8 are replaced, never an error."""
    assert collected([b"a\xff", b"b"], 10).text() == "a\ufffdb"
