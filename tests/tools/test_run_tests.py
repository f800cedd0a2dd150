"""Tool `run_tests`, with real test suites."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from qcn_tools.base import Observation
from qcn_tools.environment import TestCommand, TestsUnavailable, find_test_command
from qcn_tools.process import CommandRunner
from qcn_tools.report import TestReport
from qcn_tools.run_tests import RunTests
from qcn_tools.workspace import Workspace

Make = Callable[[Mapping[str, str]], Workspace]
Suite = Callable[..., "RunTests"]
GOOD = {
    "calc.py": "def add(a, b):\n    return a + b\n",
    "tests/test_calc.py": "from calc import add\n\ndef test_add():\n    assert add(1, 2) == 3\n",
}
BAD = GOOD | {"calc.py": "def add(a, b):\n    return a - b\n"}


@pytest.fixture
def suite(runner: CommandRunner, env: Mapping[str, str]) -> Suite:
    """Makes the tool for a workspace, with this environment's pytest unless a command is given."""

    def tool(workspace: Workspace, argv: tuple[str, ...] = (), timeout_s: float = 60) -> RunTests:
        chosen = argv or (sys.executable, "-m", "pytest", "-p", "no:asyncio")
        command = TestCommand(chosen, env, "custom" if argv else "pytest", "for the test")
        return RunTests(workspace, runner, command, timeout_s)

    return tool


def report(answer: Observation) -> TestReport:
    """The report in an observation."""
    assert answer.kind == "test_report", answer
    found = answer.fields["report"]
    assert isinstance(found, TestReport)
    return found


def names(workspace: Workspace) -> set[str]:
    """Everything in the workspace."""
    return {workspace.relative(path) for path in workspace.root.rglob("*")}


async def test_green(make: Make, suite: Suite) -> None:
    """A suite that passes is green, and leaves nothing in the tree."""
    workspace = make(GOOD)
    before = names(workspace)
    answer = await suite(workspace).run({})
    assert answer.ok
    assert report(answer).passed_ids == {"tests/test_calc.py::test_add"}
    assert names(workspace) == before


async def test_red(make: Make, suite: Suite) -> None:
    """A suite that fails is red, with the message of the failure."""
    answer = await suite(make(BAD)).run({})
    assert not answer.ok
    assert report(answer).failures[0].message == "assert -1 == 3\n+  where -1 = add(1, 2)"
    assert report(answer).exit_code == 1


async def test_collection_errors_and_empty_suites(make: Make, suite: Suite) -> None:
    """A module that can't be imported is an error, and a suite without tests is not green."""
    broken = report(await suite(make(GOOD | {"tests/test_broken.py": "import nothing_like_that\n"})).run({}))
    assert (broken.num_errors, broken.is_green) == (1, False)
    assert broken.failures[0].message == "ModuleNotFoundError: No module named 'nothing_like_that'"
    empty = report(await suite(make({"tests/test_calc.py": "", "tests/test_broken.py": ""})).run({}))
    assert (empty.exit_code, empty.is_green) == (5, False)


async def test_some_tests(make: Make, suite: Suite) -> None:
    """Files, ids and parameters with spaces can be chosen."""
    text = "import pytest\n@pytest.mark.parametrize('x', ['a b', 'c'])\ndef test_x(x): pass\ndef test_y(): pass\n"
    tool = suite(make({"test_a.py": text, "test_b.py": "def test_z():\n    pass\n"}))
    chosen = report(await tool.run({"paths": "test_a.py::test_x[a b]  test_b.py"}))
    assert chosen.passed_ids == {"test_a.py::test_x[a b]", "test_b.py::test_z"}
    assert (chosen.partial, report(await tool.run({})).partial) == (True, False)


@pytest.mark.parametrize(
    ("paths", "kind"),
    [
        ("no.py", "not_found"),
        ("--pdb", "not_found"),
        ("-p evil", "not_found"),
        ("../x", "refused"),
        ("/etc", "refused"),
    ],
)
async def test_wrong_targets(make: Make, suite: Suite, paths: str, kind: str) -> None:
    """Missing files, options in disguise and paths outside don't reach pytest."""
    assert (await suite(make(GOOD)).run({"paths": paths})).kind == kind


async def test_option_in_disguise(make: Make, suite: Suite) -> None:
    """A file whose name looks like an option is not passed on as one."""
    assert (await suite(make({"--collect-only": "", **GOOD})).run({"paths": "--collect-only"})).kind == "not_found"


async def test_hanging_suite(make: Make, suite: Suite) -> None:
    """A suite that hangs is stopped and red."""
    answer = await suite(make({"test_a.py": "import time\ndef test_x():\n    time.sleep(600)\n"}), timeout_s=3).run({})
    assert (report(answer).timed_out, answer.ok) == (True, False)


async def test_hostile_suite(make: Make, suite: Suite, outside: Path, tmp_path: Path) -> None:
    """Tests can't write outside, read the hidden token or reach the network, nor fool the reader of the report."""
    text = f"""
import glob, os, socket
import pytest

def test_write():
    with pytest.raises(PermissionError): open({str(outside)!r}, "w")

def test_token():
    with pytest.raises(PermissionError): open({str(tmp_path / "state" / "token")!r}).read()

def test_network():
    with pytest.raises(PermissionError): socket.socket(socket.AF_INET)
"""
    answer = await suite(make({"test_a.py": text})).run({})
    assert (answer.ok, report(answer).num_passed) == (True, 3), report(answer).output
    assert outside.read_text() == "secret"


async def test_report_replaced_by_a_link(make: Make, suite: Suite) -> None:
    """A report that the tests replaced by a link is not followed and proves nothing."""
    swap = "import atexit, os, sys\nxml = [a for a in sys.argv if 'junitxml' in a][0].split('=')[1]\n"
    swap += "atexit.register(lambda: (os.unlink(xml), os.symlink('/etc/passwd', xml)))\n"
    answer = await suite(make({"conftest.py": swap, **GOOD})).run({})
    assert (report(answer).exit_code, report(answer).num_passed, answer.ok) == (0, 0, False)


async def test_custom_command(make: Make, suite: Suite) -> None:
    """Any other command is judged by its exit code."""
    workspace = make({"check.sh": "echo checking; test -e done\n"})
    red = report(await suite(workspace, ("sh", "check.sh")).run({}))
    (workspace.root / "done").touch()
    green = report(await suite(workspace, ("sh", "check.sh")).run({}))
    assert (red.is_green, green.is_green) == (False, True)
    assert red.failed_ids == green.passed_ids == {"sh check.sh"}
    assert green.output == "checking\n"


async def test_custom_command_leaves_no_cache(make: Make, suite: Suite) -> None:
    """A custom command that starts pytest leaves nothing in the tree either; it runs whole, whatever is asked for."""
    workspace = make(BAD)
    before = names(workspace)
    tool = suite(workspace, (sys.executable, "-c", "import pytest, sys; sys.exit(pytest.main(['-p', 'no:asyncio']))"))
    red = report(await tool.run({"paths": "tests"}))
    assert (red.is_green, red.partial, names(workspace)) == (False, False, before)
    assert "tests" not in red.command.split()
    assert "1 failed" in red.output


async def test_unavailable(workspace: Workspace, runner: CommandRunner) -> None:
    """Without a way to run tests the tool says why and what helps."""
    answer = await RunTests(workspace, runner, TestsUnavailable("no pytest", "install it")).run({})
    assert (answer.kind, answer.ok) == ("tests_unavailable", False)
    assert answer.fields == {"reason": "no pytest", "hint": "install it"}


async def test_project_with_its_own_environment(make: Make, runner: CommandRunner, env: dict[str, str]) -> None:
    """A project's `.venv` runs its tests: packages that only it has can be imported."""
    workspace = make({"test_a.py": "import only_here\ndef test_x():\n    assert only_here.VALUE == 1\n"})
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(workspace.root / ".venv")], check=True)
    site = next((workspace.root / ".venv" / "lib").glob("python*/site-packages"))
    (site / "only_here.py").write_text("VALUE = 1\n")
    (site / "borrowed.pth").write_text(str(Path(pytest.__file__).parents[1]) + "\n")
    command = await find_test_command(workspace.root, env, runner)
    assert isinstance(command, TestCommand)
    assert command.argv[0] == str(workspace.root / ".venv" / "bin" / "python")
    assert (await RunTests(workspace, runner, command).run({})).ok


async def test_environment_can_not_be_changed(make: Make, runner: CommandRunner, env: Mapping[str, str]) -> None:
    """Tests can't write into the environment that runs them, whatever it is called."""
    text = (
        "import pathlib, pytest\n@pytest.mark.parametrize('name', ['env/new', 'env/bin/x', '.venv/evil.pth'])\n"
        "def test_x(name):\n    with pytest.raises(PermissionError): pathlib.Path(name).write_text('x')\n"
    )
    workspace = make({"test_a.py": text, "env/bin/x": "", ".venv/lib/y": ""})
    active = dict(env) | {"VIRTUAL_ENV": str(workspace.root / "env")}
    command = TestCommand((sys.executable, "-m", "pytest", "-p", "no:asyncio"), active, "pytest", "for the test")
    answer = await RunTests(workspace, runner, command).run({})
    assert (answer.ok, report(answer).num_passed) == (True, 3), report(answer).output


async def test_suite_that_uses_no_terminal(make: Make, suite: Suite) -> None:
    """What needs only a standard input, or asks whether there is a terminal, works without one."""
    text = (
        "import os, sys, shutil\ndef test_stdin():\n    assert not os.isatty(0) and os.read(0, 1) == b''\n"
        "def test_size():\n    assert shutil.get_terminal_size((7, 7)).columns > 0\n"
    )
    assert (await suite(make({"test_a.py": text})).run({})).ok
