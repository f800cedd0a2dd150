"""The command line: help, usage errors, exit codes; nothing heavy is imported for them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from qcn_agent.agent.journal import Journal
from qcn_agent.cli.fix import read_issue, take_back
from qcn_agent.cli.main import COMMANDS, run
from qcn_agent.errors import UsageError


def qcn(*arguments: str, cwd: Path | None = None, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run the installed command."""
    command = [str(Path(sys.executable).parent / "qcn-agent"), *arguments]
    return subprocess.run(command, cwd=cwd, input=stdin, capture_output=True, text=True, timeout=60, check=False)


def test_help_lists_every_command() -> None:
    """The first thing a user types shows what there is."""
    result = qcn("--help")

    assert result.returncode == 0
    for name, line in COMMANDS.items():
        assert name in result.stdout
        assert line.split(".")[0] in " ".join(result.stdout.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    """--help of each command works and says more than its name."""
    result = qcn(name, "--help")

    assert result.returncode == 0
    assert len(result.stdout.splitlines()) > 4


def test_help_imports_nothing_heavy() -> None:
    """Neither the model's library nor the language server nor numpy is loaded to print help."""
    code = (
        "import sys\nfrom qcn_agent.cli.main import run\nrun(['--help'])\n"
        "heavy = {'llama_cpp', 'pygls', 'lsprotocol', 'numpy', 'rich', 'jinja2', 'asyncio'} & set(sys.modules)\n"
        "print(sorted(heavy), file=sys.stderr)"
    )

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stderr.strip() == "[]"


@pytest.mark.parametrize("module", ["qcn_agent.cli.status", "qcn_agent.cli.undo", "qcn_agent.cli.fix"])
def test_clients_work_without_llama_cpp(module: str) -> None:
    """A terminal needs no model library; only the serving process loads it."""
    code = (
        "import sys\nsys.modules['llama_cpp'] = None\n"
        f"import {module}\nimport qcn_agent.daemon.client, qcn_agent.agent.journal"
    )

    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("fix",),
        ("fix", "x", "--workspace", "/no/such/folder"),
        ("fix", "@/no/such/file"),
        ("fix", "x", "--max-steps", "many"),
        ("fix", "x", "--max-steps", "0"),
        ("no-such-command",),
        ("serve", "--model", "/no/such.gguf"),
        ("undo",),
    ],
)
def test_usage_errors_are_exit_code_2(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """What can't be done is said in a line or two, without a traceback and without starting a daemon."""
    result = qcn(*arguments, cwd=tmp_path)

    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert result.stderr.strip()


def test_status_without_a_daemon_is_exit_code_6() -> None:
    """Programs can tell; `--json` says it too."""
    assert qcn("status").returncode == 6
    result = qcn("status", "--json")
    assert (result.returncode, json.loads(result.stdout)) == (6, {"running": False})


def test_stop_without_a_daemon_is_fine() -> None:
    """Stopping what does not run is no error."""
    assert qcn("stop").returncode == 0


def test_undo_restores_and_names_what_it_leaves(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Files that were changed after the run stay, with exit code 1; without such files it is 0."""
    original = (project / "calc.py").read_bytes()
    journal = Journal.create(project, "x")
    journal.write(project / "calc.py", b"one")
    journal.write(project / "new.py", b"two")
    (project / "new.py").write_bytes(b"mine")

    assert run(["undo", "--workspace", str(project)]) == 1

    assert "left alone new.py" in capsys.readouterr().out
    assert (project / "calc.py").read_bytes() == original
    assert (project / "new.py").read_bytes() == b"mine"
    assert run(["undo", "--workspace", str(project)]) == 2


def test_dead_daemon_is_cleaned_up_after(project: Path) -> None:
    """The client puts back what a daemon had changed when it died, unless the user wants to keep it."""
    original = (project / "calc.py").read_bytes()
    Journal.create(project, "x").write(project / "calc.py", b"half-done")

    assert "qcn-agent undo" in take_back({"workspace": str(project), "keep": True})
    assert (project / "calc.py").read_bytes() == b"half-done"
    assert "calc.py" in take_back({"workspace": str(project), "keep": False})
    assert (project / "calc.py").read_bytes() == original


def test_issue_comes_from_text_or_a_file(tmp_path: Path) -> None:
    """@FILE is read; a file that is not text is a usage error."""
    (tmp_path / "issue.md").write_text("it breaks")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")

    assert read_issue("plain") == "plain"
    assert read_issue(f"@{tmp_path / 'issue.md'}") == "it breaks"
    with pytest.raises(UsageError):
        read_issue(f"@{tmp_path / 'binary'}")
