"""One window of an editor on the daemon that runs in the test."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qcn_agent.daemon import client


class Window:
    """It has shaken hands; it answers what it is asked, and remembers it."""

    def __init__(self, folder: Path, capabilities: dict[str, Any], **options: Any) -> None:
        connection = client.connect_to_running()
        assert connection is not None
        self.connection = connection
        self.heard: list[dict[str, Any]] = []
        self.on_report: Callable[[dict[str, Any]], None] = lambda message: None
        self._next_id = 0
        params = {"processId": None, "rootUri": folder.as_uri(), "capabilities": capabilities}
        self.capabilities = self.result("initialize", {**params, "initializationOptions": options})["capabilities"]
        connection.notify("initialized", {})

    def open(self, uri: str, text: str, version: int = 1) -> None:
        """Open a document, perhaps with text that is not saved."""
        item = {"uri": uri, "languageId": "python", "version": version, "text": text}
        self.connection.notify("textDocument/didOpen", {"textDocument": item})

    def ask(self, method: str, params: Any) -> dict[str, Any]:
        """The answer, while requests of the server are answered, too."""
        self._next_id += 1
        self.connection.send({"jsonrpc": "2.0", "id": self._next_id, "method": method, "params": params})
        while True:
            message = self.connection.receive()
            if "method" not in message and message.get("id") == self._next_id:
                return message
            self.heard.append(message)
            if "id" in message:
                result = {"applied": True} if message["method"] == "workspace/applyEdit" else None
                self.connection.send({"jsonrpc": "2.0", "id": message["id"], "result": result})
            if message.get("method") == "$/progress":
                self.on_report(message)

    def result(self, method: str, params: Any) -> Any:
        """The result of a request, which must not fail."""
        answer = self.ask(method, params)
        assert "error" not in answer, answer
        return answer["result"]

    def do(self, command: dict[str, Any]) -> dict[str, Any]:
        """The answer to a command."""
        return self.ask("workspace/executeCommand", {"command": command["command"], "arguments": command["arguments"]})
