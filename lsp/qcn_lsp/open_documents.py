"""The documents that one editor has open. pygls' own store splits lines where LSP does not: edits land elsewhere."""

import logging
from collections.abc import Iterator
from typing import Any

from lsprotocol import types

from qcn_lsp.documents import UTF_16, Document, DocumentError, Position

logger = logging.getLogger(__name__)


class OpenDocuments:
    """By URI. The shim lets no change through that makes no sense; a document with one from elsewhere is forgotten."""

    def __init__(self) -> None:
        self.encoding = UTF_16
        self._known: dict[str, Document] = {}

    def get(self, uri: str) -> Document | None:
        """None: not open, or not known exactly."""
        return self._known.get(uri)

    def __iter__(self) -> Iterator[Document]:
        """All that are open, as they are now."""
        return iter(list(self._known.values()))

    def __len__(self) -> int:
        return len(self._known)

    def open(self, item: types.TextDocumentItem) -> Document:
        """Follow didOpen."""
        document = Document(item.uri, str(item.language_id), item.version, item.text)
        self._known[item.uri] = document
        return document

    def change(self, params: types.DidChangeTextDocumentParams) -> Document | None:
        """Follow didChange. None when what the document holds now is not known."""
        uri, version = params.text_document.uri, params.text_document.version
        changes = [_as_json(change) for change in params.content_changes]
        document = self._known.get(uri)
        if document is None:
            return None
        try:
            document.apply(version, changes, self.encoding)
        except DocumentError as error:
            logger.warning("a change of a document makes no sense; it is not known until it is opened again: %s", error)
            del self._known[uri]
            return None
        return document

    def close(self, uri: str) -> None:
        """Follow didClose."""
        self._known.pop(uri, None)

    def locate(self, document: Document, position: types.Position) -> Position:
        """A place in code points."""
        return document.locate(Position(position.line, position.character), self.encoding)

    def position(self, document: Document, place: Position) -> types.Position:
        """A place as the editor counts."""
        counted = document.units(place, self.encoding)
        return types.Position(counted.line, counted.character)


def _as_json(change: types.TextDocumentContentChangeEvent) -> dict[str, Any]:
    if isinstance(change, types.TextDocumentContentChangePartial):
        ends = {"start": change.range.start, "end": change.range.end}
        spots = {name: {"line": end.line, "character": end.character} for name, end in ends.items()}
        return {"range": spots, "text": change.text}
    return {"text": change.text}
