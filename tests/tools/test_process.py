"""Commands: confined, bounded, and nothing left behind."""

import asyncio
import os
import select
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from qcn_agent.errors import SandboxError
from qcn_tools import jail, process
from qcn_tools.environment import allowed_env
from qcn_tools.process import CommandResult, CommandRunner, private_tmp

ENV = {"PATH": os.environ["PATH"]}


async def python(
    runner: CommandRunner, root: Path, source: str, timeout_s: float = 30, chars: int = 10_000
) -> CommandResult:
    """Run Python source in `root`, which is writable."""
    argv = (sys.executable, "-I", "-S", "-c", source)
    return await runner.run(argv, cwd=root, env=ENV, timeout_s=timeout_s, writable=[root], output_chars=chars)


def gone(pid: int) -> bool:
    """Whether a process has ended, or, as it may be dying just now, does so within five seconds."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    with os.fdopen(descriptor):
        return bool(select.select([descriptor], [], [], 5)[0])


async def test_result(runner: CommandRunner, root: Path) -> None:
    """Both streams come back in order, with the exit code, and standard input is empty."""
    result = await python(
        runner, root, "import os, sys; os.write(1, b'a'); os.write(2, b'b'); sys.exit(len(sys.stdin.read()) + 3)"
    )
    assert (result.output, result.exit_code, result.timed_out, result.truncated) == ("ab", 3, False, False)
    assert result.duration_s > 0


async def test_environment_is_exactly_what_was_given(
    runner: CommandRunner, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of this process's environment leaks through."""
    monkeypatch.setenv("MY_API_KEY", "secret")
    result = await python(runner, root, "import os; print(sorted(os.environ))")
    names = set(eval(result.output)) - {"LC_CTYPE"}
    places = {"TMPDIR", "TMP", "TEMP", "COVERAGE_FILE", "HYPOTHESIS_STORAGE_DIRECTORY", "PYTEST_ADDOPTS"}
    assert names == {"PATH", "QCN_COMMAND"} | places


async def test_launcher_starts_elsewhere(runner: CommandRunner, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that enters the jail starts outside the repository and without the command's environment."""
    monkeypatch.setenv("LD_LIBRARY_PATH", ":/no/such:lib")
    spy = root / "spy.py"
    spy.write_text("import os; print(os.getcwd(), dict(os.environ))")
    monkeypatch.setattr(jail, "__file__", str(spy))
    env = ENV | {"LD_LIBRARY_PATH": str(root)}
    result = await runner.run(["true"], cwd=root, env=env, timeout_s=30, writable=[root])
    cwd, _, seen = result.output.partition(" ")
    assert cwd == "/"
    assert {k: v for k, v in eval(seen).items() if k != "LC_CTYPE"} == {"LD_LIBRARY_PATH": "/no/such"}


async def test_library_of_the_repository(runner: CommandRunner, root: Path) -> None:
    """A library in the repository's root is loaded neither by the launcher nor by the command."""
    (root / "libc.so.6").write_text("not a library, so that whoever loads it fails")
    env = allowed_env(ENV | {"LD_LIBRARY_PATH": ":/no/such"})
    result = await runner.run([sys.executable, "-c", "print('started')"], cwd=root, env=env, timeout_s=30)
    assert result.output == "started\n"


@pytest.mark.parametrize("given", ["", "-x --tb=long"])
async def test_pytest_options(runner: CommandRunner, root: Path, given: str) -> None:
    """pytest's cache is led to TMPDIR; options that were there before are kept."""
    env = ENV | ({"PYTEST_ADDOPTS": given} if given else {})
    result = await runner.run(["sh", "-c", "echo $PYTEST_ADDOPTS"], cwd=root, env=env, timeout_s=30)
    assert result.output == f"{given} -o cache_dir=$TMPDIR/cache".strip() + "\n"


async def test_private_tmp_is_removed(runner: CommandRunner, root: Path) -> None:
    """TMPDIR is there, private and writable, and gone afterwards, even with directories made unreadable."""
    source = (
        "import os, stat; t = os.environ['TMPDIR']; os.makedirs(t + '/a/b'); open(t + '/a/b/c', 'w').close()\n"
        "os.chmod(t + '/a', 0); os.symlink('/', t + '/root'); print(oct(os.stat(t).st_mode), os.path.basename(t))"
    )
    result = await python(runner, root, source)
    mode, name = result.output.split()
    assert mode == "0o40700"
    assert name == "$TMPDIR" or not (Path("/tmp") / name).exists()


async def test_tmp_name_is_not_shown(runner: CommandRunner, root: Path) -> None:
    """Output names the private directory as $TMPDIR, so that equal runs look equal."""
    result = await python(runner, root, "import os; print(os.environ['TMPDIR'] + '/x')")
    assert result.output == "$TMPDIR/x\n"


async def test_private_tmp_survives_nothing() -> None:
    """The directory is removed when its user fails, too."""
    with pytest.raises(ZeroDivisionError):
        async with private_tmp() as tmp:
            (tmp / "x").write_text("x")
            raise ZeroDivisionError
    assert not tmp.exists()


async def test_writes_only_where_allowed(runner: CommandRunner, root: Path, outside: Path) -> None:
    """The writable root can be written, its surroundings can't, and git's files can't."""
    (root / ".git").mkdir()
    (root / "src").mkdir()
    source = (
        "import sys\nfor path in sys.argv[1:]:\n"
        "    try: open(path, 'w').close(); print('yes')\n    except PermissionError: print('no')"
    )
    paths = [str(root / "src" / "x"), str(outside), str(root / ".git" / "config")]
    argv = (sys.executable, "-I", "-S", "-c", source, *paths)
    result = await runner.run(argv, cwd=root, env=ENV, timeout_s=30, writable=[root])
    assert result.output.split() == ["yes", "no", "no"]
    result = await runner.run(argv, cwd=root, env=ENV, timeout_s=30)
    assert result.output.split() == ["no", "no", "no"]


async def test_hidden_paths(runner: CommandRunner, root: Path, tmp_path: Path) -> None:
    """What the runner hides can't be read."""
    result = await runner.run(["cat", str(tmp_path / "state" / "token")], cwd=root, env=ENV, timeout_s=30)
    assert result.exit_code != 0
    assert "the token" not in result.output


FAMILY = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = "import time, signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
same_group = subprocess.Popen([sys.executable, "-I", "-S", "-c", child])
own_group = subprocess.Popen([sys.executable, "-I", "-S", "-c", child], start_new_session=True)
print(os.getpid(), same_group.pid, own_group.pid, flush=True)
"""


async def test_timeout_kills_the_whole_family(runner: CommandRunner, root: Path) -> None:
    """After the time limit nothing is left: not who ignores SIGTERM, not who moved to a session of its own."""
    result = await python(runner, root, FAMILY + "time.sleep(600)", timeout_s=3)
    assert result.timed_out
    assert result.exit_code == -signal.SIGKILL
    pids = [int(word) for word in result.output.split()]
    assert len(pids) == 3
    assert all(gone(pid) for pid in pids)


async def test_nobody_stays_behind(runner: CommandRunner, root: Path) -> None:
    """When a command ends by itself, what it left running in the background is killed, and it is not waited for."""
    result = await python(runner, root, FAMILY)
    assert (result.exit_code, result.timed_out) == (0, False)
    assert all(gone(int(word)) for word in result.output.split())


async def test_cancel_kills(runner: CommandRunner, root: Path) -> None:
    """A cancelled call leaves no process and no directory behind."""
    ready = root / "ready"
    os.mkfifo(ready)
    source = f"open({str(ready)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    task = asyncio.create_task(python(runner, root, "import os, time\n" + source))
    pid = int(await asyncio.to_thread(ready.read_text))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert gone(pid)


@pytest.fixture
def family(root: Path) -> str:
    """Source of a family that ignores SIGTERM and keeps writing to TMPDIR; says who it is through the FIFO `ready`."""
    os.mkfifo(root / "ready")
    busy = (
        "import itertools, os, pathlib, signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "for n in itertools.count(): pathlib.Path(os.environ['TMPDIR'], f'{os.getpid()}-{n % 100}').touch()"
    )
    return (
        "import os, signal, subprocess, sys\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"argv = [sys.executable, '-I', '-S', '-c', {busy!r}]\n"
        "pids = [os.getpid(), *(subprocess.Popen(argv, start_new_session=own).pid for own in (False, True))]\n"
        f"open({str(root / 'ready')!r}, 'w').write(' '.join(map(str, [os.environ['TMPDIR'], *pids])))\n"
        "signal.pause()"
    )


@pytest.mark.parametrize("num_cancels", [1, 5])
async def test_cancel_is_quick_and_thorough(runner: CommandRunner, root: Path, family: str, num_cancels: int) -> None:
    """Cancelled once or over and over: in under a second all processes are gone, and then the directory is."""
    task = asyncio.create_task(python(runner, root, family))
    tmp, *pids = (await asyncio.to_thread((root / "ready").read_text)).split()
    started = time.monotonic()
    for _ in range(num_cancels):
        task.cancel()
        await asyncio.wait((task,), timeout=0.01)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - started < process._GRACE_S
    assert all(gone(int(pid)) for pid in pids)
    assert not Path(tmp).exists()


async def test_polite_ending(runner: CommandRunner, root: Path) -> None:
    """At the time limit a command gets SIGTERM first and may clean up."""
    source = (
        "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: (print('bye', flush=True), sys.exit(5)))\n"
        "print('ready', flush=True); time.sleep(600)"
    )
    result = await python(runner, root, source, timeout_s=3)
    assert (result.timed_out, result.output.split(), result.exit_code) == (True, ["ready", "bye"], 5)


async def test_hundred_megabytes_of_output(runner: CommandRunner, root: Path) -> None:
    """A flood of output is cut in the middle: both ends are kept, in bounded memory."""
    source = "import sys\nprint('first')\nfor _ in range(1000): sys.stdout.write('x' * 100_000 + '\\n')\nprint('last')"
    result = await python(runner, root, source, timeout_s=60, chars=1000)
    assert result.truncated
    assert result.output.startswith("first\n")
    assert result.output.endswith("last\n")
    assert len(result.output) < 1100


async def test_no_jail_no_run(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    """Where there is no jail, nothing is run, and the error names the flag that would."""
    monkeypatch.setattr(jail, "landlock_abi", lambda: 0)
    with pytest.raises(SandboxError) as error:
        await python(CommandRunner(), root, "open('ran', 'w')")
    assert "--unsandboxed" in error.value.hint
    assert not (root / "ran").exists()


async def test_unsandboxed(monkeypatch: pytest.MonkeyPatch, root: Path, outside: Path) -> None:
    """The flag runs without a jail, and still in its own environment with its own TMPDIR."""
    monkeypatch.setattr(jail, "landlock_abi", lambda: 0)
    source = f"import os; open({str(outside)!r}, 'w').write('x'); print('TMPDIR' in os.environ)"
    result = await python(CommandRunner(unsandboxed=True), root, source)
    assert (result.exit_code, result.output, outside.read_text()) == (0, "True\n", "x")


async def test_jail_that_fails_to_start(runner: CommandRunner, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A launcher that gives up is an error of the harness, not a result of the command."""
    broken = root / "broken.py"
    broken.write_text(
        f"import sys; sys.stderr.write({jail.MESSAGE_PREFIX!r} + 'no'); sys.exit({jail.EXIT_JAIL_FAILED})"
    )
    monkeypatch.setattr(jail, "__file__", str(broken))
    with pytest.raises(SandboxError, match="no"):
        await python(runner, root, "")


@pytest.mark.parametrize("unsandboxed", [False, True])
async def test_unknown_program(jail_required: None, root: Path, unsandboxed: bool) -> None:
    """A program that does not exist is a result with exit code 127, jailed or not."""
    runner = CommandRunner(unsandboxed=unsandboxed)
    result = await runner.run(["/no/such"], cwd=root, env=ENV, timeout_s=30)
    assert result.exit_code == 127
    assert "/no/such" in result.output


@pytest.mark.parametrize(("code", "good"), [("0", True), ("1", False)])
async def test_succeeds(runner: CommandRunner, root: Path, env: Mapping[str, str], code: str, good: bool) -> None:
    """A probe says whether its command ended well."""
    assert await runner.succeeds(("sh", "-c", f"exit {code}"), root, env) is good


def test_markers_are_found_only_on_their_own() -> None:
    """A marker that no process carries finds nobody."""
    assert process._kill_marked("no such marker") is False
