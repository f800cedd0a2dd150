"""Judging with the real pytest in the real jail, within the time that is left."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest

from qcn_agent.agent.events import RunEvent
from qcn_agent.agent.judge import Judgement, Verdict
from qcn_agent.agent.limits import Budget
from qcn_agent.agent.protected import Protected
from qcn_agent.agent.verifier import Verifier, report_json, why_no_proof
from qcn_agent.config import FixConfig
from qcn_tools.base import Observation
from qcn_tools.environment import TestCommand, TestsUnavailable, find_test_command
from qcn_tools.process import CommandRunner
from qcn_tools.report import TestReport
from qcn_tools.sandbox import probe
from qcn_tools.workspace import Workspace
from tests.conftest import CALC, RIGHT, WRONG

BASELINE = TestReport(
    "pytest",
    1,
    False,
    1,
    1,
    0,
    0,
    (),
    frozenset({"tests/test_calc.py::test_double"}),
    frozenset({"tests/test_calc.py::test_clamp"}),
)


class Judging:
    """A verifier of `project` whose run has lasted `elapsed_s` of its `wall_s`."""

    def __init__(self, project: Path, elapsed_s: float, wall_s: float = 60.0, command_s: float = 30.0) -> None:
        self.events: list[RunEvent] = []
        self.project, self._command_s = project, command_s
        clock = iter([0.0])
        self._budget = Budget(9, 99, wall_s, lambda: next(clock, elapsed_s))

    async def __call__(self, env: Mapping[str, str], tests: str = "") -> Judgement:
        """Judge with what `env` has, or with the command `tests`."""
        runner = CommandRunner(unsandboxed=not probe().available)
        command = await find_test_command(self.project, env, runner, tests=tests)
        config = FixConfig(command_s=self._command_s)
        verifier = Verifier(Workspace(self.project), runner, command, config, self._budget, self.events.append)
        return await verifier.judge(Protected.take(self.project), BASELINE)


async def test_right_change_is_fixed(project: Path, client_env: Mapping[str, str]) -> None:
    """The tests run, also after the end of the budget, and what they say is told."""
    (project / "calc.py").write_text(CALC.replace(WRONG, RIGHT))
    judging = Judging(project, elapsed_s=70.0)

    judgement = await judging(client_env)

    assert judgement.verdict is Verdict.FIXED
    assert [event.kind for event in judging.events] == ["phase", "tests"]


@pytest.mark.parametrize("elapsed_s", [89.0, 1000.0])
async def test_time_that_is_left_bounds_the_tests(
    project: Path, client_env: Mapping[str, str], elapsed_s: float
) -> None:
    """A suite that would take ten seconds gets the one that is left, or none; that proves nothing and is said."""
    (project / "tests" / "test_slow.py").write_text("import time\n\n\ndef test_slow():\n    time.sleep(10)\n")
    judging = Judging(project, elapsed_s)

    judgement = await judging(client_env)

    assert (judgement.verdict, judgement.provable) == (Verdict.UNPROVEN, False)
    assert f"longer than the {max(0, 90 - elapsed_s):.0f} s that were left" in judgement.reason


async def test_limit_of_the_command_is_the_projects_own(project: Path, client_env: Mapping[str, str]) -> None:
    """With time enough left a suite that runs into the command's limit is red, not unjudged."""
    (project / "tests" / "test_slow.py").write_text("import time\n\n\ndef test_slow():\n    time.sleep(30)\n")

    judgement = await Judging(project, elapsed_s=0.0, command_s=2.0)(client_env)

    assert judgement.verdict is Verdict.RED


async def test_copy_is_judged_where_tests_were_changed(project: Path, client_env: Mapping[str, str]) -> None:
    """Paths of the command into the tree lead into the copy: the original tests decide."""
    runner = CommandRunner(unsandboxed=not probe().available)
    command = await find_test_command(project, {**client_env, "PYTHONPATH": str(project)}, runner)
    protected = Protected.take(project)
    (project / "tests" / "test_calc.py").write_text("def test_clamp(): pass\n\n\ndef test_double(): pass\n")
    events: list[RunEvent] = []
    budget = Budget(9, 99, 60.0)

    verifier = Verifier(Workspace(project), runner, command, FixConfig(), budget, events.append)
    judgement = await verifier.judge(protected, BASELINE)

    assert judgement.verdict is Verdict.UNPROVEN
    assert isinstance(command, TestCommand)
    assert events[-1].data["num_failed"] == 1


async def test_no_command_is_no_proof(project: Path) -> None:
    """Without a way to run tests the event says why."""
    events: list[RunEvent] = []
    verifier = Verifier(
        Workspace(project),
        CommandRunner(),
        TestsUnavailable("no pytest", "install it"),
        FixConfig(),
        Budget(9, 99, 60.0),
        events.append,
    )

    judgement = await verifier.judge(Protected.take(project), BASELINE)

    assert (judgement.verdict, judgement.provable) == (Verdict.UNPROVEN, False)
    assert events[-1].data == {"ran": False, "reason": "no pytest"}


def test_report_as_json() -> None:
    """Counts, the command and the first failures."""
    table = report_json(BASELINE, Observation("test_report"))

    assert (table["ran"], table["num_passed"], table["num_failed"], table["command"]) == (True, 1, 1, "pytest")


@pytest.mark.parametrize(("exit_code", "words"), [(5, "no tests found"), (4, "can't be run (exit code 4): boom")])
def test_why_no_proof_without_tests(exit_code: int, words: str) -> None:
    """No tests, and tests that can't even start, are told apart."""
    report = TestReport("pytest", exit_code, False, 0, 0, 0, 0, (), frozenset(), frozenset(), "x\nboom\n\n", 1.0)

    assert words in why_no_proof(report)


def test_why_no_proof_with_green_tests() -> None:
    """Where nothing is red nothing can turn green; where something is, there is nothing to say."""
    green = dataclasses.replace(BASELINE, exit_code=0, num_failed=0, failed_ids=frozenset())

    assert "add a test that fails" in why_no_proof(green)
    assert why_no_proof(BASELINE) == ""
