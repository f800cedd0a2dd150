"""Tool `read_file`: a window of a text file."""

from collections.abc import Mapping
from typing import Any

from qcn_tools.base import Observation, Parameter, ToolSpec
from qcn_tools.lookup import look_up, not_found
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
        "Show a text file, or some of its lines, exactly as they are and without line numbers. "
        "Read the lines that you are going to edit. Long files are cut; the answer says where to read on.",
        (
            Parameter("path", "string", "File, relative to the root of the workspace."),
            Parameter("first_line", "integer", "First line to show, counted from 1. Default: 1.", required=False),
            Parameter("last_line", "integer", "Last line to show. Default: the end of the file.", required=False),
        ),
    )

    def __init__(self, workspace: Workspace, limit_chars: int = 10_000) -> None:
        self._workspace = workspace
        self._limit_chars = limit_chars

    @observes_refusals
    async def run(self, arguments: Mapping[str, Any]) -> Observation:
        """See the class."""
        file = await look_up(self._workspace, arguments["path"])
        if file.data is None:
            return await not_found(self._workspace, file.shown)
        first, last = arguments.get("first_line") or 1, arguments.get("last_line")
        return _window(decode(file.data, file.shown), file.shown, max(first, 1), last, self._limit_chars)


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
