"""A diff becomes an edit that makes of one tree the other, exactly."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lsprotocol import types

from qcn_agent.agent.diff import unified_diff
from qcn_lsp.documents import UTF_16, Document, Position
from qcn_lsp.edits import MismatchError, place_at, workspace_edit

LINES = st.lists(
    st.sampled_from(["a\n", "b\n", "c\r\n", "é😀\n", "x\f\n", "d", "\n", "e\rf\n", "--- g\n", "+++ h\n"]), max_size=9
)
TEXTS = LINES.map("".join)


def read(path: Path) -> Document:
    """As it is on disk."""
    return Document(path.as_uri(), "", -1, path.read_bytes().decode())


def counted(document: Document, place: Position) -> types.Position:
    """In UTF-16."""
    spot = document.units(place, UTF_16)
    return types.Position(spot.line, spot.character)


def edit_of(root: Path, found: dict[str, bytes | None], document_of: Callable[[Path], Document]) -> types.WorkspaceEdit:
    """The edit that makes the tree what it is now, of the files as found."""
    return workspace_edit(unified_diff(root, found), root, document_of, counted, "fix", with_annotations=False)


def done(text: str, edits: list[types.TextEdit]) -> str:
    """As an editor makes several edits of one text: each one's range is in the text before."""
    document = Document("file:///x", "", 1, text)
    changes = [
        {
            "range": {
                name: {"line": spot.line, "character": spot.character}
                for name, spot in (("start", edit.range.start), ("end", edit.range.end))
            },
            "text": edit.new_text,
        }
        for edit in sorted(edits, key=lambda edit: edit.range.start, reverse=True)
    ]
    document.apply(2, changes, UTF_16)
    return document.text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXTS, TEXTS)
def test_the_edit_makes_the_new_text(tmp_path: Path, before: str, after: str) -> None:
    """Whatever line ends there are, with or without one at the end."""
    old, new = tmp_path / "old.py", tmp_path / "new.py"
    old.write_bytes(before.encode())
    new.write_bytes(after.encode())
    diff = unified_diff(tmp_path, {"new.py": before.encode()})
    edit = workspace_edit(diff, tmp_path, lambda _: read(old), counted, "fix", with_annotations=False)
    parts = [part for part in edit.document_changes or () if isinstance(part, types.TextDocumentEdit)]
    edits = [found for part in parts for found in part.edits if isinstance(found, types.TextEdit)]
    assert done(before, edits) == after


def test_files_come_and_go(tmp_path: Path) -> None:
    """A new one is made and filled, an old one deleted."""
    (tmp_path / "new.py").write_text("x = 1\n")
    edit = edit_of(tmp_path, {"new.py": None, "gone.py": b"y\n"}, read)
    kinds = [type(part) for part in edit.document_changes or ()]
    assert kinds == [types.DeleteFile, types.CreateFile, types.TextDocumentEdit]


def test_an_open_document_is_named_with_its_version(tmp_path: Path) -> None:
    """The editor refuses the edit should it have changed; a file on disk has none."""
    (tmp_path / "a.py").write_text("new\n")
    old = Document((tmp_path / "a.py").as_uri(), "python", 7, "old\n")
    for document, version in ((old, 7), (Document(old.uri, "", -1, "old\n"), None)):
        edit = edit_of(tmp_path, {"a.py": b"old\n"}, lambda _, document=document: document)  # type: ignore[misc]
        (part,) = edit.document_changes or ()
        assert isinstance(part, types.TextDocumentEdit)
        assert part.text_document.version == version


def test_a_document_that_is_not_what_was_fixed_is_left_alone(tmp_path: Path) -> None:
    """Somebody typed in it meanwhile."""
    (tmp_path / "a.py").write_text("new\n")
    with pytest.raises(MismatchError, match=r"a\.py has changed"):
        edit_of(tmp_path, {"a.py": b"old\n"}, lambda path: Document(path.as_uri(), "", 3, "typed\n"))


def test_with_annotations_the_editor_asks_first(tmp_path: Path) -> None:
    """Each edit belongs to one annotation that wants to be confirmed."""
    (tmp_path / "a.py").write_text("new\n")
    diff = unified_diff(tmp_path, {"a.py": b"old\n"})
    edit = workspace_edit(
        diff, tmp_path, lambda path: Document(path.as_uri(), "", 1, "old\n"), counted, "fix it", with_annotations=True
    )
    (part,) = edit.document_changes or ()
    assert isinstance(part, types.TextDocumentEdit)
    (found,) = part.edits
    assert isinstance(found, types.AnnotatedTextEdit)
    assert edit.change_annotations is not None
    annotation = edit.change_annotations[found.annotation_id]
    assert (annotation.label, annotation.needs_confirmation) == ("fix it", True)


@given(TEXTS, st.integers(0, 30))
def test_a_place_is_as_far_from_the_start_as_asked(text: str, offset: int) -> None:
    """Or at the end."""
    document = Document("file:///x", "", 1, text)
    offset = min(offset, len(text))
    before, _ = document.split(place_at(document, offset))
    assert len(before) == offset
