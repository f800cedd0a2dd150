"""A language server whose ghost text is scripted, so that tests in real editors know each letter. Standard library and
our documents only: it is there at once. `tests.fakes.lsp_daemon` puts it behind the real shim and socket.

python -m tests.fakes.lsp_server     serves the editor at standard input and output

QCN_SCRIPT names a JSON file, all of it optional:
    answers: pairs [before, answer]. Where the text up to the cursor ends with `before`, or with `before` and a part of
        `answer`, the rest of `answer` is offered. An object in place of a text holds fields of the item
    held: lines up to the cursor whose answers wait for `fake/release`, even when they are cancelled
    encoding: of positions, "utf-16" unless given

All that happens is noted. QCN_RECORD names a file that gets each note as a line of JSON, {"kind", "pid", …}; the
request `fake/seen` tells the same in short.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qcn_agent import __version__
from qcn_agent.daemon import wire
from qcn_lsp.documents import UTF_16, Document, Position

Message = dict[str, Any]
ACCEPTED = "qcn.accepted"
MODEL = {"state": "loaded", "model_name": "scripted"}


@dataclass(frozen=True)
class Script:
    """What the server is to say."""

    answers: Sequence[tuple[str, Any]]
    held: frozenset[str]
    encoding: str

    @classmethod
    def load(cls) -> "Script":
        """From the file that the environment names."""
        given = json.loads(Path(os.environ["QCN_SCRIPT"]).read_text(encoding="utf-8"))
        return cls(given.get("answers", []), frozenset(given.get("held", [])), given.get("encoding", UTF_16))

    def fields(self, text: str) -> Mapping[str, Any] | None:
        """Fields of the item after `text`: of the answer of which most is there already; None if of none."""
        fits = [
            (len(before) + count, rest)
            for before, answer in self.answers
            for count, rest in _rests(answer)
            if text.endswith(before + (answer[:count] if count else ""))
        ]
        return max(fits, key=lambda fit: fit[0])[1] if fits else None


def _rests(answer: Any) -> list[tuple[int, Mapping[str, Any]]]:
    """What is to come of an answer after so many characters of it."""
    if not isinstance(answer, str):
        return [(0, answer)]
    return [(count, {"insertText": answer[count:]}) for count in range(len(answer))]


class ScriptedServer:
    """One editor's server. `send` writes to the editor, `stop` ends the daemon."""

    def __init__(self, script: Script, send: Callable[[Message], object], stop: Callable[[], bool]) -> None:
        self._script = script
        self._send = send
        self._stop = stop
        self._notes: list[dict[str, Any]] = []
        self._documents: dict[str, Document] = {}
        self._held: list[Message] = []
        self._alive: set[Any] = set()
        self._most_alive = 0

    def receive(self, message: Message) -> None:
        """Handle one message of the editor."""
        method, params = message.get("method"), message.get("params") or {}
        if method == "textDocument/didOpen":
            self._follow(Document.of(params["textDocument"]))
        elif method == "textDocument/didChange":
            document = self._documents[params["textDocument"]["uri"]]
            document.apply(params["textDocument"]["version"], params["contentChanges"], self._script.encoding)
            self._follow(document)
        elif method == "textDocument/didClose":
            del self._documents[params["textDocument"]["uri"]]
        elif method == "$/cancelRequest":
            self._note("cancelled")
            self._alive.discard(params["id"])
        elif method == "textDocument/inlineCompletion":
            self._complete(message["id"], params)
        elif "id" in message and method is not None:
            self._answer(message["id"], self._result(method, params))

    def _result(self, method: str, params: Mapping[str, Any]) -> Any:
        match method:
            case "initialize":
                self._note("initialize", options=params.get("initializationOptions") or {})
                return {"capabilities": self._capabilities(), "serverInfo": {"name": "scripted"}}
            case "workspace/executeCommand":
                self._note("command", command=params["command"], arguments=params.get("arguments"))
            case "qcn/status":
                return {"version": __version__, "pid": os.getpid(), "num_clients": 1, "runs": [], "model": MODEL}
            case "qcn/stop":
                return {"stopping": self._stop()}
            case "fake/release":
                held, self._held = self._held, []
                for answer in held:
                    self._alive.discard(answer["id"])
                    self._send(answer)
            case "fake/seen":
                return self._seen()
        return None

    def _capabilities(self) -> dict[str, Any]:
        return {
            "positionEncoding": self._script.encoding,
            "textDocumentSync": {"openClose": True, "change": 2},
            "inlineCompletionProvider": {},
            "executeCommandProvider": {"commands": [ACCEPTED]},
        }

    def _follow(self, document: Document) -> None:
        self._documents[document.uri] = document
        self._note("text", uri=document.uri, text=document.text)

    def _complete(self, request_id: Any, params: Mapping[str, Any]) -> None:
        document, spot = self._documents[params["textDocument"]["uri"]], params["position"]
        text = document.split(document.locate(Position.of(spot), self._script.encoding))[0]
        line = text.rpartition("\n")[2]
        trigger = params["context"]["triggerKind"]
        self._note("asked", uri=document.uri, line=line, version=document.version, trigger=trigger)
        self._alive.add(request_id)
        self._most_alive = max(self._most_alive, len(self._alive))
        fields = self._script.fields(text)
        result = {"items": [_item(fields, spot, line)] if fields else []}
        if line in self._script.held:
            self._held.append({"jsonrpc": "2.0", "id": request_id, "result": result})
        else:
            self._alive.discard(request_id)
            self._answer(request_id, result)

    def _answer(self, request_id: Any, result: Any) -> None:
        self._send({"jsonrpc": "2.0", "id": request_id, "result": result})

    def _note(self, kind: str, **data: Any) -> None:
        self._notes.append({"kind": kind, **data})
        record(kind, **data)

    def _seen(self) -> dict[str, Any]:
        asked = [note for note in self._notes if note["kind"] == "asked"]
        accepted = [note for note in self._notes if note.get("command") == ACCEPTED]
        return {
            "asked": [note["line"] for note in asked],
            "versions": [note["version"] for note in asked],
            "triggers": [note["trigger"] for note in asked],
            "options": [note["options"] for note in self._notes if note["kind"] == "initialize"],
            "cancelled": sum(note["kind"] == "cancelled" for note in self._notes),
            "accepted": [argument for note in accepted for argument in note["arguments"]],
            "most_alive": self._most_alive,
            "held": len(self._held),
            "texts": [document.text for document in self._documents.values()],
        }


def _item(fields: Mapping[str, Any], spot: Mapping[str, int], line: str) -> dict[str, Any]:
    command = {"title": "accepted", "command": ACCEPTED, "arguments": [{"id": line}]}
    return {"range": {"start": spot, "end": spot}, "command": command, **fields}


def record(kind: str, **data: Any) -> None:
    """Append a line to the record, if there is one."""
    if file := os.environ.get("QCN_RECORD"):
        with Path(file).open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"kind": kind, "pid": os.getpid(), **data}) + "\n")


def main() -> None:
    """Serve the editor at standard input and output until it hangs up."""
    output = sys.stdout.buffer

    def send(message: Message) -> None:
        output.write(wire.encode(message))
        output.flush()

    scripted = ScriptedServer(Script.load(), send, stop=lambda: False)
    frames = wire.FrameReader(lambda count: os.read(0, count))
    while (message := frames.peek()) is not None and message.get("method") != "exit":
        frames.drop()
        scripted.receive(message)


if __name__ == "__main__":
    main()
