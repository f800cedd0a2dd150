"""`:checkhealth qcn`, the help file, and an editor without any qcn-agent."""

from collections.abc import Callable
from pathlib import Path

from tests.editors.neovim.conftest import QCN, open_file
from tests.editors.neovim.nvim import PLUGIN, Nvim

Start = Callable[..., Nvim]


def report(editor: Nvim) -> str:
    """What it shows."""
    editor.call("nvim_command", "checkhealth qcn")
    return "\n".join(editor.lines())


def test_all_is_well(start: Start, scripted_daemon: Callable[..., int], project: Path) -> None:
    """Version, command, daemon, model and whose ghost text it is."""
    (project / ".git").mkdir()
    pid = scripted_daemon()
    editor = start([QCN, "lsp"])
    open_file(editor, project / "calc.py")
    text = report(editor)
    assert "ERROR" not in text and "WARNING" not in text
    assert QCN in text
    assert f"process {pid}" in text
    assert "model: none scripted.gguf" in text
    assert "this plugin's" in text
    assert f"the daemon answers for {project}" in text
    assert f"{project} is not trusted: no fixes" in text


def test_a_command_that_is_not_there_is_an_error_with_advice(start: Start, project: Path) -> None:
    """Opening files goes on without it, and says so once."""
    editor = start(["no-such-qcn-agent", "lsp"], init="vim.o.cmdheight = 3")
    for name in ("calc.py", "tests/test_calc.py", "conftest.py"):
        editor.call("nvim_command", f"edit {project / name}")
    said = editor.call("nvim_exec2", "messages", {"output": True})["output"]
    assert said.count("can't be run") == 1 and "Error" not in said
    text = report(editor)
    assert "`no-such-qcn-agent` can't be run" in text
    assert "install qcn-agent" in text
    assert "none is running" in text


def test_help_has_its_tags(start: Start) -> None:
    """Each command and each setting is found by name, without `:helptags` having been run."""
    file = PLUGIN / "doc" / "tags"
    kept = file.read_text(encoding="utf-8")
    editor = start(["true"])
    editor.call("nvim_command", "helptags ALL")
    assert file.read_text(encoding="utf-8") == kept
    settings = editor.lua("return vim.tbl_keys(require('qcn.config').defaults)")
    tags = [f"qcn-{name}" for name in [*settings, "cmd_env", "filetypes", "native", "trust"]]
    for tag in [
        *tags,
        ":QcnStatus",
        ":QcnToggle",
        ":QcnFixDiagnostic",
        ":QcnTrust",
        "qcn.statusline()",
        "qcn.complete()",
    ]:
        editor.call("nvim_command", f"help {tag}")
        assert f"*{tag}*" in editor.call("nvim_get_current_line")
