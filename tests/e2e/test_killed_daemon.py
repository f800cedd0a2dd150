"""The daemon is killed in the middle of a run: the client says so and nothing of the user's is lost."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from qcn_agent.daemon import endpoint
from tests.conftest import RIGHT, WRONG
from tests.fakes.scripted import call

ROOT = Path(__file__).parent.parent.parent
QCN = str(Path(sys.executable).parent / "qcn-agent")
FIX = call("edit_file", path="calc.py", old_string=WRONG, new_string=RIGHT)
BREAK = call("edit_file", path="calc.py", old_string=WRONG, new_string="return low")
Tree = Callable[[Path], dict[str, tuple[bytes, int]]]
StartDaemon = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def scripted_daemon() -> Iterator[StartDaemon]:
    """Starts a daemon process with scripted turns; killed at the end."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*turns: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-m", "tests.fakes.scripted_daemon", *turns], cwd=ROOT)
        started.append(process)
        deadline = time.monotonic() + 30
        while endpoint.find() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait(10)


@pytest.fixture
def as_in_a_terminal() -> Iterator[None]:
    """Whoever runs these tests in the background of a shell has Ctrl-C ignored, and children inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def fix(project: Path, env: Mapping[str, str], *options: str) -> subprocess.Popen[str]:
    """Start `qcn-agent fix` and read its events from stderr."""
    command = [QCN, "fix", "clamp is wrong", "--json", "--workspace", str(project), *options]
    full = {**os.environ, **env}
    return subprocess.Popen(command, env=full, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_event(process: subprocess.Popen[str], wanted: Callable[[Any], bool]) -> None:
    """Read events until one is `wanted`."""
    assert process.stderr is not None
    for line in process.stderr:
        if wanted(json.loads(line)):
            return
    pytest.fail("the run ended before")


def wait_for_test_run(process: subprocess.Popen[str]) -> None:
    """Read events until the model's own test run has begun, after its edit."""
    wait_for_event(process, lambda event: event["kind"] == "call" and event["data"]["tool"] == "run_tests")


@pytest.fixture
def slow_project(project: Path) -> Path:
    """A project whose tests take a while, so that there is time to kill something."""
    slow_down(project)
    return project


def slow_down(project: Path) -> None:
    """Add a test that takes a while."""
    (project / "tests" / "test_slow.py").write_text("import time\n\n\ndef test_slow():\n    time.sleep(4)\n")


def test_client_says_what_happened_and_puts_the_tree_back(
    slow_project: Path,
    client_env: Mapping[str, str],
    tree: Tree,
    scripted_daemon: StartDaemon,
) -> None:
    """kill -9 after the edit: exit code 6, a sentence, and the tree as found."""
    before = tree(slow_project)
    daemon = scripted_daemon(BREAK, call("run_tests"))
    client = fix(slow_project, client_env)
    wait_for_test_run(client)
    assert tree(slow_project) != before

    daemon.send_signal(signal.SIGKILL)
    _, errors = client.communicate(timeout=60)

    assert client.returncode == 6
    assert "died in the middle" in errors
    assert "Put back from the journal: calc.py" in errors
    assert tree(slow_project) == before


def test_crash_does_not_take_back_an_earlier_fix(
    project: Path,
    client_env: Mapping[str, str],
    tree: Tree,
    scripted_daemon: StartDaemon,
) -> None:
    """A run is fixed and accepted; the daemon dies in the next one before it has changed anything."""
    daemon = scripted_daemon(FIX, call("run_tests"), "done")
    first = fix(project, client_env)
    _, errors = first.communicate(timeout=60)
    assert first.returncode == 0, errors
    slow_down(project)
    accepted = tree(project)
    second = fix(project, client_env)
    wait_for_event(second, lambda event: "tests as they are" in event["data"].get("text", ""))

    daemon.send_signal(signal.SIGKILL)
    _, errors = second.communicate(timeout=60)

    assert second.returncode == 6
    assert "It had changed nothing" in errors
    assert tree(project) == accepted


def test_undo_works_after_both_are_killed(
    slow_project: Path,
    client_env: Mapping[str, str],
    tree: Tree,
    scripted_daemon: StartDaemon,
) -> None:
    """Client and daemon are gone: the journal still knows."""
    before = tree(slow_project)
    daemon = scripted_daemon(BREAK, call("run_tests"))
    client = fix(slow_project, client_env)
    wait_for_test_run(client)

    client.send_signal(signal.SIGKILL)
    daemon.send_signal(signal.SIGKILL)
    client.communicate(timeout=60)
    daemon.wait(10)
    subprocess.run([QCN, "undo", "--workspace", str(slow_project)], check=True, capture_output=True)

    assert tree(slow_project) == before


@pytest.mark.usefixtures("as_in_a_terminal")
def test_interrupt_is_exit_code_130_and_loses_nothing(
    slow_project: Path,
    client_env: Mapping[str, str],
    tree: Tree,
    scripted_daemon: StartDaemon,
) -> None:
    """Ctrl-C: the tree is as found when the command returns, and the daemon lives on."""
    before = tree(slow_project)
    daemon = scripted_daemon(BREAK, call("run_tests"))
    client = fix(slow_project, client_env)
    wait_for_test_run(client)

    client.send_signal(signal.SIGINT)
    client.communicate(timeout=60)

    assert client.returncode == 130
    assert tree(slow_project) == before
    assert daemon.poll() is None


@pytest.mark.usefixtures("as_in_a_terminal")
@pytest.mark.parametrize("as_json", [False, True])
def test_interrupt_names_what_a_person_saved_meanwhile(
    slow_project: Path, client_env: Mapping[str, str], scripted_daemon: StartDaemon, as_json: bool
) -> None:
    """Ctrl-C after the user saved the very file: it stays as saved, and the last words say so, for programs too."""
    scripted_daemon(BREAK, call("run_tests"))
    client = fix(slow_project, client_env) if as_json else fix_for_people(slow_project, client_env)
    if as_json:
        wait_for_test_run(client)
    else:
        read_until(client, "run_tests")
    (slow_project / "calc.py").write_text("# mine\n")

    client.send_signal(signal.SIGINT)
    said, errors = client.communicate(timeout=60)

    assert client.returncode == 130
    assert (slow_project / "calc.py").read_text() == "# mine\n"
    if as_json:
        outcome = json.loads(said)
        assert outcome["ending"] == "interrupted"
        assert "calc.py was saved by somebody else" in outcome["warnings"][0]
    else:
        assert "warning  calc.py was saved by somebody else" in said
        assert "your tree is as it was, but for the files of the warnings" in errors


def fix_for_people(project: Path, env: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start `qcn-agent fix` with its output in a pipe."""
    command = [QCN, "fix", "clamp is wrong", "--workspace", str(project)]
    full = {**os.environ, **env}
    return subprocess.Popen(command, env=full, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def read_until(process: subprocess.Popen[str], words: str) -> None:
    """Read lines until one has these words."""
    assert process.stdout is not None
    for line in process.stdout:
        if words in line:
            return
    pytest.fail("the run ended before")


def test_pipe_that_is_closed_ends_the_run_and_puts_the_tree_back(
    slow_project: Path, client_env: Mapping[str, str], tree: Tree, scripted_daemon: StartDaemon
) -> None:
    """`fix | head`: even a right change is taken back, as nobody heard of it; exit code 141, not a word."""
    before = tree(slow_project)
    daemon = scripted_daemon(FIX, call("run_tests"), "done")
    client = fix_for_people(slow_project, client_env)
    read_until(client, "run_tests")
    assert tree(slow_project) != before
    assert client.stdout is not None
    assert client.stderr is not None

    client.stdout.close()
    errors = client.stderr.read()
    client.stderr.close()

    assert (client.wait(60), errors) == (141, "")
    assert tree(slow_project) == before
    assert daemon.poll() is None


def test_closed_pipe_of_the_events_ends_the_run_too(
    slow_project: Path, client_env: Mapping[str, str], tree: Tree, scripted_daemon: StartDaemon
) -> None:
    """`fix --json` whose events nobody reads any more."""
    before = tree(slow_project)
    scripted_daemon(FIX, call("run_tests"), "done")
    client = fix(slow_project, client_env)
    wait_for_test_run(client)
    assert client.stdout is not None
    assert client.stderr is not None

    client.stderr.close()
    said = client.stdout.read()
    client.stdout.close()

    assert (client.wait(60), said) == (141, "")
    assert tree(slow_project) == before


def test_outcome_that_nobody_reads_is_taken_back(
    project: Path, client_env: Mapping[str, str], tree: Tree, scripted_daemon: StartDaemon
) -> None:
    """The pipe is closed when a fixed run wants to say so: the exit code is 141, and the tree goes with it."""
    before = tree(project)
    scripted_daemon(FIX, call("run_tests"), "done")
    client = fix(project, client_env)
    assert client.stdout is not None
    assert client.stderr is not None

    client.stdout.close()
    events = [json.loads(line)["kind"] for line in client.stderr]
    client.stderr.close()

    assert client.wait(60) == 141
    assert events.count("tests") == 2
    assert tree(project) == before
