"""`qcn-agent lsp` as an editor starts it: real processes, a daemon that is killed, an editor that goes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from qcn_agent.daemon import client, endpoint, wire

QCN = str(Path(sys.executable).parent / "qcn-agent")
MAX_RSS_KIB = 30_000


class Editor:
    """An editor's end of a shim."""

    def __init__(self) -> None:
        self.process = subprocess.Popen([QCN, "lsp"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        output = self.process.stdout.fileno()
        self._frames = wire.FrameReader(lambda count: os.read(output, count))
        self._next_id = 0

    def say(self, message: dict[str, Any]) -> None:
        """Send it."""
        assert self.process.stdin is not None
        self.process.stdin.write(wire.encode({"jsonrpc": "2.0", **message}))
        self.process.stdin.flush()

    def ask(self, method: str, params: Any) -> dict[str, Any]:
        """The answer to a request."""
        self._next_id += 1
        self.say({"id": self._next_id, "method": method, "params": params})
        while True:
            message = self._frames.peek()
            assert message is not None, "the shim ended"
            self._frames.drop()
            if message.get("id") == self._next_id and "method" not in message:
                return message

    def start(self, process_id: int | None = None) -> None:
        """The handshake, and one open document."""
        answer = self.ask("initialize", {"processId": process_id, "rootUri": None, "capabilities": {}})
        assert "capabilities" in answer["result"]
        self.say({"method": "initialized", "params": {}})
        item = {"uri": "file:///a.py", "languageId": "python", "version": 1, "text": "x = 1\n"}
        self.say({"method": "textDocument/didOpen", "params": {"textDocument": item}})


@pytest.fixture
def editors(home: Path) -> Iterator[Callable[[], Editor]]:
    """Makes some, with one daemon that the first one's shim starts; all gone afterwards."""
    made: list[Editor] = []

    def make() -> Editor:
        made.append(Editor())
        return made[-1]

    yield make
    for one in made:
        one.process.kill()
        one.process.wait()
        for pipe in (one.process.stdin, one.process.stdout):
            assert pipe is not None
            pipe.close()
    where = endpoint.find()
    if where is not None and endpoint.is_locked():
        os.kill(where.pid, signal.SIGTERM)
    client.wait_until_gone()


@pytest.fixture
def editor(editors: Callable[[], Editor]) -> Editor:
    """One."""
    return editors()


def daemon_pid(editor: Editor) -> int:
    """As the daemon says, asked through the shim until one is there."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        answer = editor.ask("qcn/status", {})
        if "result" in answer:
            return int(answer["result"]["pid"])
        time.sleep(0.05)
    pytest.fail("no daemon came back")


@pytest.mark.usefixtures("home")
def test_a_killed_daemon_is_replaced_and_the_shim_stays_small(editor: Editor) -> None:
    """The editor's connection outlives the daemon; the shim holds no model and no framework."""
    editor.start()
    first = daemon_pid(editor)
    os.kill(first, signal.SIGKILL)
    assert daemon_pid(editor) != first
    assert rss_kib(editor) < MAX_RSS_KIB


def rss_kib(editor: Editor) -> int:
    """Of its shim."""
    status = Path(f"/proc/{editor.process.pid}/status").read_text(encoding="ascii")
    return int(status.split("VmRSS:")[1].split()[0])


def test_four_windows_share_one_daemon_and_one_that_is_killed_harms_none(editors: Callable[[], Editor]) -> None:
    """One model for all of them; each shim is small; the others go on being answered."""
    windows = [editors() for _ in range(4)]
    for window in windows:
        window.start()
    (daemon,) = {daemon_pid(window) for window in windows}
    assert max(rss_kib(window) for window in windows) < MAX_RSS_KIB
    windows[0].process.kill()
    windows[0].process.wait()
    assert [daemon_pid(window) for window in windows[1:]] == [daemon] * 3


def test_a_stopped_daemon_stays_stopped_until_somebody_starts_one(editor: Editor) -> None:
    """`qcn-agent stop` means it; the shim finds the next daemon by itself."""
    editor.start()
    first = daemon_pid(editor)
    subprocess.run([QCN, "stop"], check=True, capture_output=True)
    client.wait_until_gone()
    assert "error" in editor.ask("qcn/status", {})
    assert not endpoint.is_locked()
    subprocess.run([QCN, "serve"], check=True, capture_output=True)
    where = endpoint.find()
    assert where is not None
    assert daemon_pid(editor) == where.pid != first


def test_the_shim_goes_with_its_editor(editor: Editor) -> None:
    """When the editor closes the pipe, and when it is killed while another process keeps the pipe open."""
    editor.start()
    assert editor.process.stdin is not None
    editor.process.stdin.close()
    assert editor.process.wait(5) == 1  # it did not say goodbye


def test_the_shim_goes_with_an_editor_that_is_killed(editor: Editor) -> None:
    """Although another process keeps the pipe open."""
    fake = subprocess.Popen(["sleep", "60"])
    editor.start(fake.pid)
    fake.kill()
    fake.wait()
    assert editor.process.wait(5) == 1
