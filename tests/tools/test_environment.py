"""Which command runs the tests."""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from qcn_tools.environment import (
    TestCommand,
    TestsUnavailable,
    allowed_env,
    find_test_command,
    is_pytest,
    search_paths,
)
from qcn_tools.process import CommandRunner


class Scripted:
    """A prober that says yes to interpreters under certain paths, and remembers what it was asked."""

    def __init__(self, *good: Path) -> None:
        self.good = good
        self.asked: list[str] = []

    async def succeeds(self, argv: tuple[str, ...], cwd: Path, env: Mapping[str, str]) -> bool:
        """Yes for the chosen ones."""
        self.asked.append(argv[0])
        return any(Path(argv[0]).is_relative_to(path) for path in self.good)


@pytest.fixture
def venv(tmp_path: Path) -> Callable[[str], Path]:
    """Makes the outline of an environment: `bin/python`."""

    def make(name: str) -> Path:
        prefix = tmp_path / name
        (prefix / "bin").mkdir(parents=True)
        (prefix / "bin" / "python").write_text("#!/bin/sh\n")
        (prefix / "bin" / "python").chmod(0o755)
        return prefix

    return make


async def test_order(root: Path, venv: Callable[[str], Path]) -> None:
    """The workspace's own environments come first, then the client's, then its PATH."""
    places = [venv(name) for name in ("project/.venv", "project/venv", "active", "conda", "path")]
    client = {"VIRTUAL_ENV": str(places[2]), "CONDA_PREFIX": str(places[3]), "PATH": f"relative:{places[4] / 'bin'}"}
    prober = Scripted()
    assert isinstance(await find_test_command(root, client, prober), TestsUnavailable)
    assert prober.asked == [str(place / "bin" / "python") for place in places]
    for place in places:
        command = await find_test_command(root, client, Scripted(place))
        assert isinstance(command, TestCommand)
        assert command.argv == (str(place / "bin" / "python"), "-m", "pytest")
        assert command.kind == "pytest"


@pytest.mark.parametrize(
    ("has_pip", "marked", "line"),
    [(True, True, "{python} -m pip install pytest"), (False, False, "pytest")],
)
async def test_environment_without_pytest_is_a_warning(
    root: Path, venv: Callable[[str], Path], has_pip: bool, marked: bool, line: str
) -> None:
    """What runs the tests instead, why, and the line that mends it; none where the first choice works."""
    own, other = venv("project/.venv"), venv("path")
    if has_pip:
        (own / "lib" / "python3.11" / "site-packages" / "pip").mkdir(parents=True)
    if marked:
        (own / "pyvenv.cfg").touch()
    client = {"PATH": str(other / "bin")}

    command = await find_test_command(root, client, Scripted(other))
    best = await find_test_command(root, client, Scripted(own, other))
    none = await find_test_command(root, client, Scripted())

    assert isinstance(command, TestCommand)
    assert (
        f".venv in the workspace can't import pytest, so the tests run with {other / 'bin'}/python" in command.warning
    )
    assert command.warning.endswith(line.format(python=own / "bin" / "python"))
    assert isinstance(best, TestCommand)
    assert best.warning == ""
    assert isinstance(none, TestsUnavailable)
    assert str(own) in none.hint


async def test_broken_environment_is_a_warning(root: Path, venv: Callable[[str], Path]) -> None:
    """A `.venv` whose Python was upgraded away is named; one that comes after the chosen one is not."""
    own, active = venv("project/.venv"), venv("active")
    (own / "pyvenv.cfg").touch()
    (own / "bin" / "python").unlink()
    client = {"VIRTUAL_ENV": str(active), "PATH": "/nowhere"}

    command = await find_test_command(root, client, Scripted(active))

    assert isinstance(command, TestCommand)
    assert ".venv in the workspace has no working Python" in command.warning
    assert f"-m venv --clear {own}" in command.warning
    own.rename(root / "kept")
    again = await find_test_command(root, client | {"CONDA_PREFIX": str(root / "kept")}, Scripted(active))
    assert isinstance(again, TestCommand)
    assert again.warning == ""


async def test_never_our_own_interpreter(root: Path) -> None:
    """When the client's environment has no Python, ours is not asked."""
    prober = Scripted(Path("/"))
    answer = await find_test_command(root, {"PATH": str(root)}, prober)
    assert isinstance(answer, TestsUnavailable)
    assert prober.asked == []
    assert "--tests" in answer.hint


async def test_environment_is_activated(root: Path, venv: Callable[[str], Path]) -> None:
    """The chosen environment's programs come first on PATH, as if it was activated."""
    prefix = venv("project/.venv")
    command = await find_test_command(root, {"PATH": "/usr/bin", "VIRTUAL_ENV": "/other"}, Scripted(prefix))
    assert isinstance(command, TestCommand)
    assert command.env["PATH"] == f"{prefix / 'bin'}:/usr/bin"
    assert command.env["VIRTUAL_ENV"] == str(prefix)


async def test_interpreter_of_an_environment_on_path(root: Path, venv: Callable[[str], Path]) -> None:
    """An interpreter that PATH names is run with its environment active, if it belongs to one."""
    prefix = venv("project/env")
    for marked in (False, True):
        command = await find_test_command(root, {"PATH": str(prefix / "bin")}, Scripted(prefix))
        assert isinstance(command, TestCommand)
        assert command.env.get("VIRTUAL_ENV") == (str(prefix) if marked else None)
        (prefix / "pyvenv.cfg").touch()


@pytest.mark.parametrize(
    ("text", "argv", "kind"),
    [
        ("pytest -x tests/unit", ("pytest", "-x", "tests/unit"), "pytest"),
        ("python3.12 -m pytest", ("python3.12", "-m", "pytest"), "pytest"),
        ("make test", ("make", "test"), "custom"),
        ("python -m unittest", ("python", "-m", "unittest"), "custom"),
        ("run 'a b'", ("run", "a b"), "custom"),
        ("cd x && pytest", ("/bin/sh", "-c", "cd x && pytest"), "custom"),
        ("A=1 pytest", ("/bin/sh", "-c", "A=1 pytest"), "custom"),
        ("echo 'open", ("/bin/sh", "-c", "echo 'open"), "custom"),
    ],
)
async def test_given_commands(root: Path, text: str, argv: tuple[str, ...], kind: str) -> None:
    """A given command is taken as it is, by a shell where it needs one, and nothing is probed."""
    prober = Scripted()
    for given, source in (({"tests": text, "config": "other"}, "--tests"), ({"config": text}, "fix.tests")):
        command = await find_test_command(root, {}, prober, **given)
        assert isinstance(command, TestCommand)
        assert (command.argv, command.kind) == (argv, kind)
        assert source in command.reason
    assert prober.asked == []


def test_allowed_env() -> None:
    """Only harmless variables pass; keys, tokens and what changes the interpreter's behaviour don't."""
    client = dict.fromkeys(
        ("HOME", "LANG", "LC_ALL", "OPENAI_API_KEY", "GITHUB_TOKEN", "LD_PRELOAD", "PYTHONSTARTUP"), "x"
    )
    env = allowed_env(client | {"PATH": "/bin", "SSH_AUTH_SOCK": "x", "QCN_FIX_TESTS": "x"})
    assert {"HOME", "LANG", "LC_ALL", "PATH"} <= env.keys()
    assert (
        not {"OPENAI_API_KEY", "GITHUB_TOKEN", "LD_PRELOAD", "SSH_AUTH_SOCK", "PYTHONSTARTUP", "QCN_FIX_TESTS"}
        & env.keys()
    )
    assert env["PYTHONDONTWRITEBYTECODE"] == "1"
    assert allowed_env({})["PATH"]


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("PATH", ":/bin:.:sub/bin::/usr/bin:", "/bin:/usr/bin"),
        ("PATH", "", None),
        ("LD_LIBRARY_PATH", ":/opt/x", "/opt/x"),
        ("LD_LIBRARY_PATH", "/opt/x;.;$ORIGIN/lib", "/opt/x"),
        ("LD_LIBRARY_PATH", "lib", None),
    ],
)
def test_relative_entries_are_dropped(name: str, value: str, kept: str | None) -> None:
    """A relative or empty entry would mean a directory of the repository, so it is left out; none left: the default."""
    assert allowed_env({name: value}).get(name) == (kept or allowed_env({}).get(name))


def test_entries_inside_a_directory_can_be_left_out(root: Path) -> None:
    """Also those that lead there through a link or with dots."""
    (root.parent / "link").symlink_to(root)
    entries = (root / "bin", root.parent / "link", root.parent / "x" / ".." / root.name, root.parent / "bin")
    path = ":".join(map(str, entries))
    assert search_paths({"PATH": path}, outside=root) == {"PATH": str(root.parent / "bin")}


@pytest.mark.parametrize(
    ("argv", "answer"),
    [
        (("pytest",), True),
        (("/x/bin/pytest", "-q"), True),
        (("python", "-X", "dev", "-m", "pytest"), True),
        (("python", "pytest"), False),
        (("tox", "-m", "pytest"), False),
        ((), False),
    ],
)
def test_is_pytest(argv: tuple[str, ...], answer: bool) -> None:
    """Only a direct start of pytest is taken for one."""
    assert is_pytest(argv) is answer


async def test_real_interpreters(runner: CommandRunner, root: Path, env: dict[str, str]) -> None:
    """A real interpreter with pytest is found, in the jail; one without is passed over."""
    command = await find_test_command(root, env, runner)
    assert isinstance(command, TestCommand)
    assert command.argv[0] == str(Path(sys.prefix) / "bin" / "python")
    (root / ".venv" / "bin").mkdir(parents=True)
    (root / ".venv" / "bin" / "python").symlink_to("/bin/false")
    again = await find_test_command(root, env, runner)
    assert isinstance(again, TestCommand)
    assert again.argv == command.argv


async def test_hostile_interpreter(runner: CommandRunner, root: Path, outside: Path) -> None:
    """A `.venv/bin/python` that came with the repository is only ever started in the jail."""
    python = root / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\necho gone > {outside}\necho gone > {root}/mark\n")
    python.chmod(0o755)
    await find_test_command(root, {"PATH": os.environ["PATH"]}, runner)
    assert outside.read_text() == "secret"
    assert not (root / "mark").exists()
