"""An editor at the other end of `qcn-agent lsp` that types like VS Code: each key asks, and cancels the one before."""

import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qcn_agent.daemon import wire
from tests.bench.typing_traces import Cursor, typed

QCN = str(Path(sys.executable).parent / "qcn-agent")
REPLY_S = 10.0
PAUSE_S = 1.0


@dataclass
class Key:
    """One key, and the reply unless it was cancelled. `is_useful`: it begins as the line goes on."""

    at_s: float
    replied_s: float | None = None
    text: str = ""
    is_useful: bool = False

    @property
    def reply_ms(self) -> float | None:
        """From the key to its reply."""
        return None if self.replied_s is None else 1e3 * (self.replied_s - self.at_s)


@dataclass
class _Waiting:
    done: threading.Event = field(default_factory=threading.Event)
    message: dict[str, Any] = field(default_factory=dict)
    at_s: float = 0.0


def pauses_of(lines: list[str]) -> set[int]:
    """Before which keys somebody thinks: every third one that begins a word."""
    begins = [n for n, line in enumerate(lines, start=1) if line[-1].isalpha() and not line[-2:-1].isalpha()]
    return set(begins[1::3])


class Typist:
    """One window. `home` is where its daemon keeps everything."""

    def __init__(self, folder: Path, home: Path, **settings: str) -> None:
        env = {**os.environ, "QCN_AGENT_HOME": str(home), **settings}
        self._shim = subprocess.Popen([QCN, "lsp"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)
        self._folder = folder
        self._next_id = 0
        self._waiting: dict[int, _Waiting] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        capabilities: dict[str, Any] = {"textDocument": {"inlineCompletion": {}}}
        params = {"processId": os.getpid(), "rootUri": folder.as_uri(), "capabilities": capabilities}
        self.ask("initialize", params)
        self._say("initialized", {})

    def ask(self, method: str, params: Any) -> Any:
        """The result of a request."""
        return self._result(self._send(method, params))

    def wait_for_model(self) -> None:
        """Until completions can be made."""
        self.ask("qcn/load", {"model": ""})

    def counters(self) -> dict[str, float]:
        """Of completions in this folder, with why nothing was shown; empty before the first."""
        status = self.ask("qcn/status", {})["completions"]["folders"].get(str(self._folder), {})
        reasons = {**status.get("dropped", {}), **status.get("refusals", {})}
        return {**status.get("counters", {}), **{f"no {reason}": count for reason, count in reasons.items()}}

    def type_line(self, cursor: Cursor, name: str, pace_s: float) -> list[Key]:
        """Type the line of `cursor` in a document of that name, in the middle of its text."""
        uri = (self._folder / name).as_uri()
        begin = cursor.line[: len(cursor.line) - len(cursor.line.lstrip())]
        text = cursor.before + begin + "\n" + cursor.after
        item = {"uri": uri, "languageId": "python", "version": 0, "text": text}
        self._say("textDocument/didOpen", {"textDocument": item})
        row = cursor.before.count("\n")
        pauses = pauses_of(typed(cursor))
        keys, pending, next_s = list[Key](), list[tuple[Key, int, str]](), time.perf_counter()
        for version, line in enumerate(typed(cursor), start=1):
            next_s += PAUSE_S if version in pauses else pace_s
            time.sleep(max(0.0, next_s - time.perf_counter()))
            spot = {"line": row, "character": len(line) - 1}
            change = {"range": {"start": spot, "end": spot}, "text": line[-1]}
            named = {"uri": uri, "version": version}
            key = Key(time.perf_counter())
            self._say("textDocument/didChange", {"textDocument": named, "contentChanges": [change]})
            if pending and not self._waiting[pending[-1][1]].done.is_set():
                self._say("$/cancelRequest", {"id": pending[-1][1]})
            place = {"line": row, "character": len(line)}
            asked = {"textDocument": {"uri": uri}, "position": place, "context": {"triggerKind": 2}}
            pending.append((key, self._send("textDocument/inlineCompletion", asked), cursor.line[len(line) :]))
            keys.append(key)
        for key, request_id, rest in pending:
            self._note(key, request_id, rest)
        self._say("textDocument/didClose", {"textDocument": {"uri": uri}})
        return keys

    def close(self) -> None:
        """The editor ends; its daemon is stopped."""
        self.ask("qcn/stop", {})
        if self._shim.stdin is not None:
            self._shim.stdin.close()
        self._shim.wait(REPLY_S)

    def _note(self, key: Key, request_id: int, rest: str) -> None:
        waiting = self._waiting[request_id]
        waiting.done.wait(REPLY_S)
        result = waiting.message.get("result")
        if result is None:  # cancelled
            return
        key.replied_s = waiting.at_s
        key.text = result["items"][0]["insertText"] if result["items"] else ""
        word = rest.split(" ", 1)[0] if rest.strip() else rest
        key.is_useful = bool(key.text) and key.text.startswith(word or "\0")

    def _send(self, method: str, params: Any) -> int:
        self._next_id += 1
        self._waiting[self._next_id] = _Waiting()
        self._write({"id": self._next_id, "method": method, "params": params})
        return self._next_id

    def _say(self, method: str, params: Any) -> None:
        self._write({"method": method, "params": params})

    def _write(self, message: dict[str, Any]) -> None:
        assert self._shim.stdin is not None
        self._shim.stdin.write(wire.encode({"jsonrpc": "2.0", **message}))
        self._shim.stdin.flush()

    def _result(self, request_id: int) -> Any:
        waiting = self._waiting[request_id]
        if not waiting.done.wait(120.0):
            raise RuntimeError("the daemon does not answer")
        if "error" in waiting.message:
            raise RuntimeError(str(waiting.message["error"]))
        return waiting.message["result"]

    def _read(self) -> None:
        assert self._shim.stdout is not None
        output = self._shim.stdout.fileno()
        frames = wire.FrameReader(lambda count: os.read(output, count))
        while (message := frames.peek()) is not None:
            frames.drop()
            waiting = self._waiting.get(message.get("id", 0)) if "method" not in message else None
            if waiting is not None:
                waiting.message, waiting.at_s = message, time.perf_counter()
                waiting.done.set()
