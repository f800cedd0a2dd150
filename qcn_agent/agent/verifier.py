"""Judging within limits: runs the project's tests for the judge, and says what a test run came to."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from qcn_agent.agent.events import Emit, RunEvent
from qcn_agent.agent.judge import NO_TESTS_COLLECTED, Judgement, Verdict, judge
from qcn_agent.agent.limits import Budget, BudgetExceededError
from qcn_agent.agent.protected import Protected
from qcn_agent.config import FixConfig
from qcn_tools.base import Observation
from qcn_tools.environment import TestCommand, TestsUnavailable
from qcn_tools.process import CommandRunner
from qcn_tools.report import TestReport
from qcn_tools.run_tests import RunTests
from qcn_tools.workspace import Workspace


@dataclass(frozen=True)
class Verifier:
    """Judges the tree of one run. A test run gets `config.command_s`, less where `Budget.judging_s` has less left."""

    workspace: Workspace
    runner: CommandRunner
    command: TestCommand | TestsUnavailable
    config: FixConfig
    budget: Budget
    emit: Emit

    async def judge(self, protected: Protected, baseline: TestReport | None) -> Judgement:
        """The verdict on the tree as it is; unproven where the time that was left did not suffice."""
        self.emit(RunEvent("phase", {"text": "judging the change with the tests as they were"}))
        try:
            return await judge(self.workspace.root, self.workspace.files, protected, baseline, self._run_tests)
        except BudgetExceededError as spent:
            return Judgement(Verdict.UNPROVEN, str(spent), provable=False)

    async def _run_tests(self, root: Path) -> TestReport | None:
        """Raises BudgetExceededError when the time that was left did not suffice."""
        timeout_s = min(self.config.command_s, self.budget.judging_s(self.config.command_s))
        workspace = self.workspace if root == self.workspace.root else Workspace(root)
        tool = RunTests(workspace, self.runner, self._command_for(root), timeout_s, self.config.observation_chars)
        observation = await tool.run({})
        report = observation.fields.get("report")
        self.emit(RunEvent("tests", report_json(report, observation)))
        if not isinstance(report, TestReport):
            return None
        if report.timed_out and timeout_s < self.config.command_s:
            raise BudgetExceededError(f"the tests took longer than the {timeout_s:.0f} s that were left to judge it")
        return report

    def _command_for(self, root: Path) -> TestCommand | TestsUnavailable:
        """The test command for a copy of the tree: paths into the tree lead into the copy, its interpreter stays."""
        command, here = self.command, str(self.workspace.root)
        if str(root) == here or not isinstance(command, TestCommand):
            return command
        program, *rest = command.argv
        env = {key: value.replace(here, str(root)) for key, value in command.env.items() if key == "PYTHONPATH"}
        argv = (program, *(word.replace(here, str(root)) for word in rest))
        return dataclasses.replace(command, argv=argv, env={**command.env, **env})


def report_json(report: object, observation: Observation) -> dict[str, object]:
    """A test run as an event carries it."""
    if not isinstance(report, TestReport):
        return {"ran": False, "reason": str(observation.fields.get("reason", ""))}
    return {
        "ran": True,
        "green": report.is_green,
        "num_passed": report.num_passed,
        "num_failed": report.num_failed,
        "num_errors": report.num_errors,
        "timed_out": report.timed_out,
        "exit_code": report.exit_code,
        "command": report.command,
        "failures": [[failure.test_id, failure.message] for failure in report.failures[:5]],
    }


def why_no_proof(baseline: TestReport) -> str:
    """What to say about a first test run by which no fix could be proven; empty when one could."""
    if baseline.is_green and baseline.passed_ids:
        return "all tests are green: a fix can't be proven; add a test that fails"
    if baseline.passed_ids or baseline.failed_ids:
        return ""
    if baseline.exit_code in (0, NO_TESTS_COLLECTED):
        return "no tests found: nothing can be proven here"
    last = next((line for line in reversed(baseline.output.splitlines()) if line.strip()), "")
    limits = "only part of your environment is passed on; --tests 'KEY=value pytest' sets a variable"
    return f"the tests can't be run (exit code {baseline.exit_code}): {last.strip()} ({limits})"
