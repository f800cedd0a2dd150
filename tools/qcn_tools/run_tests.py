"""Tool `run_tests`: the project's tests, in the jail."""

import asyncio
import os
import re
import shlex
import stat
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from qcn_tools.base import Observation, Parameter, ToolSpec
from qcn_tools.environment import TestCommand, TestsUnavailable
from qcn_tools.lookup import not_found
from qcn_tools.process import CommandRunner, private_tmp
from qcn_tools.report import MAX_XML_BYTES, TestReport, report_from_exit, report_from_junit
from qcn_tools.workspace import Workspace, observes_refusals

_TARGET = re.compile(r"(?:\[[^\]\n]*\]|\S)+")  # a parameter set in brackets may hold spaces
_PYTEST_OPTIONS = ("-q", "--color=no", "--tb=short", "-o", "junit_family=xunit1")


class RunTests:
    """Runs the tests, all or some, at most `timeout_s` seconds; nothing is left in the tree or running.

    Answers `test_report` {report: TestReport}, ok only when green; `tests_unavailable` {reason, hint}; `not_found`
    {path, nearest} or `refused` {path, reason} for the paths. Raises SandboxError where commands can't be confined.
    """

    spec = ToolSpec(
        "run_tests",
        "Run the tests and show the failures. Give paths while you look for the cause; "
        "run all tests before you finish.",
        (
            Parameter(
                "paths",
                "string",
                "Test files, directories or ids such as tests/test_a.py::test_b, separated by spaces. Default: all.",
                required=False,
            ),
        ),
    )

    def __init__(
        self,
        workspace: Workspace,
        runner: CommandRunner,
        command: TestCommand | TestsUnavailable,
        timeout_s: float = 120.0,
        output_chars: int = 10_000,
    ) -> None:
        self._workspace = workspace
        self._runner = runner
        self._command = command
        self._timeout_s = timeout_s
        self._output_chars = output_chars

    async def run(self, arguments: Mapping[str, Any]) -> Observation:
        """See the class."""
        if isinstance(self._command, TestsUnavailable):
            fields = {"reason": self._command.reason, "hint": self._command.hint}
            return Observation("tests_unavailable", fields, ok=False)
        problem = await self._check_targets(arguments)
        if problem is not None:
            return problem
        report = await run_suite(
            self._workspace,
            self._runner,
            self._command,
            targets=_TARGET.findall(arguments.get("paths") or ""),
            timeout_s=self._timeout_s,
            output_chars=self._output_chars,
        )
        return Observation("test_report", {"report": report}, ok=report.is_green)

    async def _check_targets(self, arguments: Mapping[str, Any]) -> Observation | None:
        checked = await self._checked(arguments)
        return None if checked.ok else checked

    @observes_refusals
    async def _checked(self, arguments: Mapping[str, Any]) -> Observation:
        for target in _TARGET.findall(arguments.get("paths") or ""):
            path = self._workspace.resolve(target.partition("::")[0])
            if target.startswith("-") or not path.exists():
                return await not_found(self._workspace, target)
        return Observation("checked")


async def run_suite(
    workspace: Workspace,
    runner: CommandRunner,
    command: TestCommand,
    *,
    targets: Sequence[str] = (),
    timeout_s: float = 120.0,
    output_chars: int = 10_000,
) -> TestReport:
    """Run the tests at `targets` (checked by the caller; none: all). A custom command takes none and runs as it is.

    Raises SandboxError where commands can't be confined.
    """
    async with private_tmp() as tmp:
        xml = tmp / "junit.xml"
        targets = targets if command.kind == "pytest" else ()
        options = (*_PYTEST_OPTIONS, f"--junitxml={xml}") if command.kind == "pytest" else ()
        result = await runner.run(
            (*command.argv, *options, *targets),
            cwd=workspace.root,
            env=command.env,
            timeout_s=timeout_s,
            writable=(workspace.root,),
            output_chars=output_chars,
            tmp=tmp,
        )
        data = await asyncio.to_thread(_read_report, xml)
    said: dict[str, Any] = {
        "command": shlex.join([*command.argv, *targets]),
        "exit_code": result.exit_code,
        "timed_out": result.timed_out,
        "output": result.output,
        "duration_s": result.duration_s,
    }
    if command.kind == "custom":
        return report_from_exit(**said)
    report = await asyncio.to_thread(lambda: report_from_junit(data, **said))
    return replace(report, partial=bool(targets))


def _read_report(path: Path) -> bytes:
    """The report, which the tests could have replaced by anything; empty when it is not a plain file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    with os.fdopen(descriptor, "rb") as file:
        return file.read(MAX_XML_BYTES + 1) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
