"""A unified diff, as `qcn_agent.agent.diff` writes it, as the edit of a workspace."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lsprotocol import types

from qcn_lsp.documents import Document, Position

_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_NOTHING = "/dev/null"
_ANNOTATION = "qcn-agent"

DocumentOf = Callable[[Path], Document]  # as the editor has it, else as it is on disk
CountedPosition = Callable[[Document, Position], types.Position]


class MismatchError(ValueError):
    """A file is not what the diff was made from."""


@dataclass
class Change:
    """Lines (by LF, with their ends) that give way to others; `first` counts from 0."""

    first: int
    removed: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)


@dataclass
class FilePatch:
    """What happens to one file; `path` is relative to the root."""

    path: str
    is_new: bool
    is_deleted: bool
    changes: list[Change] = field(default_factory=list)


def parse(diff: str) -> list[FilePatch]:
    """The files of a diff."""
    patches: list[FilePatch] = []
    latest: list[str] = []  # where the latest line of a hunk went
    lines = iter(diff.split("\n"))
    for line in lines:
        if line.startswith("--- "):
            old, new = line[4:], next(lines)[4:]
            path = new[2:] if old == _NOTHING else old[2:]
            patches.append(FilePatch(path, old == _NOTHING, new == _NOTHING))
        elif found := _HUNK.match(line):
            start, num_old, num_new = int(found[1]), int(found[2] or 1), int(found[4] or 1)
            changes, latest = _hunk(lines, start - 1 if num_old else start, num_old, num_new)
            patches[-1].changes += changes
        elif line.startswith("\\"):
            _cut_end(latest)
    return patches


def _cut_end(lines: list[str]) -> None:
    """The latest line has no end after all."""
    lines[-1] = lines[-1].removesuffix("\n")


def _hunk(lines: Iterator[str], first: int, num_old: int, num_new: int) -> tuple[list[Change], list[str]]:
    """The changes of one hunk, without what stays around them, and where its last line went."""
    changes: list[Change] = []
    is_open = False  # whether the latest change goes on
    latest: list[str] = []
    while num_old or num_new:
        line = next(lines)
        kind, text = line[:1], line[1:] + "\n"
        if kind == "\\":
            _cut_end(latest)
            continue
        if kind == " ":
            num_old, num_new, first, is_open = num_old - 1, num_new - 1, first + 1, False
            latest = [text]
            continue
        if not is_open:
            changes.append(Change(first))
            is_open = True
        latest = changes[-1].removed if kind == "-" else changes[-1].added
        latest.append(text)
        if kind == "-":
            num_old, first = num_old - 1, first + 1
        else:
            num_new -= 1
    return changes, latest


def workspace_edit(
    diff: str, root: Path, document_of: DocumentOf, count: CountedPosition, label: str, *, with_annotations: bool
) -> types.WorkspaceEdit:
    """One edit of all files. Raises MismatchError naming a file that is not what the diff was made from.

    `with_annotations`: the editor shows it before it is made.
    """
    parts: list[types.TextDocumentEdit | types.CreateFile | types.RenameFile | types.DeleteFile] = []
    annotation = _ANNOTATION if with_annotations else None
    for patch in parse(diff):
        uri = (root / patch.path).as_uri()
        if patch.is_deleted:
            parts.append(types.DeleteFile(uri, annotation_id=annotation))
            continue
        if patch.is_new:
            parts.append(types.CreateFile(uri, annotation_id=annotation))
            document, version = Document(uri, "", 0, ""), None
        else:
            document = document_of(root / patch.path)
            version = document.version if document.version >= 0 else None
        edits = [_text_edit(patch, change, document, count, annotation) for change in patch.changes]
        named = types.OptionalVersionedTextDocumentIdentifier(uri, version)
        parts.append(types.TextDocumentEdit(named, edits))
    annotations = {_ANNOTATION: types.ChangeAnnotation(label, needs_confirmation=True)} if with_annotations else None
    return types.WorkspaceEdit(document_changes=parts, change_annotations=annotations)


def _text_edit(
    patch: FilePatch, change: Change, document: Document, count: CountedPosition, annotation: str | None
) -> types.TextEdit | types.AnnotatedTextEdit:
    lines = document.text.split("\n")
    begin = sum(len(line) + 1 for line in lines[: change.first])
    removed, added = "".join(change.removed), "".join(change.added)
    text = document.text
    begin = min(begin, len(text))
    if text[begin : begin + len(removed)] != removed:
        raise MismatchError(f"{patch.path} has changed meanwhile")
    ends = types.Range(*(count(document, place_at(document, spot)) for spot in (begin, begin + len(removed))))
    if annotation is None:
        return types.TextEdit(ends, added)
    return types.AnnotatedTextEdit(annotation, ends, added)


def place_at(document: Document, offset: int) -> Position:
    """The place of a code point, counted from the start of the text."""
    for number in range(document.num_lines):
        length = document.length(number)
        if offset < length or number == document.num_lines - 1:
            return Position(number, min(offset, length))
        offset -= length
    raise AssertionError("a document has a line")
