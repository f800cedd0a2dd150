"""The real shim below a real editor: its daemon is killed, its editor is killed."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tests.editors.neovim.conftest import QCN, SCRIPTED, open_file, write_script
from tests.editors.neovim.nvim import Nvim, has_ended

GONE_WITHIN_S = 1.0
NOT_SAVED = """
    local client, path = vim.lsp.get_clients({ name = "qcn" })[1], ...
    local order = { uri = vim.uri_from_fname(path), line = 0, message = "x" }
    local params = { command = "qcn.fixDiagnostic", arguments = { order } }
    local answer = client:request_sync("workspace/executeCommand", params, 10000)
    return answer and answer.err and answer.err.message or vim.inspect(answer)
"""


def shim_of(editor: Nvim) -> int:
    """Its only child."""
    (child,) = editor.children()
    return child


def test_after_a_killed_daemon_the_next_one_has_the_text_as_it_is(
    start: Callable[..., Nvim], scripted_daemon: Callable[..., int], project: Path
) -> None:
    """Typed while there was none. The daemon itself compares: it takes only files that are on disk as it has them."""
    (project / ".git").mkdir()
    (project / "other.py").write_text("y = 1\n")
    first = scripted_daemon()
    editor = start([QCN, "lsp"], f"trusted = {{ '{project}' }}")
    open_file(editor, project / "calc.py")
    open_file(editor, project / "other.py")
    editor.wait(lambda: editor.server("qcn/status").get("pid") == first)
    os.kill(first, signal.SIGKILL)
    editor.call("nvim_command", "buffer calc.py")
    editor.keys("ggOé = '😀'<Esc>")
    editor.wait(lambda: editor.lines()[0] == "é = '😀'")
    text = "\n".join([*editor.lines(), ""])
    editor.call("nvim_command", "buffer other.py")
    editor.keys("ggOunsaved<Esc>")
    editor.wait(lambda: editor.lines()[0] == "unsaved")
    second = editor.wait(lambda: editor.server("qcn/status").get("pid"))
    assert second != first

    file = str(project / "calc.py")
    assert "calc.py is not saved" in editor.lua(NOT_SAVED, file)
    (project / "calc.py").write_text(text, encoding="utf-8")
    assert "other.py is not saved" in editor.lua(NOT_SAVED, file)


def test_a_killed_shim_is_started_again(start: Callable[..., Nvim], tmp_path: Path) -> None:
    """With the text as it is; not for ever, and the user is told then."""
    write_script(tmp_path, answers=[("name = ", "first")])
    editor = start(SCRIPTED, init="vim.o.cmdheight = 5")
    (tmp_path / "work" / ".git").mkdir(parents=True)
    open_file(editor, tmp_path / "work" / "a.py")
    for number in range(2):
        editor.keys(f"Gox{number} = 1<Esc>")
        kill_shim(editor)
        editor.wait(lambda: editor.server("fake/seen"))
        assert editor.server("fake/seen")["texts"] == ["\n".join([*editor.lines(), ""])]
    editor.keys("Goname = ")
    editor.wait_for_ghost("first")
    editor.keys("<Tab><Esc>")
    kill_shim(editor)
    editor.wait_on_screen("ends again and again")
    assert editor.lines()[-1] == "name = first"


def kill_shim(editor: Nvim) -> None:
    """And wait until Neovim knows."""
    shim = shim_of(editor)
    os.kill(shim, signal.SIGKILL)
    editor.wait(lambda: shim not in editor.children())


def test_the_shim_goes_with_a_killed_editor(
    start: Callable[..., Nvim], scripted_daemon: Callable[..., int], project: Path
) -> None:
    """Within a second; the daemon stays for others."""
    daemon = scripted_daemon()
    editor = start([QCN, "lsp"])
    open_file(editor, project / "calc.py")
    shim = shim_of(editor)
    assert not has_ended(shim)
    os.kill(editor.process.pid, signal.SIGKILL)
    killed_at = time.monotonic()
    while not has_ended(shim):
        assert time.monotonic() - killed_at < GONE_WITHIN_S
    assert not has_ended(daemon)


def test_the_shim_goes_with_an_editor_that_is_quit(
    start: Callable[..., Nvim], scripted_daemon: Callable[..., int], project: Path
) -> None:
    """And quitting does not wait for it."""
    scripted_daemon()
    editor = start([QCN, "lsp"])
    open_file(editor, project / "calc.py")
    shim = shim_of(editor)
    quit_at = time.monotonic()
    editor.send("nvim_command", "qall!")
    assert editor.process.wait(GONE_WITHIN_S) == 0
    while not has_ended(shim):
        assert time.monotonic() - quit_at < GONE_WITHIN_S
