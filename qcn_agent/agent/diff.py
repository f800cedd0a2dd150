"""A unified diff of what a run changed, made from the bytes as found: works without git."""

import difflib
from collections.abc import Mapping
from pathlib import Path


def unified_diff(root: Path, found: Mapping[str, bytes | None]) -> str:
    """The changes from `found` (path → bytes as found, None for a new file) to the tree as it is."""
    parts: list[str] = []
    for name in sorted(found):
        path = root / name
        before, after = found[name], path.read_bytes() if path.is_file() else None
        if before != after:
            parts.extend(_one_file(name, before, after))
    return "".join(parts)


def _one_file(name: str, before: bytes | None, after: bytes | None) -> list[str]:
    old, new = _lines(before), _lines(after)
    head_old = "/dev/null" if before is None else f"a/{name}"
    head_new = "/dev/null" if after is None else f"b/{name}"
    lines = []
    for line in difflib.unified_diff(old, new, head_old, head_new):
        lines.append(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n")
    return lines


def _lines(data: bytes | None) -> list[str]:
    """Lines by line feed only, so that a form feed or a carriage return stays inside its line."""
    text = (data or b"").decode("utf-8", "replace")
    return [line + "\n" for line in text.split("\n")[:-1]] + [tail for tail in text.split("\n")[-1:] if tail]
