"""The server has each buffer's text exactly, whatever happens to the buffer, and ghost text lands where it belongs."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.editors.neovim.conftest import SCRIPTED, open_file, write_script
from tests.editors.neovim.nvim import Nvim

Start = Callable[..., Nvim]
TEXT = "return vim.lsp._buf_get_full_text(0)"  # as Neovim itself would send it
ANSWER = ("name = ", "first + 'ä😀'\nlast = 1")


@pytest.fixture
def editor(start: Start, tmp_path: Path) -> Nvim:
    """With a server that knows one answer of two lines."""
    write_script(tmp_path, answers=[ANSWER])
    return start(SCRIPTED)


def write(folder: Path, name: str, data: bytes) -> Path:
    """A file in a repository."""
    (folder / ".git").mkdir(parents=True)
    (folder / name).write_bytes(data)
    return folder / name


def accept(editor: Nvim) -> None:
    """Have the answer put in, in a new line below the cursor's; the server then has what the editor has."""
    editor.keys("<Esc>oname = ")
    editor.wait_for_ghost("first + 'ä😀'", "last = 1")
    editor.keys("<Tab><Esc>")
    editor.wait(lambda: "last = 1" in editor.lines())
    assert_same(editor)


def assert_same(editor: Nvim) -> None:
    """The buffer's text at both ends."""
    editor.wait(lambda: editor.server("fake/seen")["texts"][-1] == editor.lua(TEXT))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"a = 1\r\nb = 2\r\n",
        "a = '\u2028\u2029'\nb = '\x85\x0b\x0c'\n".encode(),
        "# é😀 \u200d\u0301\n".encode(),
        b"\n\n\n",
    ],
    ids=["empty", "crlf", "unicode line ends", "wide", "blank"],
)
def test_texts_of_all_kinds(editor: Nvim, tmp_path: Path, data: bytes) -> None:
    """Line ends, and characters that some take for line ends."""
    open_file(editor, write(tmp_path / "work", "a.py", data))
    assert_same(editor)
    accept(editor)


def test_a_last_line_without_end(editor: Nvim, tmp_path: Path) -> None:
    """As it is when opened; what is put in behind it ends it for Neovim, whatever 'endofline' says."""
    open_file(editor, write(tmp_path / "work", "a.py", b"no end"))
    assert_same(editor)
    editor.keys("oname = ")
    editor.wait_for_ghost("first + 'ä😀'", "last = 1")
    editor.keys("<Tab>")
    editor.wait(lambda: "last = 1" in editor.lines())
    editor.wait(lambda: editor.server("fake/seen")["texts"] == ["\n".join([*editor.lines(), ""])])


@pytest.mark.parametrize("data", [b"a\rb\n", b"a\r\nb\n"])
def test_carriage_returns_that_are_text_to_neovim(editor: Nvim, tmp_path: Path, data: bytes) -> None:
    """A line would not be the same line at both ends, so there is no server, and the file stays as it is."""
    file = write(tmp_path / "work", "a.py", data)
    editor.call("nvim_command", f"edit ++ff=unix {file}")
    editor.keys("oname = <Tab><Esc>:write<CR>")
    editor.wait(lambda: file.read_bytes() != data)
    assert editor.lua("return #vim.lsp.get_clients({ bufnr = 0 })") == 0
    assert file.read_bytes().startswith(data[:3])


def test_a_buffer_that_is_read_again_with_carriage_returns(editor: Nvim, tmp_path: Path) -> None:
    """The server lets go of it, and has it again when they end lines."""
    file = write(tmp_path / "work", "a.py", b"a\r\nb\r\n")
    open_file(editor, file)
    assert editor.server("fake/seen")["texts"] == ["a\r\nb\r\n"]
    editor.call("nvim_command", "edit ++ff=unix")
    editor.wait(lambda: editor.server("fake/seen")["texts"] == [])
    editor.call("nvim_command", "edit ++ff=dos")
    accept(editor)


EDITS = [
    ":%s/a/bcd/g\r",
    "ddp",
    "yyppu",
    "u\x12u",
    ":sort!\r",
    "<C-v>jIxyz<Esc>",
    "qqA.<Esc>jq3@q",
    "ggdG",
    ":2,3move 0\r",
    "gg=GGVGJ",
    "Rover<Esc>.",
    ":normal! ihello\r",
]


@pytest.mark.parametrize("keys", EDITS)
def test_all_ways_to_edit(editor: Nvim, tmp_path: Path, keys: str) -> None:
    """Of which few are typing."""
    open_file(editor, write(tmp_path / "work", "a.py", b"a = 1\nb = a\nc = a\nd = 2\n"))
    editor.keys(keys)
    editor.wait(lambda: editor.call("nvim_get_mode")["mode"] == "n")
    accept(editor)


def test_a_buffer_that_is_read_again(editor: Nvim, tmp_path: Path) -> None:
    """By `:e!`, with what was typed gone; and after a change on disk."""
    file = write(tmp_path / "work", "a.py", b"a = 1\n")
    open_file(editor, file)
    accept(editor)
    editor.call("nvim_command", "edit!")
    editor.wait_for_text("a = 1")
    assert_same(editor)
    accept(editor)
    editor.call("nvim_command", "write")
    file.write_bytes(b"z = 26\ny = 25\n")
    editor.call("nvim_command", "edit!")
    editor.wait_for_text("z = 26", "y = 25")
    accept(editor)


def test_a_buffer_that_gets_another_name(editor: Nvim, tmp_path: Path) -> None:
    """By `:saveas`: it is one document, under its new name."""
    open_file(editor, write(tmp_path / "work", "a.py", b"a = 1\n"))
    editor.call("nvim_command", f"saveas {tmp_path / 'work' / 'b.py'}")
    accept(editor)
    assert len(editor.server("fake/seen")["texts"]) == 1


def test_a_buffer_that_gets_another_name_before_it_is_saved(editor: Nvim, tmp_path: Path) -> None:
    """By `:file`: the server knows it by its new name at once."""
    open_file(editor, write(tmp_path / "work", "a.py", b"a = 1\n"))
    editor.call("nvim_command", f"file {tmp_path / 'work' / 'b.py'}")
    accept(editor)


def test_a_file_that_is_not_saved_yet(editor: Nvim, tmp_path: Path) -> None:
    """Named when it is opened, in a folder that is not there; or named when it is first written."""
    open_file(editor, tmp_path / "new folder" / "a.py")
    accept(editor)
    editor.call("nvim_command", "enew!")
    editor.keys("ia = 1<Esc>")
    editor.wait_for_text("a = 1")
    editor.call("nvim_command", f"write {tmp_path / 'b.py'}")
    editor.wait(lambda: editor.lua("return require('qcn.client').of(0) ~= nil"))
    accept(editor)


@pytest.mark.parametrize("name", ["with space/größe 😀.py", "a%20b#c?[d].py", "ü\u0301/'x'$y.py"])
def test_any_name_of_a_file(editor: Nvim, tmp_path: Path, name: str) -> None:
    """What is special in a URI, or to Vim."""
    file = tmp_path / "work" / name
    (tmp_path / "work" / ".git").mkdir(parents=True)
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"a = 1\n")
    editor.call("nvim_cmd", {"cmd": "edit", "args": [str(file)], "magic": {"file": False}}, {})
    editor.wait(lambda: editor.lua("return require('qcn.client').of(0) ~= nil"))
    accept(editor)


def test_a_file_that_was_closed_is_opened_again(editor: Nvim, tmp_path: Path) -> None:
    """The keys work as before; twenty times in a row leave one document."""
    file = write(tmp_path / "work", "a.py", b"a = 1\n")
    for command in ("bdelete!", "bwipeout!") * 10:
        open_file(editor, file)
        editor.call("nvim_command", command)
    open_file(editor, file)
    accept(editor)
    assert len(editor.server("fake/seen")["texts"]) == 1


def test_a_buffer_in_two_windows(editor: Nvim, tmp_path: Path) -> None:
    """Accepted once; closing a window while ghost text is there does no harm."""
    open_file(editor, write(tmp_path / "work", "a.py", b"a = 1\n"))
    editor.call("nvim_command", "split")
    editor.keys("oname = ")
    editor.wait(lambda: editor.marks())
    editor.keys("<Esc>:close<CR>u")
    editor.wait_for_text("a = 1")
    accept(editor)


def test_a_file_that_may_not_be_written(editor: Nvim, tmp_path: Path) -> None:
    """Neovim warns; ghost text comes as anywhere."""
    file = write(tmp_path / "work", "a.py", b"a = 1\n")
    file.chmod(0o444)
    editor.call("nvim_command", f"view {file}")
    editor.wait(lambda: editor.lua("return require('qcn.client').of(0) ~= nil"))
    editor.lua("vim.cmd.messages('clear') vim.o.shortmess = vim.o.shortmess .. 'W' vim.bo.readonly = false")
    accept(editor)
