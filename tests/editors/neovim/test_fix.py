"""`:QcnFixDiagnostic` against the real daemon, with a scripted model and the real tests of a project."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import RIGHT, WRONG
from tests.editors.neovim.conftest import QCN, keep_screen, open_file
from tests.editors.neovim.nvim import Nvim
from tests.fakes.scripted import call

FIX = call("edit_file", path="calc.py", old_string=WRONG, new_string=RIGHT)
READ = call("read_file", path="calc.py")
DIAGNOSE = """
    local namespace = vim.api.nvim_create_namespace("lint")
    local found = { lnum = 5, col = 4, message = "clamp ignores high", source = "lint" }
    vim.diagnostic.set(namespace, 0, { found })
    vim.api.nvim_win_set_cursor(0, { 6, 4 })
    vim.o.more = false
"""

APPLY = """
    local function insertion(line, text)
      local spot = { line = line, character = 0 }
      return { range = { start = spot, ["end"] = spot }, newText = text }
    end
    local version = vim.lsp.util.buf_versions[vim.api.nvim_get_current_buf()] + ...
    local change = {
      textDocument = { uri = vim.uri_from_bufnr(0), version = version },
      edits = { insertion(0, "# first\\n"), insertion(1, "# second\\n") },
    }
    local context = { client_id = vim.lsp.get_clients({ name = "qcn" })[1].id }
    return require("qcn.preview").apply(nil, { edit = { documentChanges = { change } } }, context)
"""


@pytest.fixture
def editor(start: Callable[..., Nvim], scripted_daemon: Callable[..., int], project: Path) -> Nvim:
    """With a diagnostic of another source at the cursor, and a daemon that knows the fix."""
    (project / ".git").mkdir()
    scripted_daemon(READ, FIX)
    path = f"vim.env.PATH = '{Path(sys.executable).parent}:{os.environ['PATH']}'"
    made = start([QCN, "lsp"], f"trusted = {{ '{project.parent}' }}", path)
    open_file(made, project / "calc.py")
    made.lua(DIAGNOSE)
    return made


def test_the_edit_is_shown_made_and_one_step_to_undo(
    editor: Nvim, project: Path, request: pytest.FixtureRequest
) -> None:
    """The diff first; then the buffer, not the file."""
    before = editor.lines()
    editor.call("nvim_command", "QcnFixDiagnostic")
    editor.wait_on_screen("make this edit?")
    assert any(f"+    {RIGHT}" in line for line in editor.screen.lines())
    keep_screen(editor, request.node.name)
    editor.keys("y")
    editor.wait(lambda: editor.lines() == [line.replace(WRONG, RIGHT) for line in before])
    assert WRONG in (project / "calc.py").read_text()
    editor.keys("u")
    editor.wait(lambda: editor.lines() == before)


def test_an_edit_that_is_declined_changes_nothing(editor: Nvim) -> None:
    """And says so."""
    before = editor.lines()
    editor.call("nvim_command", "QcnFixDiagnostic")
    editor.wait_on_screen("make this edit?")
    editor.keys("n")
    editor.wait(lambda: "nothing was changed" in editor.call("nvim_exec2", "messages", {"output": True})["output"])
    assert editor.lines() == before


def test_what_is_not_saved_is_said(editor: Nvim) -> None:
    """With what to do."""
    editor.keys("Otyped<Esc>")
    editor.wait(lambda: any("typed" in line for line in editor.lines()))
    editor.call("nvim_command", "QcnFixDiagnostic")
    editor.wait_on_screen("save your files")  # two lines: Neovim waits for Enter, and answers nothing until then
    editor.keys("<CR>")


def test_a_line_without_a_diagnostic(editor: Nvim) -> None:
    """Nothing to do is said, too."""
    editor.lua("vim.api.nvim_win_set_cursor(0, { 1, 0 })")
    editor.call("nvim_command", "QcnFixDiagnostic")
    assert "no diagnostic" in editor.call("nvim_exec2", "messages", {"output": True})["output"]


def test_an_edit_of_another_version_is_refused(editor: Nvim) -> None:
    """Neovim itself would leave the buffer alone and say that the edit is made."""
    answer = editor.lua(APPLY, 1)
    assert answer == {"applied": False, "failureReason": "the buffer has changed meanwhile"}
    assert editor.lines()[0] == '"""Small helpers."""'


def test_without_asking(editor: Nvim) -> None:
    """With `confirm = false`; several edits are one step to undo."""
    before = editor.lines()
    editor.lua("require('qcn.config').current.confirm = false")
    assert editor.lua(APPLY, 0) == {"applied": True}
    assert editor.lines() == ["# first", *before[:1], "# second", *before[1:]]
    editor.keys("u")
    editor.wait(lambda: editor.lines() == before)


def test_status_shows_the_daemon(editor: Nvim) -> None:
    """Process and model."""
    editor.call("nvim_command", "QcnStatus")
    editor.wait_on_screen("model: none scripted")
