"""pytest in a bare process of its own: for a quick look, without a jail.

Not a fork of this one, which would hang where llama.cpp has threads.
"""

import asyncio
import multiprocessing
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from qcn_tools.process import CommandResult, CommandRunner

LIMIT_S = 20.0
QUIET = ("--disable-plugin-autoload", "-p", "no:cacheprovider")


class BarePytest(CommandRunner):
    """Runs `python -m pytest …` in such a process with the same arguments: the same reports. Trusted code only."""

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
        """See CommandRunner.run; at most LIMIT_S seconds, the output is thrown away, `env` is not applied."""
        arguments = list(argv[list(argv).index("pytest") + 1 :])
        started = time.monotonic()
        child = multiprocessing.get_context("spawn").Process(target=_child, args=(cwd, arguments))
        child.start()
        await asyncio.to_thread(child.join, min(timeout_s, LIMIT_S))
        timed_out = child.is_alive()
        if timed_out:
            child.kill()
            child.join()
        code = child.exitcode if child.exitcode is not None else -1
        return CommandResult(code, "", timed_out, time.monotonic() - started, False)

    async def succeeds(self, argv: tuple[str, ...], cwd: Path, env: Mapping[str, str]) -> bool:
        """Any interpreter will do: pytest is this process's own."""
        return True


def _child(cwd: Path, arguments: list[str]) -> None:
    os.chdir(cwd)
    sys.path.insert(0, str(cwd))
    sys.dont_write_bytecode = True
    own = {path.stem for path in cwd.iterdir()}  # the project's modules win over ours of the same name
    for name in [name for name in sys.modules if name.partition(".")[0] in own]:
        del sys.modules[name]
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    os._exit(int(pytest.main([*arguments, *QUIET])))
