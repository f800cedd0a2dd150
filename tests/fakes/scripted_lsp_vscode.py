"""A language server with recorded answers, behind the real shim and the real socket, so that editor tests are exact.

python -m tests.fakes.scripted_lsp_vscode lsp      what an editor starts: the shim, which starts a scripted daemon
python -m tests.fakes.scripted_lsp_vscode serve    the daemon, in a process that can be killed

QCN_SCRIPT names a JSON file, a list of [before, answer]: where the text up to the cursor ends with `before`, or with
`before` and a part of `answer`, the rest of `answer` is offered. QCN_RECORD names a file that gets a line of JSON for
each thing that happens: {"kind", "pid", ...}.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qcn_agent import __version__
from qcn_agent.config import Config
from qcn_agent.daemon import client, endpoint, server, wire
from qcn_agent.daemon.services import Services
from qcn_lsp.documents import UTF_16, Document, Position
from qcn_lsp.shim import Shim
from tests.fakes.host import ScriptedHost
from tests.fakes.scripted import ScriptedGenerator

ACCEPTED = "qcn.accepted"
CAPABILITIES = {
    "textDocumentSync": {"openClose": True, "change": 2},
    "inlineCompletionProvider": {},
    "executeCommandProvider": {"commands": [ACCEPTED]},
}
MODEL = {"state": "loaded", "model_name": "scripted"}
START_TIMEOUT_S = 20.0


def rest_of(script: list[list[str]], text: str) -> str:
    """What is offered after `text`: the rest of the answer of which most is there already; empty if of none."""
    fits = [
        (len(before) + count, answer[count:])
        for before, answer in script
        for count in range(len(answer))
        if text.endswith(before + answer[:count])
    ]
    return max(fits)[1] if fits else ""


def record(kind: str, **data: Any) -> None:
    """Append a line to the record."""
    with Path(os.environ["QCN_RECORD"]).open("a", encoding="utf-8") as lines:
        lines.write(json.dumps({"kind": kind, "pid": os.getpid(), **data}) + "\n")


class Conversation:
    """One editor."""

    def __init__(self, services: Services, script: list[list[str]]) -> None:
        self._services = services
        self._script = script
        self._documents: dict[str, Document] = {}

    def answer(self, method: str, params: Any) -> Any:
        """Note a message; the result, for requests."""
        match method:
            case "initialize":
                record("initialize", options=params.get("initializationOptions") or {})
                return {"capabilities": CAPABILITIES, "serverInfo": {"name": "scripted"}}
            case "textDocument/didOpen":
                self._follow(Document.of(params["textDocument"]))
            case "textDocument/didChange":
                document = self._documents[params["textDocument"]["uri"]]
                document.apply(params["textDocument"]["version"], params["contentChanges"], UTF_16)
                self._follow(document)
            case "textDocument/inlineCompletion":
                return {"items": self._items(params)}
            case "workspace/executeCommand":
                record("command", command=params["command"], arguments=params.get("arguments"))
            case "qcn/status":
                return {"version": __version__, "pid": os.getpid(), "num_clients": 1, "runs": [], "model": MODEL}
            case "qcn/stop":
                return {"stopping": self._services.request_stop(if_idle=False)}
        return None

    def _follow(self, document: Document) -> None:
        self._documents[document.uri] = document
        record("text", uri=document.uri, text=document.text)

    def _items(self, params: Any) -> list[dict[str, Any]]:
        document, spot = self._documents[params["textDocument"]["uri"]], params["position"]
        text = document.split(document.locate(Position.of(spot), UTF_16))[0]
        rest = rest_of(self._script, text)
        record("asked", uri=document.uri, rest=rest)
        if not rest:
            return []
        command = {"title": "accepted", "command": ACCEPTED, "arguments": [{"id": rest}]}
        return [{"insertText": rest, "filterText": rest, "range": {"start": spot, "end": spot}, "command": command}]


async def connect(services: Services, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one connection until it ends."""
    script = json.loads(Path(os.environ["QCN_SCRIPT"]).read_text(encoding="utf-8"))
    conversation = Conversation(services, script)
    while (message := await _receive(reader)) is not None:
        if "method" in message:
            result = conversation.answer(message["method"], message.get("params"))
            if "id" in message:
                writer.write(wire.encode({"jsonrpc": "2.0", "id": message["id"], "result": result}))


async def _receive(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-l"))
        message: dict[str, Any] = json.loads(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    return message


def connect_or_start(on_wait: Callable[[str], None]) -> client.Client:
    """As `client.connect`, but the daemon that is started is the scripted one."""
    found = client.connect_if_ready()
    if found is not None:
        return found
    command = [sys.executable, "-m", "tests.fakes.scripted_lsp_vscode", "serve"]
    subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + START_TIMEOUT_S
    while (found := client.connect_if_ready()) is None and time.monotonic() < deadline:
        time.sleep(0.02)
    return found or client.connect(on_wait)


def main(role: str) -> int:
    """Be a shim or a daemon; the exit code."""
    if role == "lsp":
        output = sys.stdout.buffer

        def send(data: bytes) -> None:
            output.write(data)
            output.flush()

        return Shim(lambda count: os.read(0, count), send, connect_or_start).run()
    lock = endpoint.take_lock()
    if lock is None:
        return 1
    with lock:
        record("served")
        asyncio.run(server.serve(Services(Config(), host=ScriptedHost(ScriptedGenerator([]))), connect))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
