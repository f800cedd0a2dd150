"""The documents that one editor has open. pygls' own store splits lines where LSP does not: edits land elsewhere."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from lsprotocol import types

from qcn_agent.completion.acceptance import Edit
from qcn_lsp.documents import UTF_16, Document, DocumentError, Position

logger = logging.getLogger(__name__)


class Listener(Protocol):
    """Whoever wants to know what happens to documents."""

    def opened(self, document: Document) -> None:
        """One was opened, or saved."""

    def edited(self, document: Document, old: str, edits: Sequence[Edit]) -> None:
        """One has changed; `old` is all of its text before. A change of the whole text is no edits."""

    def closed(self, uri: str) -> None:
        """One was closed."""


class OpenDocuments:
    """By URI. The shim lets no change through that makes no sense; a document with one from elsewhere is forgotten."""

    def __init__(self) -> None:
        self.encoding = UTF_16
        self.listener: Listener | None = None
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
        if self.listener is not None:
            self.listener.opened(document)
        return document

    def saved(self, uri: str) -> None:
        """Follow didSave."""
        document = self._known.get(uri)
        if document is not None and self.listener is not None:
            self.listener.opened(document)

    def change(self, params: types.DidChangeTextDocumentParams) -> Document | None:
        """Follow didChange. None when what the document holds now is not known."""
        uri, version = params.text_document.uri, params.text_document.version
        changes = [_as_json(change) for change in params.content_changes]
        document = self._known.get(uri)
        if document is None:
            return None
        old, edits = document.text, []
        try:
            for change in changes:
                edits += self._edits(document, change)
                document.apply(version, (change,), self.encoding)
        except DocumentError as error:
            logger.warning("a change of a document makes no sense; it is not known until it is opened again: %s", error)
            self.close(uri)
            return None
        if self.listener is not None:
            self.listener.edited(document, old, edits)
        return document

    def close(self, uri: str) -> None:
        """Follow didClose."""
        if self._known.pop(uri, None) is not None and self.listener is not None:
            self.listener.closed(uri)

    def locate(self, document: Document, position: types.Position) -> Position:
        """A place in code points."""
        return document.locate(Position(position.line, position.character), self.encoding)

    def position(self, document: Document, place: Position) -> types.Position:
        """A place as the editor counts."""
        counted = document.units(place, self.encoding)
        return types.Position(counted.line, counted.character)

    def _edits(self, document: Document, change: Mapping[str, Any]) -> list[Edit]:
        """What a change does to the document as it is."""
        if "range" not in change:
            return []
        ends = (Position.of(change["range"][name]) for name in ("start", "end"))
        begin, end = (document.locate(spot, self.encoding) for spot in ends)
        first, last = sorted((document.offset(begin), document.offset(end)))
        return [Edit(first, last - first, change["text"], begin.line)]


def _as_json(change: types.TextDocumentContentChangeEvent) -> dict[str, Any]:
    if isinstance(change, types.TextDocumentContentChangePartial):
        ends = {"start": change.range.start, "end": change.range.end}
        spots = {name: {"line": end.line, "character": end.character} for name, end in ends.items()}
        return {"range": spots, "text": change.text}
    return {"text": change.text}
