"""`textDocument/inlineCompletion`, and `textDocument/completion` for editors without it; what became of what was shown.

An answer is a list, empty when there is nothing to show, and never an error: editors keep old text on the screen for
null, and show a box for an error.
"""

import asyncio
import dataclasses
import logging
import re
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsprotocol import types

from qcn_agent.completion import acceptance
from qcn_agent.completion.values import Completion, Snapshot, Trigger
from qcn_agent.daemon.services import Services
from qcn_lsp.client_options import path_of
from qcn_lsp.documents import Document

if TYPE_CHECKING:
    from qcn_lsp.server import Server

logger = logging.getLogger(__name__)

ACCEPTED = "qcn.accepted"
_PROBE_S = 5.0
_MAX_LABEL = 60
_MAX_WORD = 200
_WORD = re.compile(r"\w+\Z")
_TRIGGERS = [".", "(", "[", "{", "=", " ", ",", ":"]


class Offering:
    """Completions for one editor."""

    def __init__(self, server: "Server", services: Services) -> None:
        self._server = server
        self._completions = services.completions
        self._client = uuid.uuid4().hex
        self._acceptance = acceptance.Acceptance(self._completions.tally.count)
        self._probing = asyncio.get_running_loop().create_task(self._probe())

    async def inline(self, params: types.InlineCompletionParams) -> types.InlineCompletionList:
        """What to show as ghost text."""
        selected = params.context.selected_completion_info
        asked_for = params.context.trigger_kind is types.InlineCompletionTriggerKind.Invoked
        begin, prefix = (selected.range.start, selected.text) if selected else (params.position, "")
        made = await self._complete(params.text_document.uri, begin, params.position, prefix, asked_for=asked_for)
        if made is None:
            return types.InlineCompletionList([])
        command = types.Command("accepted", ACCEPTED, arguments=[{"id": str(made.id)}])
        ends = types.Range(begin, params.position)
        return types.InlineCompletionList([types.InlineCompletionItem(prefix + made.text, range=ends, command=command)])

    async def popup(self, params: types.CompletionParams) -> types.CompletionList:
        """The same as one item of the list that editors without ghost text have. It opens by itself as somebody types:
        no such request says that a completion was asked for."""
        uri, position, documents = params.text_document.uri, params.position, self._server.documents
        made, document = await self._complete(uri, position, position, "", asked_for=False), documents.get(uri)
        if made is None or document is None:
            return types.CompletionList(is_incomplete=True, items=[])
        place = documents.locate(document, position)
        word = _typed_word(document.line(place.line)[: place.character])
        begin = documents.position(document, dataclasses.replace(place, character=place.character - len(word)))
        return types.CompletionList(is_incomplete=True, items=[_item(made, types.Range(begin, position), word)])

    def accepted(self, item: dict[str, Any]) -> None:
        """The editor has put a whole item in."""
        self._acceptance.command(str(item.get("id")))

    def opened(self, document: Document) -> None:
        """See `Listener`."""
        where = self._where(document.uri)
        if where is not None:
            self._completions.opened(*where)
            self._completions.visited(*where, document.text, 0)

    def edited(self, document: Document, old: str, edits: Sequence[acceptance.Edit]) -> None:
        """See `Listener`."""
        for edit in edits:
            self._acceptance.change(document.uri, edit)
        where = self._where(document.uri)
        if where is not None and edits:
            self._completions.edited(*where, old, document.text, edits[-1].line)

    def closed(self, uri: str) -> None:
        """See `Listener`."""
        self._acceptance.close(uri)
        self._completions.close(self._client, uri)

    def close(self) -> None:
        """The editor has gone."""
        self._probing.cancel()
        self._completions.close(self._client)

    async def _complete(
        self, uri: str, begin: types.Position, position: types.Position, prefix: str, *, asked_for: bool
    ) -> Completion | None:
        """A completion after `prefix`, which stands for what is between `begin` and `position`.

        None, too, when the document has changed meanwhile: the text would land elsewhere.
        """
        document, where = self._server.documents.get(uri), self._where(uri)
        if document is None or where is None:
            return None
        root, path = where
        snapshot, offset = self._snapshot(document, path, begin, position, prefix)
        trigger = Trigger.INVOKED if asked_for else Trigger.AUTOMATIC
        made = await self._completions.complete(self._client, root, snapshot, trigger)
        if made is None or self._server.documents.get(uri) is not document or document.version != snapshot.version:
            return None
        shown = acceptance.Shown(
            str(made.id),
            uri,
            document.language_id,
            document.version,
            offset,
            made.text,
            time.monotonic(),
            _typed_word(snapshot.before),
        )
        self._acceptance.show(shown)
        return made

    def _snapshot(
        self, document: Document, path: str, begin: types.Position, position: types.Position, prefix: str
    ) -> tuple[Snapshot, int]:
        """The document as the model is to see it, and where the completion would stand in it, in code points."""
        documents = self._server.documents
        place, start = documents.locate(document, position), documents.locate(document, begin)
        before, after = document.split(place)
        if prefix:
            before = document.split(start)[0] + prefix
        snapshot = Snapshot(
            document.uri, path, document.language_id, document.version, _with_lf(before), _with_lf(after)
        )
        return snapshot, document.offset(start) + len(prefix) if prefix else document.offset(place)

    def _where(self, uri: str) -> tuple[Path, str] | None:
        """The folder that a file belongs to, and its path in there. A lone file belongs to its own folder."""
        path = path_of(uri)
        if path is None:
            return None
        root = self._server.options.folder_of(path) or path.parent
        return root, path.relative_to(root).as_posix()

    async def _probe(self) -> None:
        """Now and then, see what is left of what was accepted."""
        while True:
            await asyncio.sleep(_PROBE_S)
            self._acceptance.probe(self._text_of)
            self._completions.flush_if_due()

    def _text_of(self, uri: str) -> str | None:
        document = self._server.documents.get(uri)
        return None if document is None else document.text


def register(server: "Server", services: Services) -> Offering:
    """Add completions to `server`; close what is returned when the connection ends."""
    offering = Offering(server, services)
    server.documents.listener = offering

    @server.feature(types.TEXT_DOCUMENT_INLINE_COMPLETION, types.InlineCompletionOptions())
    async def inline(params: types.InlineCompletionParams) -> types.InlineCompletionList:
        return await offering.inline(params)

    @server.command(ACCEPTED)
    def accepted(item: dict[str, Any]) -> None:
        offering.accepted(item)

    return offering


def register_popup(server: "Server", offering: Offering) -> None:
    """For an editor that knows no inline completion. Call it before its capabilities are answered."""
    options = types.CompletionOptions(trigger_characters=_TRIGGERS)

    @server.feature(types.TEXT_DOCUMENT_COMPLETION, options)
    async def popup(params: types.CompletionParams) -> types.CompletionList:
        return await offering.popup(params)


def _item(made: Completion, place: types.Range, word: str) -> types.CompletionItem:
    """It begins with the `word` that is typed, at `place`: editors drop items that don't match it."""
    first = made.text.strip().partition("\n")[0]
    return types.CompletionItem(
        label=first[:_MAX_LABEL],
        kind=types.CompletionItemKind.Text,
        detail="qcn-agent",
        documentation=made.text,
        preselect=False,
        sort_text="~",  # after what the language's own server knows
        filter_text=word + first,
        insert_text_format=types.InsertTextFormat.PlainText,
        text_edit=types.TextEdit(place, word + made.text),
        command=types.Command("accepted", ACCEPTED, arguments=[{"id": str(made.id)}]),
    )


def _typed_word(before: str) -> str:
    """The letters right before the cursor."""
    found = _WORD.search(before[-_MAX_WORD:])
    return found[0] if found else ""


def _with_lf(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
