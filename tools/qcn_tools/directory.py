"""Tool `list_directory`: the names in a directory."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qcn_tools.base import Observation, Parameter, ToolSpec
from qcn_tools.lookup import not_found
from qcn_tools.workspace import Workspace, observes_refusals

_MAX_ENTRIES = 200
_UNLISTED = (".git", "__pycache__")


class ListDirectory:
    """Lists a directory: sorted names, `/` behind those of directories.

    Answers `directory` {path, entries, num_entries, truncated}, `not_found` or `refused`.
    """

    spec = ToolSpec(
        "list_directory",
        "List the names in one directory, not those below it; directories end in `/`. "
        "To find where something is defined or used, search is quicker.",
        (
            Parameter(
                "path", "string", "Directory, relative to the root of the workspace. Default: the root.", required=False
            ),
        ),
    )

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    @observes_refusals
    async def run(self, arguments: Mapping[str, Any]) -> Observation:
        """See the class."""
        path = self._workspace.resolve(arguments.get("path") or ".")
        shown = self._workspace.relative(path)
        try:
            entries = await asyncio.to_thread(_entries, path)
        except FileNotFoundError:
            return await not_found(self._workspace, shown)
        except NotADirectoryError:
            return Observation("refused", {"path": shown, "reason": "it is not a directory"}, ok=False)
        fields = {
            "path": shown,
            "entries": entries[:_MAX_ENTRIES],
            "num_entries": len(entries),
            "truncated": len(entries) > _MAX_ENTRIES,
        }
        return Observation("directory", fields)


def _entries(path: Path) -> list[str]:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        with os.scandir(descriptor) as found:
            names = [e.name + "/" * e.is_dir(follow_symlinks=False) for e in found if e.name not in _UNLISTED]
    finally:
        os.close(descriptor)
    return sorted(name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") for name in names)
