"""Bytes of a file to text and back, so that nothing changes but what was meant to."""

from dataclasses import dataclass

from qcn_tools.workspace import PathRefused

BOM = b"\xef\xbb\xbf"
_SNIFFED_BYTES = 8192


@dataclass(frozen=True)
class TextFile:
    """A file as the model sees it: newlines are `\\n`, no byte order mark. `note` says where this is not the truth."""

    text: str
    note: str = ""

    @property
    def lines(self) -> list[str]:
        """Lines without their ends. Only `\\n` ends a line, so that the numbers agree with editors and tests."""
        lines = self.text.split("\n")
        return lines[:-1] if lines[-1] == "" else lines


def check_text(data: bytes, path: str) -> None:
    """Raise PathRefused when `data` is not text, that is, has a NUL among its first 8 KiB."""
    if b"\0" in data[:_SNIFFED_BYTES]:
        raise PathRefused(path, "it is a binary file")


def decode(data: bytes, path: str) -> TextFile:
    """Text for reading: undecodable bytes are shown as U+FFFD, which `note` says. Raises PathRefused for binaries."""
    check_text(data, path)
    body = data.removeprefix(BOM)
    try:
        return TextFile(_with_lf(body.decode("utf-8")))
    except UnicodeDecodeError:
        note = "not UTF-8: undecodable bytes are shown as \ufffd"
        return TextFile(_with_lf(body.decode("utf-8", "replace")), note)


def like(content: str, old: bytes | None) -> bytes:
    """Bytes for `content` in the style of the file it replaces: its newlines, byte order mark and final newline.

    A new file gets `\\n`, no mark, and a final newline if it has any text.
    """
    data = _with_lf(content).encode()
    if data and not data.endswith(b"\n") and (not old or old.endswith(b"\n")):
        data += b"\n"
    if old is None:
        return data
    if uses_crlf(old):
        data = data.replace(b"\n", b"\r\n")
    return BOM + data if old.startswith(BOM) and not data.startswith(BOM) else data


def uses_crlf(data: bytes) -> bool:
    """Whether most lines end in CRLF."""
    return data.count(b"\r\n") * 2 > data.count(b"\n")


def _with_lf(text: str) -> str:
    return text.replace("\r\n", "\n")
