"""What the server knows of an editor's documents, through the real protocol."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from lsprotocol import types

from qcn_agent.daemon import client
from qcn_lsp import server as server_module
from qcn_lsp.documents import UTF_16, UTF_32, Position
from qcn_lsp.open_documents import OpenDocuments

URI = "file:///a.py"


def insertion(line: int, character: int, text: str) -> types.TextDocumentContentChangePartial:
    """One piece of typing."""
    spot = types.Position(line, character)
    return types.TextDocumentContentChangePartial(types.Range(spot, spot), text)


def changed(version: int, *changes: types.TextDocumentContentChangeEvent) -> types.DidChangeTextDocumentParams:
    """A didChange."""
    return types.DidChangeTextDocumentParams(types.VersionedTextDocumentIdentifier(version, URI), list(changes))


@pytest.fixture
def documents() -> OpenDocuments:
    """One is open."""
    made = OpenDocuments()
    made.open(types.TextDocumentItem(URI, "python", 1, "😀x\n"))
    return made


def test_places_are_counted_as_was_agreed(documents: OpenDocuments) -> None:
    """In UTF-16 the smiley has two units, in UTF-32 one."""
    document = documents.get(URI)
    assert document is not None
    assert documents.locate(document, types.Position(0, 2)) == Position(0, 1)
    assert documents.position(document, Position(0, 1)) == types.Position(0, 2)
    documents.encoding = UTF_32
    assert documents.locate(document, types.Position(0, 2)) == Position(0, 2)


def test_changes_are_followed(documents: OpenDocuments) -> None:
    """Whole texts and pieces, one after the other."""
    after = documents.change(changed(4, types.TextDocumentContentChangeWholeDocument("new"), insertion(0, 3, "!")))
    assert after is not None
    assert (after.text, after.version, after.language_id) == ("new!", 4, "python")


def test_a_closed_document_is_forgotten(documents: OpenDocuments) -> None:
    """Nor does a late change bring it back."""
    documents.close(URI)
    assert documents.change(changed(2, types.TextDocumentContentChangeWholeDocument("x"))) is None
    assert len(documents) == 0


@pytest.mark.parametrize(("offered", "chosen"), [(["utf-32", "utf-16"], UTF_32), (None, UTF_16)])
def test_the_server_follows_an_editor(
    daemon: Callable[..., Any],
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    offered: list[str] | None,
    chosen: str,
) -> None:
    """Over the socket: form feeds end no line, and the encoding is the one that the editor prefers."""
    made: list[server_module.Server] = []
    plain = server_module.Server

    def kept(*args: Any) -> server_module.Server:
        made.append(plain(*args))
        return made[-1]

    monkeypatch.setattr(server_module, "Server", kept)
    daemon()
    connection = client.connect_to_running()
    assert connection is not None
    with connection:
        general = {"general": {"positionEncodings": offered}} if offered else {}
        params = {"processId": None, "rootUri": project.as_uri(), "capabilities": general}
        assert connection.request("initialize", params)["capabilities"]["positionEncoding"] == chosen
        connection.notify("initialized", {})
        item = {"uri": URI, "languageId": "python", "version": 1, "text": "def f():\f\n    pass\n"}
        connection.notify("textDocument/didOpen", {"textDocument": item})
        edit = {"range": {"start": {"line": 1, "character": 4}, "end": {"line": 1, "character": 8}}, "text": "return"}
        named = {"uri": URI, "version": 2}
        connection.notify("textDocument/didChange", {"textDocument": named, "contentChanges": [edit]})
        connection.request("qcn/status", {})
        documents = cast(server_module.Protocol, made[0].protocol).documents
        document = documents.get(URI)
        assert (documents.encoding, document and document.text) == (chosen, "def f():\f\n    return\n")
