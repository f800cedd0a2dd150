"""Runs commands of a project: confined, bounded in time and output, and with nothing left running behind them."""

import asyncio
import contextlib
import os
import secrets
import shlex
import signal
import time
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qcn_agent.errors import SandboxError
from qcn_tools import jail, sandbox
from qcn_tools.output import OutputBuffer
from qcn_tools.scratch import make_scratch, remove_tree

_MARKER = "QCN_COMMAND"  # in the environment of every process that a command starts
_GRACE_S = 1.0  # between SIGTERM and SIGKILL at the time limit
_CANCEL_GRACE_S = 0.2  # when a person waits
_PROBE_S = 20.0
_MAX_SWEEPS = 50  # whatever forks faster than we kill is stopped by RLIMIT_NPROC first
_CHUNK = 1 << 16


@dataclass(frozen=True)
class CommandResult:
    """How a command ended. `exit_code` is negative for a signal; `output` holds stdout and stderr, head and tail."""

    exit_code: int
    output: str
    timed_out: bool
    duration_s: float
    truncated: bool


@dataclass(frozen=True)
class _Command:
    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str]


class CommandRunner:
    """Starts commands in the jail.

    `hidden`: paths that no command may read, such as the directory with the daemon's token. `unsandboxed` runs
    without a jail; otherwise, where there is none, `run` raises SandboxError.
    """

    def __init__(self, *, hidden: Sequence[Path] = (), unsandboxed: bool = False) -> None:
        self._hidden = tuple(hidden)
        self._unsandboxed = unsandboxed

    async def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        timeout_s: float,
        writable: Sequence[Path] = (),
        output_chars: int = 10_000,
        tmp: Path | None = None,
    ) -> CommandResult:
        """Run `argv` in `cwd` with exactly `env` and a private TMPDIR (`tmp`, or one that is removed afterwards).

        It may change what lies beneath `writable`, except `sandbox.protected_paths`, and its TMPDIR. When it ends,
        after `timeout_s` seconds, or when this call is cancelled, all that it started is killed before this returns.
        Raises SandboxError when it can't be confined.
        """
        async with contextlib.AsyncExitStack() as stack:
            own_tmp = await stack.enter_async_context(private_tmp()) if tmp is None else tmp
            marker = secrets.token_hex(16)
            full_env = dict(env) | _private_places(own_tmp, env) | {_MARKER: marker}
            command = await self._confined(_Command(tuple(argv), cwd, full_env), [*writable, own_tmp])
            result = await _run(command, timeout_s, output_chars, marker)
        if result.exit_code == jail.EXIT_JAIL_FAILED and result.output.startswith(jail.MESSAGE_PREFIX):
            raise _no_jail(result.output.removeprefix(jail.MESSAGE_PREFIX).strip())
        output = result.output.replace(str(own_tmp), "$TMPDIR")  # a random name would make equal runs look different
        return CommandResult(result.exit_code, output, result.timed_out, result.duration_s, result.truncated)

    async def succeeds(self, argv: tuple[str, ...], cwd: Path, env: Mapping[str, str]) -> bool:
        """Whether `argv` exits with 0 within 20 s, writing nothing."""
        return (await self.run(argv, cwd=cwd, env=env, timeout_s=_PROBE_S, output_chars=100)).exit_code == 0

    async def _confined(self, command: _Command, write: Sequence[Path]) -> _Command:
        if self._unsandboxed:
            return command
        support = sandbox.probe()
        if not support.available:
            raise _no_jail(support.reason)
        found = [await asyncio.to_thread(sandbox.protected_paths, root, command.env) for root in write]
        protect = [path for paths in found for path in paths]
        argv = sandbox.jailed_argv(
            command.argv, cwd=command.cwd, env=command.env, write=write, protect=protect, hide=self._hidden
        )
        return _Command(argv, sandbox.LAUNCHER_CWD, sandbox.launcher_env())


@contextlib.asynccontextmanager
async def private_tmp(kind: str = "tmp") -> AsyncIterator[Path]:
    """A directory `qcn-<kind>-…` that only this user can read, removed with all that is in it."""
    path, claim = make_scratch(kind)  # not in a thread: a cancellation in between would leave the directory behind
    try:
        yield path
    finally:
        try:
            await _surely(asyncio.to_thread(remove_tree, path))
        finally:
            os.close(claim)


def _private_places(tmp: Path, env: Mapping[str, str]) -> dict[str, str]:
    """Variables that lead the usual leftovers of a test run into `tmp`, whatever command starts it."""
    cache = shlex.quote(f"cache_dir={tmp / 'cache'}")
    return {
        **dict.fromkeys(("TMPDIR", "TMP", "TEMP"), str(tmp)),
        "COVERAGE_FILE": str(tmp / ".coverage"),
        "HYPOTHESIS_STORAGE_DIRECTORY": str(tmp / ".hypothesis"),
        "PYTEST_ADDOPTS": f"{env.get('PYTEST_ADDOPTS', '')} -o {cache}".strip(),
    }


async def _run(command: _Command, timeout_s: float, output_chars: int, marker: str) -> CommandResult:
    output = OutputBuffer(output_chars)
    started = time.monotonic()
    async with _output_pipe() as (reader, write_end):
        try:
            process = await asyncio.create_subprocess_exec(
                *command.argv,
                cwd=command.cwd,
                env=command.env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=write_end,
                stderr=write_end,
                start_new_session=True,
            )
        except (FileNotFoundError, NotADirectoryError, PermissionError) as error:  # in a jail, the launcher says so
            return CommandResult(jail.EXIT_NOT_FOUND, str(error), False, 0.0, False)
        finally:
            os.close(write_end)
        reading = asyncio.create_task(_read_into(output, reader))
        grace_s = _CANCEL_GRACE_S
        try:
            timed_out = not await _ended_within(process, timeout_s)
            grace_s = _GRACE_S
        finally:
            await _surely(_end(process, reading, marker, grace_s))
    exit_code = process.returncode if process.returncode is not None else -signal.SIGKILL
    return CommandResult(exit_code, output.text(), timed_out, time.monotonic() - started, output.truncated)


@contextlib.asynccontextmanager
async def _output_pipe() -> AsyncIterator[tuple[asyncio.StreamReader, int]]:
    """A stream and the descriptor that feeds it. Our own pipe, as asyncio's would wait for whoever else holds it."""
    read_end, write_end = os.pipe()
    reader = asyncio.StreamReader(limit=_CHUNK)
    protocol = asyncio.StreamReaderProtocol(reader)
    file = os.fdopen(read_end, "rb", 0)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, file)
    try:
        yield reader, write_end
    finally:
        transport.close()


async def _read_into(output: OutputBuffer, reader: asyncio.StreamReader) -> None:
    while chunk := await reader.read(_CHUNK):
        output.add(chunk)


async def _surely(work: Coroutine[Any, Any, None]) -> None:
    """Do `work` to its end, however often this call is cancelled meanwhile; the cancellation is raised then."""
    task = asyncio.create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    task.result()


async def _ended_within(process: asyncio.subprocess.Process, timeout_s: float) -> bool:
    try:
        await asyncio.wait_for(process.wait(), timeout_s)
    except TimeoutError:
        return False
    return True


async def _end(process: asyncio.subprocess.Process, reading: "asyncio.Task[None]", marker: str, grace_s: float) -> None:
    """End the command: politely if it still runs, then whatever is left of its group and of its descendants."""
    try:
        if process.returncode is None:
            _signal_group(process.pid, signal.SIGTERM)
            await _ended_within(process, grace_s)
    finally:  # even when the loop itself is shut down meanwhile
        _signal_group(process.pid, signal.SIGKILL)
        for _ in range(_MAX_SWEEPS):
            if not await asyncio.to_thread(_kill_marked, marker):
                break
    await process.wait()
    await _finish(reading, grace_s)


async def _finish(reading: "asyncio.Task[None]", grace_s: float) -> None:
    """Let the reader take what is left in the pipe; something that survived may hold it open."""
    await asyncio.wait((reading,), timeout=grace_s)
    reading.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await reading


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _kill_marked(marker: str) -> bool:
    """Kill the processes with our marker in their environment, which may have left the group; whether there were any.

    Linux only. One that wiped its environment *and* left the group escapes; it stays jailed.
    """
    wanted, found = f"{_MARKER}={marker}".encode(), False
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                os.kill(int(entry.name), signal.SIGKILL)
                found = True
    return found


def _no_jail(reason: str) -> SandboxError:
    return SandboxError(
        f"commands can't be confined here: {reason}",
        hint="--unsandboxed runs them with all your rights; do that only for code you trust",
    )
