"""Tool `read_file`: a window of a text file."""

import asyncio
from collections.abc import Mapping
from typing import Any

from qcn_tools.base import Observation, Parameter, ToolSpec
from qcn_tools.text import TextFile, decode
from qcn_tools.workspace import Workspace, observes_refusals


class ReadFile:
    """Shows lines of a file, at most `limit_chars` characters of them.

    Answers `file` {path, text, first_line, last_line, num_lines, truncated, next_line, encoding_note}: line numbers
    from 1, inclusive; `next_line` is where to read on, or None. Else `not_found` {path, nearest} or
    `refused` {path, reason}.
    """

    spec = ToolSpec(
        "read_file",
        "Read a file.",
        (
            Parameter("path", "string", "File, relative to the root of the workspace."),
            Parameter("first_line", "integer", "First line to show, from 1.", required=False),
            Parameter("last_line", "integer", "Last line to show.", required=False),
        ),
    )

    def __init__(self, workspace: Workspace, limit_chars: int = 10_000) -> None:
        self._workspace = workspace
        self._limit_chars = limit_chars

    @observes_refusals
    async def run(self, arguments: Mapping[str, Any]) -> Observation:
        """See the class."""
        path = self._workspace.resolve(arguments["path"])
        shown = self._workspace.relative(path)
        if path.is_dir():
            return Observation("refused", {"path": shown, "reason": "it is a directory"}, ok=False)
        try:
            data = await asyncio.to_thread(self._workspace.read_bytes, path)
        except FileNotFoundError:
            return await not_found(self._workspace, shown)
        first, last = arguments.get("first_line") or 1, arguments.get("last_line")
        return _window(decode(data, shown), shown, max(first, 1), last, self._limit_chars)


async def not_found(workspace: Workspace, path: str) -> Observation:
    """A `not_found` observation with the existing paths that look most like `path`."""
    nearest = await asyncio.to_thread(workspace.nearest, path)
    return Observation("not_found", {"path": path, "nearest": list(nearest)}, ok=False)


def _window(file: TextFile, path: str, first: int, last: int | None, limit_chars: int) -> Observation:
    lines = file.lines
    wanted_last = len(lines) if last is None else min(last, len(lines))
    if wanted_last < first and lines:
        reason = f"there are no lines {first} to {last or first}: the file has {len(lines)} lines"
        return Observation("refused", {"path": path, "reason": reason}, ok=False)
    kept: list[str] = []
    num_chars = 0
    for line in lines[first - 1 : wanted_last]:
        num_chars += len(line) + 1
        if kept and num_chars > limit_chars:
            break
        kept.append(line if len(line) <= limit_chars else line[:limit_chars] + " …")
    shown_last = first - 1 + len(kept)
    fields = {
        "path": path,
        "text": "\n".join(kept),
        "first_line": first,
        "last_line": shown_last,
        "num_lines": len(lines),
        "truncated": shown_last < wanted_last or num_chars > limit_chars,
        "next_line": shown_last + 1 if shown_last < len(lines) else None,
        "encoding_note": file.note,
    }
    return Observation("file", fields)
