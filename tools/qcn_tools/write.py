"""Tool `write_file`: create or replace a whole file."""

import asyncio
from collections.abc import Mapping
from typing import Any

from qcn_tools.base import Observation, Parameter, ToolSpec, Writer
from qcn_tools.syntax import syntax_error
from qcn_tools.text import check_text, like
from qcn_tools.workspace import Workspace, observes_refusals


class WriteFile:
    """Writes a file, keeping the newlines, byte order mark and mode of the one it replaces.

    Answers `written` {path, num_lines, created}, `edit_syntax_error` {path, line, message} or `refused`
    {path, reason}.
    """

    spec = ToolSpec(
        "write_file",
        "Create a file, or replace its whole contents.",
        (
            Parameter("path", "string", "File, relative to the root of the workspace."),
            Parameter("content", "string", "The new contents."),
        ),
    )

    def __init__(self, workspace: Workspace, writer: Writer) -> None:
        self._workspace = workspace
        self._writer = writer

    @observes_refusals
    async def run(self, arguments: Mapping[str, Any]) -> Observation:
        """See the class."""
        path = self._workspace.resolve(arguments["path"], write=True)
        shown = self._workspace.relative(path)
        if path.is_dir():
            return Observation("refused", {"path": shown, "reason": "it is a directory"}, ok=False)
        old: bytes | None = None
        try:
            old = await asyncio.to_thread(self._workspace.read_bytes, path)
        except FileNotFoundError:
            pass
        data = like(arguments["content"], old)
        if old is not None:
            check_text(old, shown)
            broken = await syntax_error(path, shown, old, data)
            if broken:
                return broken
        await asyncio.to_thread(self._writer.write, path, data)
        num_lines = data.count(b"\n") + (not data.endswith(b"\n") and bool(data))
        return Observation("written", {"path": shown, "num_lines": num_lines, "created": old is None})
