"""The command line: help, usage errors, exit codes; nothing heavy is imported for them."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from qcn_agent import paths
from qcn_agent.agent import pruning
from qcn_agent.agent.journal import Journal, new_run_id
from qcn_agent.cli.fix import take_back
from qcn_agent.cli.issue import read_issue
from qcn_agent.cli.main import COMMANDS, run
from qcn_agent.errors import UsageError
from tests.fakes.daemon import RunningDaemon

Start = Callable[..., RunningDaemon]


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


@pytest.mark.parametrize(
    "module",
    [
        "qcn_agent.cli.status",
        "qcn_agent.cli.undo",
        "qcn_agent.cli.fix",
        "qcn_agent.cli.locate",
        "qcn_agent.cli.context",
    ],
)
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
        ("fix", "@~nobody-of-this-name/issue.md"),
        ("fix", " "),
        ("fix", "-"),
        ("fix", "x", "--max-steps", "many"),
        ("fix", "x", "--max-steps", "0"),
        ("fix", "x", "--model", ""),
        ("fix", "x", "--model", "/"),
        ("fix", "x", "--model", "/no/such.gguf"),
        ("fix", "x", "--workspace", ""),
        ("context",),
        ("context", " "),
        ("context", "x", "--budget", "16"),
        ("context", "x", "--model", "/no/such.gguf"),
        ("context", "x", "--workspace", "/no/such/folder"),
        ("undo", "--workspace", ""),
        ("serve", "--model", ""),
        ("serve", "--model", "/"),
        ("no-such-command",),
        ("serve", "--model", "/no/such.gguf"),
        ("undo",),
    ],
)
def test_usage_errors_are_exit_code_2(arguments: tuple[str, ...], tmp_path: Path, home: Path) -> None:
    """What can't be done is said in a line or two, without a traceback and without starting a daemon."""
    result = qcn(*arguments, cwd=tmp_path)

    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert result.stderr.strip()
    assert not (home / "state" / "daemon.log").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(("--max-steps", "0"), "--max-steps: 0 is outside 1 .. 10000"), (("--workspace", ""), "--workspace is empty")],
)
def test_wrong_option_is_named_with_what_to_do(arguments: tuple[str, ...], words: str, tmp_path: Path) -> None:
    """For people a line and an arrow, for programs the same as JSON."""
    said = qcn("fix", "x", *arguments, cwd=tmp_path)
    table = json.loads(qcn("fix", "x", "--json", *arguments, cwd=tmp_path).stdout)

    assert words in said.stderr
    assert "→" in said.stderr
    assert words in table["reason"]
    assert table["hint"]
    assert (table["ending"], table["exit_code"]) == ("error", 2)


def test_status_without_a_daemon_is_exit_code_6() -> None:
    """Programs can tell; `--json` says it too."""
    assert qcn("status").returncode == 6
    result = qcn("status", "--json")
    assert (result.returncode, json.loads(result.stdout)) == (6, {"running": False})


def test_stop_can_forget_what_was_read() -> None:
    """All files of the cache are deleted and counted; the folder above them is not touched."""
    folder = paths.kv_cache_dir() / "model"
    folder.mkdir(parents=True)
    for name in ("a", "b"):
        (folder / name).write_bytes(b"x")
    (paths.cache_dir() / "other").write_bytes(b"x")
    paths.token_cache_dir().mkdir()
    (paths.token_cache_dir() / "tag-vocabulary.db").write_bytes(b"x")
    result = qcn("stop", "--forget")
    assert (result.returncode, "forgotten: 3 files" in result.stdout) == (0, True)
    assert [file.name for file in paths.cache_dir().rglob("*") if file.is_file()] == ["other"]


def test_stop_can_forget_one_project(tmp_path: Path) -> None:
    """What is its alone goes, also when its folder is gone; what it shares stays, and the rest is not touched."""
    folder = paths.kv_cache_dir() / "model"
    folder.mkdir(parents=True)
    gone, other = paths.project_tag(tmp_path / "gone"), paths.project_tag(tmp_path)
    for name in (f"a.{gone}", f"b.{other}", ".".join(("c", *sorted((gone, other)))), "d"):
        (folder / name).write_bytes(b"x")
    paths.token_cache_dir().mkdir()
    for tag in (gone, other):
        (paths.token_cache_dir() / f"{tag}-vocabulary.db").write_bytes(b"x")
    result = qcn("stop", "--forget", "--workspace", str(tmp_path / "gone"))
    assert (result.returncode, "forgotten: 2 files" in result.stdout) == (0, True)
    assert [file.name for file in paths.token_cache_dir().iterdir()] == [f"{other}-vocabulary.db"]
    assert sorted(file.name for file in folder.iterdir()) == [f"b.{other}", f"c.{other}", "d"]
    assert qcn("stop", "--workspace", str(tmp_path)).returncode == 2


def test_stop_without_a_daemon_is_fine() -> None:
    """Stopping what does not run is no error."""
    assert qcn("stop").returncode == 0


def test_undo_restores_and_names_what_it_leaves(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Files that were changed after the run stay, with exit code 1; without such files it is 0."""
    original = (project / "calc.py").read_bytes()
    with contextlib.closing(Journal.create(project, "x")) as journal:
        journal.write(project / "calc.py", b"one", original)
        journal.write(project / "new.py", b"two", None)
    (project / "new.py").write_bytes(b"mine")

    assert run(["undo", "--workspace", str(project)]) == 1

    assert "left alone: new.py was saved by somebody else" in capsys.readouterr().out
    assert (project / "calc.py").read_bytes() == original
    assert (project / "new.py").read_bytes() == b"mine"
    assert run(["undo", "--workspace", str(project)]) == 2


def test_undo_waits_for_the_end_of_a_run(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """While a run is going on its changes are its own: exit code 2 and what to do, and the tree stays."""
    original = (project / "calc.py").read_bytes()
    with contextlib.closing(Journal.create(project, "x")) as journal:
        journal.write(project / "calc.py", b"one", original)

        assert run(["undo", "--workspace", str(project)]) == 2

        assert "Ctrl-C" in capsys.readouterr().err
        assert (project / "calc.py").read_bytes() == b"one"
    assert run(["undo", "--workspace", str(project)]) == 0
    assert (project / "calc.py").read_bytes() == original


def test_undo_tells_a_damaged_journal_from_a_live_run(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 as well, but another sentence, and where the copies are."""
    with contextlib.closing(Journal.create(project, "x")) as journal:
        journal.write(project / "calc.py", b"one", (project / "calc.py").read_bytes())
    log = journal.folder / "changes.jsonl"
    log.write_text("not json\n" + log.read_text())

    assert run(["undo", "--workspace", str(project)]) == 2

    said = capsys.readouterr().err
    assert "is damaged" in said
    assert str(journal.folder / "blobs") in said
    assert "still going on" not in said


@pytest.mark.parametrize("workspace", ["project", "project/tests"])
def test_undo_from_a_subfolder(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], workspace: str
) -> None:
    """It finds the last run in the project, also one that had the subfolder itself for its project, and says where."""
    (project / "pyproject.toml").touch()
    root = project.parent / workspace
    with contextlib.closing(Journal.create(root, "x")) as journal:
        journal.write(root / "new.py", b"one", None)
    monkeypatch.chdir(project / "tests")

    assert run(["undo"]) == 0

    assert not (root / "new.py").exists()
    assert (f"in {project}\n" in capsys.readouterr().out) == (root == project)


def test_undo_says_how_long_it_can() -> None:
    """The rule by which journals are kept stands where a user looks for it."""
    said = " ".join(qcn("undo", "--help").stdout.split())

    assert f"the last {pruning.KEPT_RUNS} runs of each project are kept" in said
    assert f"{pruning.KEPT_S // 86_400} days" in said


@pytest.mark.parametrize("arguments", [("--help",), ("fix", "--help"), ("status",), ("status", "--json"), ("stop",)])
def test_reader_that_goes_away_is_exit_code_141(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """As with other programs in a pipe: quiet, with the code of SIGPIPE."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [str(Path(sys.executable).parent / "qcn-agent"), *arguments]
    with os.fdopen(writer, "w") as closed:
        done = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True, timeout=60, check=False)

    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("arguments", [("undo",), ("fix", "x")])
def test_error_of_the_system_is_a_line(
    arguments: tuple[str, ...], home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A home that can't be used, as with a full or broken disk: said without a traceback."""
    home.write_text("a file where a folder should be")

    with contextlib.chdir(tmp_path):
        assert run(arguments) == 2

    assert "QCN_AGENT_HOME" in capsys.readouterr().err


def crashed_run(project: Path, contents: bytes) -> str:
    """A run that has written calc.py and then died; its name."""
    with contextlib.closing(Journal.create(project, "x")) as journal:
        journal.write(project / "calc.py", contents, (project / "calc.py").read_bytes())
        return journal.run_id


def died(project: Path, run_id: str, *, keep: bool = False) -> str:
    """What the client says and does when the daemon has died in the run `run_id`."""
    return take_back({"workspace": str(project), "keep": keep, "run_id": run_id}, patience_s=0.1)


def test_dead_daemon_is_cleaned_up_after(project: Path) -> None:
    """The client puts back what a daemon had changed when it died, unless the user wants to keep it."""
    original = (project / "calc.py").read_bytes()
    run_id = crashed_run(project, b"half-done")

    assert "qcn-agent undo" in died(project, run_id, keep=True)
    assert (project / "calc.py").read_bytes() == b"half-done"
    assert "calc.py" in died(project, run_id)
    assert (project / "calc.py").read_bytes() == original


def test_dead_daemon_costs_no_earlier_run(project: Path) -> None:
    """A crash before the first change leaves alone what an earlier run did and the user has accepted."""
    crashed_run(project, b"accepted")

    assert "nothing" in died(project, new_run_id())
    assert (project / "calc.py").read_bytes() == b"accepted"


def test_run_that_lives_on_without_us_is_left_alone(project: Path) -> None:
    """The connection was lost but the run goes on: it is not undone under its hands, and that is said."""
    with contextlib.closing(Journal.create(project, "x")) as journal:
        journal.write(project / "calc.py", b"working", (project / "calc.py").read_bytes())

        assert "still going on" in died(project, journal.run_id)
        assert (project / "calc.py").read_bytes() == b"working"


def asked_for(daemon: RunningDaemon, project: Path, *options: str) -> list[str]:
    """The models that `fix` with these options asked the daemon for."""
    run(["fix", "clamp is wrong", "--workspace", str(project), "--max-attempts", "1", "--json", *options])
    return daemon.host.wanted


def test_configured_model_is_not_forced_on_a_running_daemon(
    daemon: Start, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the daemon was started with stays; only --model asks for another one, by an absolute path."""
    monkeypatch.setenv("QCN_MODEL_PATH", "configured.gguf")
    (tmp_path / "near.gguf").touch()
    monkeypatch.chdir(tmp_path)
    running = daemon()

    assert asked_for(running, project) == [""]
    assert asked_for(running, project, "--model", "near.gguf") == ["", str(tmp_path / "near.gguf")]


def test_issue_comes_from_text_or_a_file(tmp_path: Path) -> None:
    """@FILE is read; a file that is not text is a usage error."""
    (tmp_path / "issue.md").write_text("it breaks")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")

    assert read_issue("plain") == "plain"
    assert read_issue(f"@{tmp_path / 'issue.md'}") == "it breaks"
    with pytest.raises(UsageError):
        read_issue(f"@{tmp_path / 'binary'}")
