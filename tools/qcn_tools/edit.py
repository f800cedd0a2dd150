"""Tool `edit_file`: replace a text that occurs exactly once."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qcn_tools.base import Observation, Parameter, ToolSpec, Writer
from qcn_tools.lookup import look_up, not_found
from qcn_tools.region import nearest_region
from qcn_tools.syntax import syntax_error
from qcn_tools.text import check_text, decode, uses_crlf
from qcn_tools.workspace import Workspace, observes_refusals

_CONTEXT_LINES = 2
_MAX_SNIPPET_LINES = 40
_MAX_LISTED = 200


@dataclass(frozen=True)
class Edit:
    """What an edit comes to: the new bytes, and the lines (from 1, inclusive) of the new text."""

    data: bytes
    first_line: int
    last_line: int


class EditFile:
    """Replaces `old_string` by `new_string`, which must match exactly once; only newline styles are bridged.

    Answers `edited` {path, first_line, last_line, snippet}: the new lines with two on either side. Else nothing is
    written, and it answers `edit_not_found` {path, first_line, last_line, region, differing_lines},
    `edit_ambiguous` {path, lines}, `edit_noop` {path}, `edit_syntax_error` {path, line, message}, `not_found`
    {path, nearest}, `refused` {path, reason} or, for a text that nothing looks like, `error` {message}.
    """

    spec = ToolSpec(
        "edit_file",
        "Change an existing file: replace one stretch of text by another. "
        "old_string must occur in the file exactly once, character for character, with its indentation. "
        "If it does not, or if a Python file would no longer compile, nothing is changed and the answer says why. "
        "Make one call for each place.",
        (
            Parameter("path", "string", "File, relative to the root of the workspace."),
            Parameter(
                "old_string",
                "string",
                "The text to replace, copied from the file: whole lines, and as many around them as make it unique.",
            ),
            Parameter(
                "new_string", "string", "The text to put there, indented as it shall stand in the file. Empty: delete."
            ),
        ),
    )

    def __init__(self, workspace: Workspace, writer: Writer) -> None:
        self._workspace = workspace
        self._writer = writer

    @observes_refusals
    async def run(self, arguments: Mapping[str, Any]) -> Observation:
        """See the class."""
        file = await look_up(self._workspace, arguments["path"], write=True)
        if file.data is None:
            return await not_found(self._workspace, file.shown)
        check_text(file.data, file.shown)
        edit = await asyncio.to_thread(
            plan_edit, file.data, file.shown, arguments["old_string"], arguments["new_string"]
        )
        if isinstance(edit, Observation):
            return edit
        broken = await syntax_error(file.path, file.shown, file.data, edit.data)
        if broken:
            return broken
        await asyncio.to_thread(self._writer.write, file.path, edit.data, file.data)
        return _edited(file.shown, edit)


def plan_edit(data: bytes, path: str, old: str, new: str) -> Edit | Observation:
    """Where `old` is in `data` and what the file becomes; bytes outside the match stay as they are, UTF-8 or not."""
    old, new = old.replace("\r\n", "\n"), new.replace("\r\n", "\n")
    if not old:
        return Observation("error", {"message": "old_string is empty; to fill a file use write_file"}, ok=False)
    if old == new:
        return Observation("edit_noop", {"path": path}, ok=False)
    raw = data.decode("utf-8", "surrogateescape")
    text = raw.replace("\r\n", "\n")
    starts = _occurrences(text, old)
    if not starts:
        return _no_match(text, path, old)
    if len(starts) > 1:
        lines = [text.count("\n", 0, start) + 1 for start in starts[:_MAX_LISTED]]
        return Observation("edit_ambiguous", {"path": path, "lines": lines}, ok=False)
    begin, end = (_raw_offset(raw, text, offset) for offset in (starts[0], starts[0] + len(old)))
    replacement = new.replace("\n", "\r\n") if uses_crlf(data) else new
    changed = raw[:begin] + replacement + raw[end:]
    first = text.count("\n", 0, starts[0]) + 1
    last = first + new.removesuffix("\n").count("\n")
    return Edit(changed.encode("utf-8", "surrogateescape"), first, last)


def _occurrences(text: str, wanted: str) -> list[int]:
    """Starts of all matches, overlapping ones too."""
    starts, start = [], text.find(wanted)
    while start >= 0:
        starts.append(start)
        start = text.find(wanted, start + 1)
    return starts


def _raw_offset(raw: str, text: str, offset: int) -> int:
    """Where in `raw` the character `offset` of `text` is, which is `raw` with CRLF made LF.

    Both have the same number of `\\n`, and a line's `\\r` comes after all that its text has.
    """
    num_lines, column = text.count("\n", 0, offset), offset - (text.rfind("\n", 0, offset) + 1)
    begin = 0
    for _ in range(num_lines):
        begin = raw.index("\n", begin) + 1
    return begin + column


def _no_match(text: str, path: str, old: str) -> Observation:
    region = nearest_region(text.encode("utf-8", "surrogateescape").decode("utf-8", "replace"), old)
    if region is None:
        return Observation("error", {"message": f"old_string does not occur in {path}, nor anything like it"}, ok=False)
    fields = {
        "path": path,
        "first_line": region.first_line,
        "last_line": region.last_line,
        "region": region.text,
        "differing_lines": list(region.differing_lines),
    }
    return Observation("edit_not_found", fields, ok=False)


def _edited(path: str, edit: Edit) -> Observation:
    lines = decode(edit.data, path).lines
    begin = max(edit.first_line - 1 - _CONTEXT_LINES, 0)
    snippet = lines[begin : min(edit.last_line + _CONTEXT_LINES, begin + _MAX_SNIPPET_LINES)]
    fields = {
        "path": path,
        "first_line": begin + 1,
        "last_line": begin + len(snippet),
        "snippet": "\n".join(snippet),
    }
    return Observation("edited", fields)
