"""What the shim knows of its editor's session, so that a new daemon can be told all of it. Standard library only."""

from collections.abc import Iterator, Mapping
from typing import Any

from qcn_lsp.documents import UTF_16, Document, DocumentError

Message = dict[str, Any]
EMPTY_RESULTS: Mapping[str, Any] = {  # what an editor shows as nothing at all
    "textDocument/inlineCompletion": {"items": []},
    "textDocument/completion": {"isIncomplete": False, "items": []},
    "textDocument/codeAction": [],
    "codeLens/resolve": None,
    "shutdown": None,
}
SERVER_CANCELLED = -32802  # LSP: the server ended a request that it would not have to


class Mirror:
    """Follows the messages that the editor sends and those that the daemon sends."""

    def __init__(self) -> None:
        self.initialize: Message | None = None  # the editor's request
        self.is_initialized = False
        self.encoding = UTF_16
        self.documents: dict[str, Document] = {}
        self._lost: dict[str, str] = {}  # languages of open documents that are out of step
        self.requests: dict[Any, str] = {}  # the editor's, not answered yet: id → method
        self.asked: set[Any] = set()  # ids of the daemon's requests, not answered yet
        self.configuration: Message | None = None  # the latest didChangeConfiguration
        self.folders: dict[str, Message] = {}

    def from_editor(self, message: Message) -> Message | None:
        """Note a message; what the daemon is to hear of it. An answer to a daemon that is gone is for nobody."""
        method, params = message.get("method"), message.get("params")
        if method is None:
            return message if self._is_answer(message) else None
        if "id" in message:
            self.requests[message["id"]] = method
        if method == "initialize":
            self.initialize = message
            self._set_folders(params)
        elif method == "initialized":
            self.is_initialized = True
        elif method == "workspace/didChangeConfiguration":
            self.configuration = message
        elif method == "workspace/didChangeWorkspaceFolders":
            self._change_folders(params)
        elif method in ("textDocument/didOpen", "textDocument/didChange", "textDocument/didClose"):
            return self._follow(message, params if isinstance(params, Mapping) else {})
        return message

    def from_daemon(self, message: Message) -> None:
        """Note a message that goes to the editor."""
        if "method" in message:
            if "id" in message:
                self.asked.add(message["id"])
            return
        if self.requests.pop(message.get("id"), None) == "initialize":
            capabilities = (message.get("result") or {}).get("capabilities") or {}
            self.encoding = capabilities.get("positionEncoding", UTF_16)

    def answers_instead(self, reason: str) -> Iterator[Message]:
        """For all that the editor still waits for and nobody will answer: nothing to show, or an error that says so."""
        self.asked.clear()
        waiting, self.requests = self.requests, {}
        for request_id, method in waiting.items():
            yield answer_instead(request_id, method, reason)

    def introduction(self) -> Iterator[Message]:
        """What a new daemon must hear after `initialize`."""
        if not self.is_initialized:
            return
        yield {"jsonrpc": "2.0", "method": "initialized", "params": {}}
        if self.configuration is not None:
            yield self.configuration
        for document in self.documents.values():
            params = {"textDocument": document.item()}
            yield {"jsonrpc": "2.0", "method": "textDocument/didOpen", "params": params}

    def initialize_again(self, request_id: str) -> Message | None:
        """The request `initialize` for a new daemon, with the folders as they are by now."""
        if self.initialize is None:
            return None
        params = {**self.initialize.get("params", {}), "workspaceFolders": list(self.folders.values()) or None}
        return {**self.initialize, "id": request_id, "params": params}

    def _is_answer(self, message: Message) -> bool:
        is_known = message.get("id") in self.asked
        self.asked.discard(message.get("id"))
        return is_known

    def _set_folders(self, params: Any) -> None:
        folders = params.get("workspaceFolders") if isinstance(params, Mapping) else None
        self.folders = {folder["uri"]: folder for folder in folders or () if _has_uri(folder)}

    def _change_folders(self, params: Any) -> None:
        event = params.get("event") if isinstance(params, Mapping) else None
        for folder in (event or {}).get("removed") or ():
            if _has_uri(folder):
                self.folders.pop(folder["uri"], None)
        for folder in (event or {}).get("added") or ():
            if _has_uri(folder):
                self.folders[folder["uri"]] = folder

    def _follow(self, message: Message, params: Mapping[str, Any]) -> Message | None:
        """A document whose change makes no sense is out of step: it counts as closed until all of its text comes."""
        item, method = params.get("textDocument") or {}, message["method"]
        uri = str(item.get("uri"))
        known, language = self.documents.pop(uri, None), self._lost.pop(uri, None)
        if method == "textDocument/didClose":
            return message if known is not None else None
        try:
            if method == "textDocument/didOpen":
                self.documents[uri] = Document.of(item)
                return message
            if known is not None:
                known.apply(item.get("version"), params.get("contentChanges"), self.encoding)
                self.documents[uri] = known
                return message
            return self._found_again(uri, language, item.get("version"), params.get("contentChanges"))
        except DocumentError:
            if known is None:
                return None
            self._lost[uri] = known.language_id
            return {"jsonrpc": "2.0", "method": "textDocument/didClose", "params": {"textDocument": {"uri": uri}}}

    def _found_again(self, uri: str, language: str | None, version: Any, changes: Any) -> Message | None:
        """A change of a document that is not known; didOpen if that one was lost and comes whole."""
        if language is None:
            return None
        document = Document(uri, language, 0, "")
        if not isinstance(changes, list) or not changes or "range" in changes[0]:
            self._lost[uri] = language
            return None
        document.apply(version, changes, self.encoding)
        self.documents[uri] = document
        return {"jsonrpc": "2.0", "method": "textDocument/didOpen", "params": {"textDocument": document.item()}}


def answer_instead(request_id: Any, method: str, reason: str) -> Message:
    """The answer that the shim gives where no daemon can."""
    if method in EMPTY_RESULTS:
        return {"jsonrpc": "2.0", "id": request_id, "result": EMPTY_RESULTS[method]}
    return {"jsonrpc": "2.0", "id": request_id, "error": {"code": SERVER_CANCELLED, "message": reason}}


def _has_uri(folder: Any) -> bool:
    return isinstance(folder, Mapping) and isinstance(folder.get("uri"), str)
