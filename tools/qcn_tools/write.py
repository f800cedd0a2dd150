"""Tool `write_file`: create or replace a whole file."""

import asyncio
from collections.abc import Mapping
from typing import Any

from qcn_tools.base import Observation, Parameter, ToolSpec, Writer
from qcn_tools.lookup import look_up
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
        "Create a file, and the directories it needs, or replace all that is in it. "
        "To change a part of an existing file use edit_file.",
        (
            Parameter("path", "string", "File, relative to the root of the workspace."),
            Parameter("content", "string", "The complete new contents, nothing left out."),
        ),
    )

    def __init__(self, workspace: Workspace, writer: Writer) -> None:
        self._workspace = workspace
        self._writer = writer

    @observes_refusals
    async def run(self, arguments: Mapping[str, Any]) -> Observation:
        """See the class."""
        file = await look_up(self._workspace, arguments["path"], write=True)
        data = like(arguments["content"], file.data)
        if file.data is not None:
            check_text(file.data, file.shown)
            broken = await syntax_error(file.path, file.shown, file.data, data)
            if broken:
                return broken
        await asyncio.to_thread(self._writer.write, file.path, data, file.data)
        num_lines = data.count(b"\n") + (not data.endswith(b"\n") and bool(data))
        return Observation("written", {"path": file.shown, "num_lines": num_lines, "created": file.data is None})
