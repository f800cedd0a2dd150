"""A real Neovim with a screen, driven over its own protocol."""

import os
import select
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.editors.neovim.conftest import ROOT
from tests.editors.neovim.screen import GHOST_RGB, Screen

msgpack = pytest.importorskip("msgpack", reason="needs the `editors` extra: `make test-editors`")

WIDTH, HEIGHT = 80, 24
TIMEOUT_S = 30.0
PLUGIN = ROOT / "lsp" / "neovim"
TABS = "vim.g.python_recommended_style = 0"  # Neovim would put in spaces for them
REQUEST, ANSWER, NOTIFICATION = 0, 1, 2


class NvimError(Exception):
    """What Neovim answers instead of a result."""


def has_ended(pid: int) -> bool:
    """Gone, or a zombie that nobody has reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


class Nvim:
    """One editor with the plugin installed as a package, and `init` as its init.lua."""

    def __init__(self, binary: Path, home: Path, init: str, env: Mapping[str, str]) -> None:
        package = home / "data" / "nvim" / "site" / "pack" / "qcn" / "start"
        package.mkdir(parents=True)
        (package / "qcn").symlink_to(PLUGIN)
        config = home / "init.lua"
        config.write_text(f"vim.o.swapfile = false\nvim.o.termguicolors = true\n{TABS}\n{init}", encoding="utf-8")
        folders = {f"XDG_{name.upper()}_HOME": str(home / name) for name in ("config", "data", "state", "cache")}
        self.process = subprocess.Popen(
            [binary, "--embed", "-i", "NONE", "-u", config],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **folders, **env},
            cwd=home,
        )
        self._unpacker = msgpack.Unpacker(raw=False, unicode_errors="surrogateescape", strict_map_key=False)
        self._next_id = 0
        self._answers: dict[int, tuple[Any, Any]] = {}
        self.screen = Screen(WIDTH, HEIGHT)
        self.call("nvim_ui_attach", WIDTH, HEIGHT, {"ext_linegrid": True, "rgb": True})
        self.lua(f"vim.api.nvim_set_hl(0, 'QcnGhost', {{ fg = {GHOST_RGB} }})")

    def call(self, method: str, *arguments: Any) -> Any:
        """An API function's result. Raises NvimError."""
        request = self.send(method, *arguments)
        self._until(lambda: request in self._answers, f"an answer to {method}")
        error, result = self._answers.pop(request)
        if error is not None:
            raise NvimError(error[1])
        return result

    def send(self, method: str, *arguments: Any) -> int:
        """The same without waiting for it."""
        self._next_id += 1
        assert self.process.stdin is not None
        self.process.stdin.write(msgpack.packb([REQUEST, self._next_id, method, arguments]))
        self.process.stdin.flush()
        return self._next_id

    def lua(self, code: str, *arguments: Any) -> Any:
        """What Lua code returns."""
        return self.call("nvim_exec_lua", code, arguments)

    def keys(self, keys: str) -> None:
        """Put keys into what is typed; they are handled soon."""
        self.call("nvim_input", keys)

    def lines(self) -> list[str]:
        """The current buffer."""
        lines: list[str] = self.call("nvim_buf_get_lines", 0, 0, -1, True)
        return lines

    def wait(self, what: Callable[[], Any]) -> Any:
        """The first result of `what` that is true. Neovim goes on meanwhile."""
        deadline = time.monotonic() + TIMEOUT_S
        while not (result := what()):
            assert time.monotonic() < deadline, "\n".join(self.screen.lines())
            self._read(0.02)
        return result

    def wait_for_ghost(self, *lines: str) -> None:
        """Until the screen shows exactly this as ghost text, and nothing has been drawn by halves."""
        self._until(lambda: self.screen.ghost() == list(lines), f"ghost text {lines}")

    def wait_for_text(self, *lines: str) -> None:
        """Until the buffer holds exactly these lines."""
        self.wait(lambda: self.lines() == list(lines))

    def wait_on_screen(self, text: str) -> None:
        """Until it can be seen."""
        self._until(lambda: any(text in line for line in self.screen.lines()), f"{text!r} on the screen")

    def marks(self) -> list[dict[str, Any]]:
        """The extended marks of the ghost text."""
        code = "return vim.api.nvim_buf_get_extmarks(0, require('qcn.ghost').namespace, 0, -1, { details = true })"
        return [{"at": (row, column), **details} for _, row, column, details in self.lua(code)]

    def server(self, method: str) -> Any:
        """The language server's answer to a request without parameters."""
        code = """
            local client = vim.iter(vim.lsp.get_clients({ name = "qcn" })):find(function(one)
              return not one:is_stopped()
            end)
            local answer = client and client:request_sync(..., vim.empty_dict(), 10000)
            return answer and (answer.result or { error = answer.err })
        """
        return self.lua(code, method)

    def children(self) -> list[int]:
        """Its processes."""
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]

    def close(self) -> None:
        """Kill it, and wait until its servers have gone as well."""
        children = self.children() if self.process.poll() is None else []
        self.process.kill()
        self.process.wait()
        deadline = time.monotonic() + TIMEOUT_S
        while not all(map(has_ended, children)):
            assert time.monotonic() < deadline, children
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()

    def _until(self, is_so: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while not is_so():
            assert time.monotonic() < deadline, f"no {what}:\n" + "\n".join(self.screen.lines())
            self._read(0.1)

    def _read(self, timeout_s: float) -> None:
        """Take in what Neovim says within that time."""
        assert self.process.stdout is not None
        output = self.process.stdout.fileno()
        if not select.select([output], [], [], timeout_s)[0]:
            return
        data = os.read(output, 1 << 16)
        assert data, "Neovim ended"
        self._unpacker.feed(data)
        for message in self._unpacker:
            self._take(message)

    def _take(self, message: Sequence[Any]) -> None:
        if message[0] == ANSWER:
            self._answers[message[1]] = (message[2], message[3])
        elif message[0] == NOTIFICATION and message[1] == "redraw":
            self.screen.redraw(message[2])
