"""The whole path: real Neovim, shim, daemon and the embedded model. What it offers is the model's own affair."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.editors.neovim.conftest import QCN, keep_screen, open_file
from tests.editors.neovim.nvim import Nvim

# Whatever comes is shown, however slow the machine.
PATIENT = """
vim.env.QCN_COMPLETION_MIN_LOGPROB = "-100"
vim.env.QCN_COMPLETION_ANSWER_MS = "20000"
vim.env.QCN_COMPLETION_HARD_MS = "30000"
"""
LOAD = "return vim.lsp.get_clients({ name = 'qcn' })[1]:request_sync('qcn/load', { model = '' }, 60000)"
TYPED = ["def double(value):", '    """Twice the value."""', "    return "]


@pytest.fixture
def editor(start: Callable[..., Nvim], project: Path) -> Nvim:
    """A new file; the model is loaded."""
    (project / ".git").mkdir()
    made = start([QCN, "lsp"], init=PATIENT)
    open_file(made, project / "new.py")
    assert made.lua(LOAD)["result"]
    return made


def shown(editor: Nvim) -> str:
    """The suggestion on the screen."""
    (mark,) = editor.marks()
    lines = [mark["virt_text"], *mark.get("virt_lines", [])]
    return "\n".join("".join(text for text, _ in line) for line in lines)


def test_what_the_model_offers_is_what_tab_puts_in(editor: Nvim, request: pytest.FixtureRequest) -> None:
    """And it is counted as accepted."""
    editor.lua("vim.bo.indentexpr, vim.bo.autoindent = '', false")
    editor.keys(f"i{'<CR>'.join(TYPED)}")
    editor.wait(lambda: editor.lines() == TYPED and editor.marks())
    offered = shown(editor)
    assert offered.strip()
    keep_screen(editor, request.node.name)
    editor.keys("<Tab>")
    editor.wait_for_text(*("\n".join(TYPED) + offered).split("\n"))
    editor.wait(lambda: not editor.server("qcn/status")["runs"])  # after the word of what was accepted
    subprocess.run([QCN, "stop"], check=True, capture_output=True)  # it writes its counts
    assert counts()["accepted"] == 1


def counts() -> dict[str, float]:
    """What was counted for Python."""
    said = subprocess.run([QCN, "stats", "--json"], env=os.environ, check=True, capture_output=True, text=True).stdout
    events: dict[str, float] = json.loads(said)["languages"].get("python", {})
    return events
