"""Bytes to text and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcn_tools.text import BOM, check_text, decode, like, uses_crlf
from qcn_tools.workspace import PathRefused


@pytest.mark.parametrize(
    ("data", "text", "noted"),
    [
        (b"a\nb\n", "a\nb\n", False),
        (b"a\r\nb\r\n", "a\nb\n", False),
        (BOM + "é\n".encode(), "é\n", False),
        (b"caf\xe9\n", "caf\ufffd\n", True),
        (b"", "", False),
        (b"a\rb", "a\rb", False),
    ],
)
def test_decode(data: bytes, text: str, noted: bool) -> None:
    """Newlines become `\\n`, a byte order mark goes, undecodable bytes are shown and noted."""
    file = decode(data, "a")
    assert (file.text, bool(file.note)) == (text, noted)


def test_binary() -> None:
    """A NUL near the beginning means binary; a late one does not."""
    with pytest.raises(PathRefused, match="binary"):
        decode(b"\x7fELF\0", "a")
    check_text(b"x" * 9000 + b"\0", "a")


@pytest.mark.parametrize(
    ("data", "lines"), [(b"", []), (b"a", ["a"]), (b"a\n", ["a"]), (b"a\n\n", ["a", ""]), (b"a\x0cb\n", ["a\x0cb"])]
)
def test_lines(data: bytes, lines: list[str]) -> None:
    """Lines are counted as editors do: form feeds end none, and a final newline begins none."""
    assert decode(data, "a").lines == lines


@pytest.mark.parametrize(
    ("content", "old", "data"),
    [
        ("a", None, b"a\n"),
        ("a\n", None, b"a\n"),
        ("", None, b""),
        ("a\nb", b"x\r\ny\r\n", b"a\r\nb\r\n"),
        ("a\r\nb\r\n", b"x\r\n", b"a\r\nb\r\n"),
        ("a\r\nb\r\n", b"x\n", b"a\nb\n"),
        ("a", b"x", b"a"),
        ("a\n", BOM + b"x\n", BOM + b"a\n"),
        ("\ufeffa\n", BOM + b"x\n", BOM + b"a\n"),
        ("a", b"", b"a\n"),
    ],
)
def test_like(content: str, old: bytes | None, data: bytes) -> None:
    """New contents take over newlines, byte order mark and final newline of the old file."""
    assert like(content, old) == data


@given(st.binary(max_size=200).filter(lambda data: b"\0" not in data))
def test_decode_accepts_any_bytes(data: bytes) -> None:
    """Whatever is not binary is shown, and what is shown can be encoded."""
    decode(data, "a").text.encode()


def test_uses_crlf() -> None:
    """The majority decides about mixed newlines."""
    assert uses_crlf(b"a\r\nb\r\nc\n")
    assert not uses_crlf(b"a\r\nb\nc\n")
    assert not uses_crlf(b"")
