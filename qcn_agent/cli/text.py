"""Texts of repositories and models, made fit for a terminal."""

from typing import Any

_C0 = {code: f"^{chr(code ^ 0x40)}" for code in (*range(0x20), 0x7F) if chr(code) not in "\n\t"}
_CONTROLS = _C0 | dict.fromkeys((*range(0x80, 0xA0), *range(0xD800, 0xE000)), "\ufffd")


def visible(value: Any) -> Any:
    """`value` with every control character in its texts made visible, but newlines and tabs: `^[` for escape.

    Texts are found in lists, tuples and dictionaries at any depth; CRLF becomes a newline. What can't
    be encoded (the bytes of a file name that is not UTF-8) becomes U+FFFD.
    """
    if isinstance(value, str):
        return value.replace("\r\n", "\n").translate(_CONTROLS)
    if isinstance(value, dict):
        return {visible(key): visible(entry) for key, entry in value.items()}
    return [visible(entry) for entry in value] if isinstance(value, list | tuple) else value


def first_line(text: str) -> str:
    """The first line that says something, cut to a terminal's width."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= 100 else line[:99] + "…"
