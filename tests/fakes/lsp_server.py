"""A language server on standard input and output whose ghost text is scripted. Standard library and our documents only.

python -m tests.fakes.lsp_server SCRIPT, a JSON file:
    answers: what comes after the text before the cursor in its line; a value is the text to insert, or an item's fields
    held: texts before the cursor whose answers wait for `fake/release`, even when they are cancelled
    encoding: of positions, "utf-16" unless given

`fake/seen` tells what the editor has said so far.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from qcn_agent.daemon import wire
from qcn_lsp.documents import UTF_16, Document, Position

Message = dict[str, Any]
ACCEPTED = "qcn.accepted"


class ScriptedServer:
    """Answers as the script says; `send` writes to the editor."""

    def __init__(self, script: Mapping[str, Any], send: Callable[[Message], None]) -> None:
        self._answers: Mapping[str, Any] = script.get("answers", {})
        self._waits = set(script.get("held", []))
        self._encoding = str(script.get("encoding", UTF_16))
        self._send = send
        self._held: list[Message] = []
        self._documents: dict[str, Document] = {}
        self._asked: list[str] = []
        self._versions: list[int] = []
        self._triggers: list[int] = []
        self._alive: set[Any] = set()
        self._most_alive = 0
        self._cancelled = 0
        self._accepted: list[Any] = []

    def receive(self, message: Message) -> None:
        """Handle one message of the editor."""
        method, params = message.get("method"), message.get("params") or {}
        if method == "textDocument/didOpen":
            document = Document.of(params["textDocument"])
            self._documents[document.uri] = document
        elif method == "textDocument/didChange":
            item = params["textDocument"]
            self._documents[item["uri"]].apply(item["version"], params["contentChanges"], self._encoding)
        elif method == "$/cancelRequest":
            self._cancelled += 1
            self._alive.discard(params["id"])
        elif method == "textDocument/inlineCompletion":
            self._complete(message["id"], params)
        elif "id" in message and method is not None:
            self._answer(message["id"], self._result(method, params))

    def _result(self, method: str, params: Mapping[str, Any]) -> Any:
        if method == "initialize":
            return {"capabilities": self._capabilities()}
        if method == "workspace/executeCommand":
            self._accepted += params["arguments"]
        elif method == "fake/release":
            held, self._held = self._held, []
            for answer in held:
                self._alive.discard(answer["id"])
                self._send(answer)
        elif method == "fake/seen":
            return self._seen()
        return None

    def _capabilities(self) -> dict[str, Any]:
        return {
            "positionEncoding": self._encoding,
            "textDocumentSync": {"openClose": True, "change": 2},
            "inlineCompletionProvider": {},
            "executeCommandProvider": {"commands": [ACCEPTED]},
        }

    def _seen(self) -> dict[str, Any]:
        return {
            "asked": self._asked,
            "versions": self._versions,
            "triggers": self._triggers,
            "most_alive": self._most_alive,
            "cancelled": self._cancelled,
            "accepted": self._accepted,
            "held": len(self._held),
            "texts": [document.text for document in self._documents.values()],
        }

    def _complete(self, request_id: Any, params: Mapping[str, Any]) -> None:
        document = self._documents[params["textDocument"]["uri"]]
        cursor = Position.of(params["position"])
        place = document.locate(cursor, self._encoding)
        before = document.line(place.line)[: place.character]
        self._asked.append(before)
        self._versions.append(document.version)
        self._triggers.append(params["context"]["triggerKind"])
        self._alive.add(request_id)
        self._most_alive = max(self._most_alive, len(self._alive))
        result = {"items": self._items(before, params["position"])}
        if before in self._waits:
            self._held.append({"jsonrpc": "2.0", "id": request_id, "result": result})
        else:
            self._alive.discard(request_id)
            self._answer(request_id, result)

    def _items(self, before: str, position: Mapping[str, int]) -> list[dict[str, Any]]:
        answer = self._answers.get(before)
        if answer is None:
            return []
        given = {"insertText": answer} if isinstance(answer, str) else answer
        command = {"title": "accepted", "command": ACCEPTED, "arguments": [{"id": before}]}
        return [{"range": {"start": position, "end": position}, "command": command, **given}]

    def _answer(self, request_id: Any, result: Any) -> None:
        self._send({"jsonrpc": "2.0", "id": request_id, "result": result})


def main(script: Path) -> None:
    """Serve the editor until it hangs up."""

    def send(message: Message) -> None:
        sys.stdout.buffer.write(wire.encode(message))
        sys.stdout.buffer.flush()

    server = ScriptedServer(json.loads(script.read_text(encoding="utf-8")), send)
    frames = wire.FrameReader(lambda count: os.read(0, count))
    while (message := frames.peek()) is not None and message.get("method") != "exit":
        frames.drop()
        server.receive(message)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
