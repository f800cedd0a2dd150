"""Which buffers get a server, and how many servers there are."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.editors.neovim.conftest import SCRIPTED, open_file, write_script
from tests.editors.neovim.nvim import Nvim, NvimError

COUNT = "return #vim.lsp.get_clients({ name = 'qcn' })"


@pytest.fixture
def editor(start: Callable[..., Nvim], tmp_path: Path) -> Nvim:
    """A server that offers nothing, for Python and Lua."""
    write_script(tmp_path)
    return start(SCRIPTED, "filetypes = { 'python', 'lua' }")


def folder_with(tmp_path: Path, name: str, *files: str) -> Path:
    """A repository."""
    folder = tmp_path / name
    (folder / ".git").mkdir(parents=True)
    for file in files:
        (folder / file).write_text("x = 1\n")
    return folder


def test_one_server_for_each_root(editor: Nvim, tmp_path: Path) -> None:
    """Files of one repository share it; another repository has its own."""
    one, two = folder_with(tmp_path, "one", "a.py", "b.lua"), folder_with(tmp_path, "two", "c.py")
    open_file(editor, one / "a.py")
    open_file(editor, one / "b.lua")
    assert editor.lua(COUNT) == 1
    open_file(editor, two / "c.py")
    assert editor.lua(COUNT) == 2


def test_other_files_and_scratch_buffers_have_none(editor: Nvim, tmp_path: Path) -> None:
    """Not of the listed types, without a name, or no files at all."""
    folder = folder_with(tmp_path, "one", "a.md")
    for command in (f"edit {folder / 'a.md'}", "enew | setfiletype python", "new | setlocal bt=nofile ft=python"):
        editor.call("nvim_command", command)
    assert editor.lua(COUNT) == 0
    assert editor.lua("return require('qcn').statusline()") == ""


def test_a_file_without_a_repository_has_a_server_without_folder(editor: Nvim, tmp_path: Path) -> None:
    """For ghost text only."""
    (tmp_path / "lone.py").write_text("x")
    open_file(editor, tmp_path / "lone.py")
    assert editor.lua("return vim.lsp.get_clients({ name = 'qcn' })[1].root_dir == nil")


def test_a_wrong_setting_is_named(editor: Nvim) -> None:
    """Unknown, and of the wrong type."""
    with pytest.raises(NvimError, match="acept"):
        editor.lua("require('qcn').setup({ acept = '<Tab>' })")
    with pytest.raises(NvimError, match="enabled"):
        editor.lua("require('qcn').setup({ enabled = 1 })")
