"""A folder that is not trusted: ghost text, and nothing of it is run."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import RIGHT, WRONG
from tests.editors.neovim.conftest import QCN, SCRIPTED, open_file, write_script
from tests.editors.neovim.nvim import Nvim
from tests.editors.neovim.test_fix import DIAGNOSE, FIX, READ

Start = Callable[..., Nvim]
ROOM = "vim.o.cmdheight = 4\n"  # for long messages, which would wait for Enter
PATH = f"vim.env.PATH = '{Path(sys.executable).parent}:{os.environ['PATH']}'\n"


@pytest.fixture
def repository(project: Path) -> Path:
    """One that was cloned."""
    (project / ".git").mkdir()
    return project


@pytest.fixture
def unknown(start: Start, scripted_daemon: Callable[..., int], repository: Path) -> Nvim:
    """Nothing is known of the repository; a diagnostic is at the cursor, and the daemon knows the fix."""
    scripted_daemon(READ, FIX)
    editor = start([QCN, "lsp"], init=ROOM + PATH)
    open_file(editor, repository / "calc.py")
    editor.lua(DIAGNOSE)
    return editor


def trusts(editor: Nvim) -> list[bool]:
    """What the server, a scripted one, was told."""
    seen = editor.wait(lambda: editor.server("fake/seen"))
    return [options["qcnTrusted"] for options in seen["options"]]


def said(editor: Nvim) -> str:
    """All messages."""
    output: str = editor.call("nvim_exec2", "messages", {"output": True})["output"]
    return output


def open_scripted(start: Start, tmp_path: Path, repository: Path, settings: str) -> Nvim:
    """A file of the repository in an editor whose server knows one answer."""
    write_script(tmp_path, answers=[("re", "turn")])
    editor = start(SCRIPTED, settings, ROOM)
    open_file(editor, repository / "calc.py")
    return editor


def test_ghost_text_comes_all_the_same(start: Start, tmp_path: Path, repository: Path) -> None:
    """The server is told, and nobody is asked."""
    editor = open_scripted(start, tmp_path, repository, "")
    assert trusts(editor) == [False]
    editor.keys("Ore")
    editor.wait_for_ghost("turn")


@pytest.mark.parametrize("folder", [".", ".."])
def test_folders_of_the_setting_are_trusted_with_all_below(
    start: Start, tmp_path: Path, repository: Path, folder: str
) -> None:
    """Those beside them are not."""
    listed = f"trusted = {{ '/no/such/folder', '{repository / folder}' }}"
    assert trusts(open_scripted(start, tmp_path, repository, listed)) == [True]


def test_a_name_that_only_begins_alike_is_not_trusted(start: Start, tmp_path: Path, repository: Path) -> None:
    """`/src/project` does not stand for `/src/project2`."""
    assert trusts(open_scripted(start, tmp_path, repository, f"trusted = {{ '{str(repository)[:-1]}' }}")) == [False]


def test_a_fix_asks_first_and_goes_on_once_the_folder_is_allowed(unknown: Nvim, repository: Path) -> None:
    """Neovim keeps the answer in its own list."""
    unknown.send("nvim_command", "QcnFixDiagnostic")
    unknown.wait_on_screen("(d)eny")
    unknown.keys("a")
    unknown.wait_on_screen("make this edit?")
    unknown.keys("y")
    unknown.wait(lambda: any(RIGHT in line for line in unknown.lines()))
    kept = Path(unknown.lua("return vim.fn.stdpath('state')")) / "trust"
    assert kept.read_text(encoding="utf-8") == f"directory {repository}\n"


def test_a_denied_folder_is_not_asked_about_again(unknown: Nvim, repository: Path) -> None:
    """And nothing is changed."""
    unknown.send("nvim_command", "QcnFixDiagnostic")
    unknown.wait_on_screen("(d)eny")
    unknown.keys("d")
    unknown.wait(lambda: "so nothing in it is run" in said(unknown))
    unknown.call("nvim_command", "messages clear")
    unknown.call("nvim_command", "QcnFixDiagnostic")
    assert "so nothing in it is run" in said(unknown)
    assert any(WRONG in line for line in unknown.lines())


def test_trust_can_be_given_and_withdrawn(start: Start, tmp_path: Path, repository: Path) -> None:
    """Each time the server is started anew, and has the text."""
    editor = open_scripted(start, tmp_path, repository, "")
    editor.send("nvim_command", "QcnTrust")
    editor.wait_on_screen("(d)eny")
    editor.keys("a")
    editor.wait(lambda: trusts(editor) == [True])
    assert editor.server("fake/seen")["texts"] == ["\n".join([*editor.lines(), ""])]
    editor.call("nvim_command", "QcnTrust!")
    editor.wait(lambda: trusts(editor) == [False])


def test_a_program_of_the_folder_is_not_started_before_it_is_trusted(
    start: Start, tmp_path: Path, repository: Path
) -> None:
    """Whatever PATH says. The user hears of it."""
    write_script(tmp_path)
    program = repository / "bin" / "qcn-agent"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch '{tmp_path}/ran'\nexec {' '.join(SCRIPTED)}\n", encoding="utf-8")
    program.chmod(0o755)
    editor = start(["qcn-agent"], init=f"{ROOM}vim.env.PATH = '{program.parent}:' .. vim.env.PATH")
    editor.call("nvim_command", f"edit {repository / 'calc.py'}")
    editor.wait(lambda: "is in a folder that you do not trust" in said(editor))
    assert not (tmp_path / "ran").exists() and "Error" not in said(editor)
    editor.send("nvim_command", "QcnTrust")
    editor.wait_on_screen("(d)eny")
    editor.keys("a")
    editor.wait(lambda: editor.server("fake/seen"))
    assert (tmp_path / "ran").exists()
