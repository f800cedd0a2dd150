"""Tool `search`: lines that match a regular expression."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qcn_tools.base import Observation, Parameter, ToolSpec
from qcn_tools.worker import call_worker
from qcn_tools.workspace import MAX_FILE_BYTES, Workspace, observes_refusals

_MAX_MATCHES = 100
_WORKER = Path(__file__).with_name("search_worker.py")


class Search:
    """Searches the files that git knows or would add; binaries and files over 10 MB are passed over.

    Answers `matches` {pattern, path, matches: [{path, line, text}], num_matches, truncated, note} or, after
    `timeout_s` seconds, `error` {message}.
    """

    spec = ToolSpec(
        "search",
        "Find lines that match a regular expression, in all files that git does not ignore. "
        f"Shows path, line number and text of the first {_MAX_MATCHES}. Use it to find definitions and callers.",
        (
            Parameter(
                "pattern",
                "string",
                r"Python regular expression, case-sensitive. Escape what is meant literally: f\(x\).",
            ),
            Parameter(
                "path", "string", "File or directory to search in. Default: the whole workspace.", required=False
            ),
        ),
    )

    def __init__(self, workspace: Workspace, timeout_s: float = 10.0) -> None:
        self._workspace = workspace
        self._timeout_s = timeout_s

    @observes_refusals
    async def run(self, arguments: Mapping[str, Any]) -> Observation:
        """See the class."""
        pattern, path = arguments["pattern"], arguments.get("path") or "."
        if not pattern:
            return _failed("the pattern is empty")
        below = self._workspace.relative(self._workspace.resolve(path))
        files = await asyncio.to_thread(self._workspace.files)
        chosen = [name for name in files if below in (".", name) or name.startswith(below + "/")]
        request = {
            "root": str(self._workspace.root),
            "files": chosen,
            "pattern": pattern,
            "max_matches": _MAX_MATCHES,
            "max_file_bytes": MAX_FILE_BYTES,
        }
        answer = await call_worker(_WORKER, request, self._timeout_s)
        if answer is None:
            return _failed(f"the search took over {self._timeout_s:g} s; use a simpler pattern or a smaller path")
        truncated = answer["num_matches"] > len(answer["matches"])
        return Observation("matches", {"pattern": pattern, "path": below, "truncated": truncated, **answer})


def _failed(message: str) -> Observation:
    return Observation("error", {"message": message}, ok=False)
