"""Whole runs with a scripted model: the real tools, the real pytest, the real jail, the real tree."""

import asyncio
import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from qcn_agent.agent.briefing import Briefing
from qcn_agent.agent.events import RunEvent
from qcn_agent.agent.fix import FixRequest, FixRun
from qcn_agent.agent.outcome import Outcome
from qcn_agent.config import FixConfig
from qcn_agent.context.pack import Pack, Part, Tier
from qcn_agent.errors import IndexingError, UsageError
from qcn_agent.paths import project_tag
from qcn_prompts import load
from qcn_tools.environment import find_test_command
from qcn_tools.process import CommandRunner
from qcn_tools.sandbox import probe
from tests.conftest import CALC, RIGHT, WRONG
from tests.fakes.scripted import ByteVocabulary, ScriptedGenerator, call

READ = call("read_file", path="calc.py")
FIX = call("edit_file", path="calc.py", old_string=WRONG, new_string=RIGHT)
BREAK = call("edit_file", path="calc.py", old_string=WRONG, new_string="return low")
TESTS = call("run_tests")
Tree = Callable[[Path], dict[str, tuple[bytes, int]]]
Turns = Sequence[str | Callable[[str], str]]


class Run:
    """One run and what it said."""

    def __init__(self, project: Path, env: Mapping[str, str], turns: Turns, profile: str = "mini", **kw: Any) -> None:
        self.model = ScriptedGenerator(turns)
        self.events: list[RunEvent] = []
        self._briefing: Briefing | None = kw.pop("briefing", None)
        self._project, self._env, self._profile, self._kw = project, env, profile, kw

    async def __call__(self) -> Outcome:
        """Run it."""
        config = FixConfig(**self._kw.pop("config", {}))
        runner = CommandRunner(unsandboxed=not probe().available)
        command = await find_test_command(self._project, self._env, runner, tests=config.tests)
        request = FixRequest(self._project, "clamp ignores its upper bound", config, **self._kw)
        profile = load(self._profile)
        return await FixRun(request, self.model, profile, runner, command, self.events.append, self._briefing).run()

    def kinds(self) -> list[str]:
        """The observations in order."""
        return [str(event.data["kind"]) for event in self.events if event.kind == "observation"]


async def test_right_edit_is_fixed_and_stays(project: Path, client_env: Mapping[str, str]) -> None:
    """Read, edit, test, answer: the tree holds the patch and the outcome its diff."""
    run = Run(project, client_env, [READ, FIX, TESTS, "clamp respects its upper bound."])

    outcome = await run()

    assert (outcome.ending, outcome.exit_code, outcome.applied) == ("fixed", 0, True)
    assert RIGHT in (project / "calc.py").read_text()
    assert f"-    {WRONG}\n+    {RIGHT}\n" in outcome.diff
    assert run.kinds() == ["file", "edited", "test_report"]
    assert "tests/test_calc.py::test_clamp" in outcome.reason


async def test_history_is_append_only(project: Path, client_env: Mapping[str, str]) -> None:
    """Within an attempt each prompt begins with the whole of the one before and what was sampled after it."""
    run = Run(project, client_env, [READ, FIX, TESTS])

    await run()

    prompts = [bytes(request.prompt.astype("<i4").tobytes()) for request in run.model.requests]
    assert len(prompts) == 4
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(prompts))
    assert outcome_reuse(run) == 1.0


def outcome_reuse(run: Run) -> float:
    """Share of the repeated prompt tokens that the fake found in its cache: 1.0 when nothing old was changed."""
    requests = run.model.requests
    repeated = sum(len(request.prompt) for request in requests[:-1])
    usages = [event.data for event in run.events if event.kind == "usage"]
    return min(1.0, sum(int(usage["num_reused_tokens"]) for usage in usages) / repeated)


async def test_tree_is_clean_again_between_attempts(project: Path, client_env: Mapping[str, str], tree: Tree) -> None:
    """A red attempt is taken back; the next one starts from the tree as found and may succeed."""
    before = tree(project)
    seen: list[bool] = []

    def look(_: str) -> str:
        seen.append(tree(project) == before)
        return FIX

    outcome = await Run(project, client_env, [READ, BREAK, TESTS, look, TESTS])()

    assert seen == [True]
    assert (outcome.ending, outcome.totals.num_attempts) == ("fixed", 2)


async def test_retry_branches_before_the_first_change(project: Path, client_env: Mapping[str, str]) -> None:
    """The second attempt continues where the first one had read the file; it does not read it again."""
    run = Run(project, client_env, [READ, BREAK, TESTS, FIX, TESTS])

    await run()

    before_break, retry = run.model.requests[1].prompt, run.model.requests[3].prompt
    assert before_break.tolist() == retry.tolist()


async def test_failed_run_leaves_the_tree_as_it_was(project: Path, client_env: Mapping[str, str], tree: Tree) -> None:
    """All attempts red: nothing of them is left, the outcome still shows a patch."""
    before = tree(project)
    turns = [READ] + [part for n in range(9) for part in (BREAK.replace("return low", f"return low - {n}"), TESTS)]

    outcome = await Run(project, client_env, turns, config={"max_attempts": 3})()

    assert (outcome.ending, outcome.exit_code, outcome.applied) == ("red", 1, False)
    assert "+    return low - 0" in outcome.diff
    assert tree(project) == before


async def test_repeating_a_known_failure_costs_no_test_run(project: Path, client_env: Mapping[str, str]) -> None:
    """The same wrong edit is recognised by the tree it makes and not tested again."""
    run = Run(project, client_env, [READ, BREAK, TESTS, BREAK, BREAK, FIX, TESTS])

    outcome = await run()

    assert outcome.ending == "fixed"
    assert outcome.totals.num_attempts == 2
    assert run.kinds().count("test_report") == 2


async def test_keep_leaves_the_last_patch(project: Path, client_env: Mapping[str, str]) -> None:
    """--keep shows up in the tree even though the tests are red."""
    turns = [READ, BREAK, TESTS]

    outcome = await Run(project, client_env, turns, keep=True, config={"max_attempts": 1})()

    assert (outcome.ending, outcome.applied) == ("red", True)
    assert "return low\n" in (project / "calc.py").read_text()


async def test_dry_run_shows_and_takes_back(project: Path, client_env: Mapping[str, str], tree: Tree) -> None:
    """The verdict is real, the tree is as before."""
    before = tree(project)

    outcome = await Run(project, client_env, [READ, FIX, TESTS, "done"], dry_run=True)()

    assert (outcome.ending, outcome.applied) == ("fixed", False)
    assert RIGHT in outcome.diff
    assert tree(project) == before


async def test_weakened_test_is_unproven(project: Path, client_env: Mapping[str, str], tree: Tree) -> None:
    """Turning the test green instead of the code proves nothing, and is taken back."""
    before = tree(project)
    weaken = call("edit_file", path="tests/test_calc.py", old_string="== 3", new_string="== 5")

    outcome = await Run(project, client_env, [weaken, TESTS, "done"], config={"max_attempts": 1})()

    assert (outcome.ending, outcome.exit_code, outcome.applied) == ("unproven", 1, False)
    assert tree(project) == before


async def test_conftest_that_hides_the_failure_is_unproven(project: Path, client_env: Mapping[str, str]) -> None:
    """A hook that reports every test as passed is not believed."""
    hook = (
        "import pytest\n\n\n@pytest.hookimpl(hookwrapper=True)\ndef pytest_runtest_makereport(item, call):\n"
        "    result = yield\n    result.get_result().outcome = 'passed'\n"
    )
    cheat = call("write_file", path="conftest.py", content=hook)
    turns = [cheat, TESTS, call("finish", summary="done")]

    outcome = await Run(project, client_env, turns, "qwen3_coder", config={"max_attempts": 1})()

    assert outcome.ending == "unproven"
    assert (project / "conftest.py").read_text() == ""


async def test_uncommitted_work_is_part_of_clean(project: Path, client_env: Mapping[str, str], git: Any) -> None:
    """What a user has not committed survives a failed run, and so does the index."""
    git(project, "init", "-q")
    git(project, "add", ".")
    git(project, "commit", "-qm", "start")
    (project / "calc.py").write_text(CALC + "\n\nMINE = 1\n")
    (project / "notes.txt").write_text("mine")
    git(project, "add", "notes.txt")
    status = git(project, "status", "--porcelain")

    outcome = await Run(project, client_env, [READ, BREAK, TESTS], config={"max_attempts": 1})()

    assert outcome.ending == "red"
    assert "MINE = 1" in (project / "calc.py").read_text()
    assert git(project, "status", "--porcelain") == status


async def test_file_that_the_user_changes_meanwhile_survives(project: Path, client_env: Mapping[str, str]) -> None:
    """The user saves the very file the agent has edited: it stays theirs and is reported."""

    def save(_: str) -> str:
        (project / "calc.py").write_text("# the user was here\n")
        return TESTS

    outcome = await Run(project, client_env, [READ, BREAK, save], config={"max_attempts": 1})()

    assert (project / "calc.py").read_text() == "# the user was here\n"
    assert outcome.left_alone == ("calc.py",)


def saves(project: Path, text: str, then: str) -> Callable[[str], str]:
    """A turn during which a person saves calc.py with `text` at its end."""

    def turn(_: str) -> str:
        (project / "calc.py").write_text((project / "calc.py").read_text() + text)
        return then

    return turn


async def test_fixed_file_that_the_user_saved_is_a_warning(project: Path, client_env: Mapping[str, str]) -> None:
    """The fix stays with the user's own lines in the same file; that undo can't separate them is said."""
    run = Run(project, client_env, [READ, FIX, saves(project, "\nMINE = 1\n", TESTS), "done"])

    outcome = await run()

    assert (outcome.ending, outcome.left_alone) == ("fixed", ("calc.py",))
    warning = outcome.warnings[0]
    assert "calc.py was saved by somebody else" in warning
    assert "undo can't separate" in warning
    assert Path(warning.rpartition(": ")[2]).read_text() == CALC
    assert outcome.to_json()["warnings"] == [warning]
    assert "MINE = 1" in (project / "calc.py").read_text()


@pytest.mark.parametrize(
    ("config", "ending"),
    [({"max_attempts": 1}, "red"), ({"max_steps": 3}, "budget")],
)
async def test_unfixed_file_that_the_user_saved_is_a_warning(
    project: Path, client_env: Mapping[str, str], config: dict[str, int], ending: str
) -> None:
    """The other endings say it too; what the user saved is there."""
    turns: Turns = [READ, BREAK, saves(project, "\nMINE = 1\n", TESTS)]

    outcome = await Run(project, client_env, turns, config=config)()

    assert (outcome.ending, outcome.left_alone) == (ending, ("calc.py",))
    assert "calc.py was saved by somebody else" in outcome.warnings[0]
    assert "MINE = 1" in (project / "calc.py").read_text()


async def test_error_warns_of_a_mixed_file_as_an_event(project: Path, client_env: Mapping[str, str]) -> None:
    """Where there is no outcome, the warning comes before the error."""

    def fail(_: str) -> str:
        (project / "calc.py").write_text("# mine\n")
        raise RuntimeError("the engine broke")

    run = Run(project, client_env, [READ, BREAK, fail])
    with pytest.raises(RuntimeError):
        await run()

    warnings = [str(event.data["text"]) for event in run.events if event.kind == "warning"]
    assert len(warnings) == 1
    assert "calc.py was saved by somebody else" in warnings[0]
    assert (project / "calc.py").read_text() == "# mine\n"


async def test_environment_without_pytest_is_a_warning(project: Path, client_env: Mapping[str, str]) -> None:
    """It is said at the start and in the outcome which interpreter ran the tests instead, and what to do."""
    (project / ".venv" / "bin").mkdir(parents=True)
    (project / ".venv" / "pyvenv.cfg").touch()
    (project / ".venv" / "bin" / "python").symlink_to("/bin/false")
    run = Run(project, client_env, [READ, FIX, TESTS, "done"])

    outcome = await run()

    assert outcome.ending == "fixed"
    assert "pytest" in outcome.warnings[0]
    assert f"{project}/.venv/bin/python" in outcome.warnings[0]
    assert [event.data["text"] for event in run.events if event.kind == "warning"] == list(outcome.warnings)


async def test_no_tests_means_unproven(tmp_path: Path, client_env: Mapping[str, str]) -> None:
    """Without a test nothing can be proven: the patch is shown, the tree stays as found, and the reason is told."""
    (tmp_path / "solo").mkdir()
    (tmp_path / "solo" / "calc.py").write_text(CALC)

    run = Run(tmp_path / "solo", client_env, [READ, FIX, TESTS, "done"])
    outcome = await run()

    assert (outcome.ending, outcome.exit_code, outcome.applied) == ("unproven", 1, False)
    assert RIGHT in outcome.diff
    assert (tmp_path / "solo" / "calc.py").read_text() == CALC
    assert any("no tests found" in str(event.data.get("text")) for event in run.events if event.kind == "note")


async def test_green_project_keeps_its_tree(project: Path, client_env: Mapping[str, str], tree: Tree) -> None:
    """Where no test was red nothing can be proven, so nothing is left behind unless asked for."""
    (project / "calc.py").write_text(CALC.replace(WRONG, RIGHT))
    before = tree(project)
    odd = call("edit_file", path="calc.py", old_string="value * 2", new_string="2 * value")

    outcome = await Run(project, client_env, [odd, TESTS, "done"])()
    kept = await Run(project, client_env, [odd, TESTS, "done"], keep=True)()

    assert (outcome.ending, outcome.applied) == ("unproven", False)
    assert (kept.ending, kept.applied) == ("unproven", True)
    assert tree(project) != before


async def test_command_that_does_not_exist_is_a_usage_error(project: Path, client_env: Mapping[str, str]) -> None:
    """A typo in --tests is not a bug in the code."""
    with pytest.raises(UsageError, match="can't be run"):
        await Run(project, client_env, [READ], config={"tests": "no-such-command --at-all"})()


async def test_issue_that_fills_the_context_is_a_usage_error(project: Path, client_env: Mapping[str, str]) -> None:
    """It is refused before the tests run."""
    run = Run(project, client_env, [READ])
    run.model.n_ctx = 40

    with pytest.raises(UsageError, match="the issue alone"):
        await run()
    assert not [event for event in run.events if event.kind == "tests"]


async def test_good_edit_survives_a_bad_one_after_it(project: Path, client_env: Mapping[str, str]) -> None:
    """A failed edit behind a right one ends the attempt, and what is there is judged."""
    miss = call("edit_file", path="calc.py", old_string="no such text", new_string="x")

    outcome = await Run(project, client_env, [READ, FIX, miss])()

    assert outcome.ending == "fixed"


async def test_model_that_only_talks_makes_no_patch(project: Path, client_env: Mapping[str, str]) -> None:
    """Talk alone is exit code 3."""
    outcome = await Run(project, client_env, [])()

    assert (outcome.ending, outcome.exit_code) == ("no_patch", 3)


async def test_read_only_file_stays_and_the_user_hears_why(project: Path, client_env: Mapping[str, str]) -> None:
    """The model is told, and when nothing else came of the run, so is the user."""
    (project / "calc.py").chmod(0o444)
    run = Run(project, client_env, [READ, FIX])

    outcome = await run()

    assert (outcome.ending, (project / "calc.py").read_text()) == ("no_patch", CALC)
    assert run.kinds()[:2] == ["file", "refused"]
    assert "refused was a change of calc.py: it is read-only" in outcome.reason


async def test_refused_path_that_the_model_made_up_is_its_own_affair(
    project: Path, client_env: Mapping[str, str]
) -> None:
    """What does not exist tells the user nothing."""
    run = Run(project, client_env, [call("edit_file", path="../calc.py", old_string="a", new_string="b")])

    outcome = await run()

    assert run.kinds()[:1] == ["refused"]
    assert outcome.reason == "no change of the model reached the tests"


async def test_giving_up_ends_the_run(project: Path, client_env: Mapping[str, str]) -> None:
    """A model that says that it can't is not asked again and again."""
    run = Run(project, client_env, [call("finish", summary="can't be solved here")], "qwen3_coder")

    outcome = await run()

    assert outcome.ending == "no_patch"
    assert len(run.model.requests) == 1


async def test_turns_run_out(project: Path, client_env: Mapping[str, str], tree: Tree) -> None:
    """A budget ends the run with exit code 4 and a clean tree."""
    before = tree(project)

    outcome = await Run(project, client_env, [READ, BREAK], config={"max_steps": 2})()

    assert (outcome.ending, outcome.exit_code) == ("budget", 4)
    assert tree(project) == before


async def test_patch_that_is_right_when_the_budget_ends_counts(project: Path, client_env: Mapping[str, str]) -> None:
    """Out of turns right after the right edit: the judge still looks at it."""
    outcome = await Run(project, client_env, [READ, FIX], config={"max_steps": 2})()

    assert outcome.ending == "fixed"
    assert "after 2 model turns were used up" in outcome.reason
    assert outcome.totals.num_attempts == 1


async def test_patch_that_is_wrong_when_the_budget_ends_says_so(project: Path, client_env: Mapping[str, str]) -> None:
    """The outcome tells that the tests ran once more, how long, and what they said."""
    outcome = await Run(project, client_env, [READ, BREAK], config={"max_steps": 2})()

    assert outcome.reason.startswith("used up: 2 model turns; the last change was judged after that, for ")
    assert "green" in outcome.reason or "red" in outcome.reason


async def test_suite_that_hangs_is_stopped(project: Path, client_env: Mapping[str, str]) -> None:
    """A test that never ends costs its time limit, not the run."""
    hang = call("edit_file", path="calc.py", old_string=WRONG, new_string="while True: pass")

    run = Run(project, client_env, [READ, hang, TESTS], config={"max_attempts": 1, "command_s": 5})
    outcome = await run()

    assert outcome.ending == "red"
    assert any(event.kind == "observation" and "timed out" in str(event.data["text"]) for event in run.events)


@pytest.mark.parametrize("path", ["../outside.py", "/etc/passwd", "/proc/self/root/etc/passwd", "link/x.py"])
async def test_paths_outside_are_refused(project: Path, client_env: Mapping[str, str], path: str) -> None:
    """Neither reading nor writing leaves the workspace; the model is told why."""
    (project.parent / "outside").mkdir()
    (project / "link").symlink_to(project.parent / "outside")
    turns = [call("read_file", path=path), call("write_file", path=path, content="x"), call("finish", summary="no")]

    run = Run(project, client_env, turns, "qwen3_coder")
    await run()

    assert run.kinds()[:2] == ["refused", "refused"]


async def test_unreadable_calls_end_an_attempt_after_three(project: Path, client_env: Mapping[str, str]) -> None:
    """A model that writes broken calls gets told twice, then the attempt is over."""
    run = Run(project, client_env, ["<tool_call>"] * 3, "qwen3_coder", config={"max_attempts": 1})

    outcome = await run()

    assert outcome.ending == "no_patch"
    assert run.kinds() == ["invalid_call"] * 3


async def test_same_call_over_and_over_is_stopped(project: Path, client_env: Mapping[str, str]) -> None:
    """The third time is a nudge, the fifth the end."""
    run = Run(project, client_env, [READ] * 20, "qwen3_coder", config={"max_attempts": 1})

    await run()

    assert len(run.model.requests) == 5
    assert "made this call before" in run.model.prompts()[-1]


async def test_unknown_tool_and_bad_arguments_are_explained(project: Path, client_env: Mapping[str, str]) -> None:
    """The answer names what there is."""
    turns = [call("rm", path="/"), call("read_file"), call("finish", summary="x")]

    run = Run(project, client_env, turns, "qwen3_coder")
    await run()

    assert "there is no tool 'rm'" in run.model.prompts()[1]
    assert "missing argument 'path'" in run.model.prompts()[2]


async def test_cancelling_puts_the_tree_back(project: Path, client_env: Mapping[str, str], tree: Tree) -> None:
    """A run that is cancelled in the middle leaves nothing behind."""
    before = tree(project)
    reached = asyncio.Event()

    def stall(_: str) -> str:
        reached.set()
        return TESTS

    slow = project / "tests" / "test_slow.py"
    slow.write_text("import time\n\n\ndef test_slow():\n    time.sleep(3)\n")
    before = tree(project)
    run = Run(project, client_env, [READ, BREAK, stall])
    task = asyncio.create_task(run())
    await reached.wait()

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert tree(project) == before
    assert run.model.dropped == []  # the same question may come again


async def test_custom_command_is_judged_by_its_exit_code(project: Path, client_env: Mapping[str, str]) -> None:
    """--tests with something that is not pytest: red and green are its exit code."""
    check = "python -c 'from calc import clamp; raise SystemExit(clamp(5, 0, 3) != 3)'"

    outcome = await Run(project, client_env, [READ, FIX, TESTS, "done"], config={"tests": check})()

    assert outcome.ending == "fixed"


async def test_outcome_is_json(project: Path, client_env: Mapping[str, str]) -> None:
    """What goes over the wire has plain values and the exit code."""
    outcome = await Run(project, client_env, [READ, FIX, TESTS, "done"])()

    table = outcome.to_json()

    assert table["exit_code"] == 0
    assert table["totals"] == dataclasses.asdict(outcome.totals)


async def test_save_of_the_user_during_an_edit_is_not_lost(project: Path, client_env: Mapping[str, str]) -> None:
    """The user saves between the model's reading and its edit: the edit applies to what is there, or not at all."""

    def save(_: str) -> str:
        text = (project / "calc.py").read_text()
        (project / "calc.py").write_text(text + "\n\nMINE = 1\n")
        return FIX

    outcome = await Run(project, client_env, [READ, save, TESTS, "done"])()

    assert "MINE = 1" in (project / "calc.py").read_text()
    assert outcome.ending == "fixed"


async def test_kept_patch_is_the_one_that_is_shown(project: Path, client_env: Mapping[str, str]) -> None:
    """With --keep the diff is that of the tree, not of an earlier attempt."""
    second = BREAK.replace("return low", "return high")
    turns = [READ, BREAK, TESTS, second, TESTS]

    outcome = await Run(project, client_env, turns, keep=True, config={"max_attempts": 2})()

    assert outcome.applied
    assert "+    return high" in outcome.diff
    assert "return high" in (project / "calc.py").read_text()


async def test_dry_run_takes_back_even_with_keep(project: Path, client_env: Mapping[str, str], tree: Tree) -> None:
    """A dry run never leaves anything."""
    before = tree(project)

    await Run(project, client_env, [READ, BREAK, TESTS], keep=True, dry_run=True, config={"max_attempts": 1})()

    assert tree(project) == before


async def test_partial_test_run_does_not_end_an_attempt(project: Path, client_env: Mapping[str, str]) -> None:
    """Running one test after the right fix is no proof of red."""
    only = call("run_tests", paths="tests/test_calc.py::test_clamp")

    outcome = await Run(project, client_env, [READ, FIX, only, "done"])()

    assert outcome.ending == "fixed"


async def test_source_that_does_not_compile_can_be_fixed(project: Path, client_env: Mapping[str, str]) -> None:
    """A syntax error stops the collection; mending it is a fix."""
    (project / "calc.py").write_text(CALC.replace("return value * 2", "return value *"))
    mend = call("edit_file", path="calc.py", old_string="return value *", new_string="return value * 2")
    clamp = call("edit_file", path="calc.py", old_string=WRONG, new_string=RIGHT)
    turns = [mend, clamp, call("run_tests"), call("finish", summary="done")]

    outcome = await Run(project, client_env, turns, "qwen3_coder")()

    assert outcome.ending == "fixed"


async def test_command_with_absolute_paths_is_judged_on_the_copy(
    project: Path, client_env: Mapping[str, str], tree: Tree
) -> None:
    """Naming the test by its full path does not let an edited test through."""
    before = tree(project)
    weaken = call("edit_file", path="tests/test_calc.py", old_string="== 3", new_string="== 5")
    config = {"tests": f"python -m pytest {project}/tests/test_calc.py", "max_attempts": 1}

    outcome = await Run(project, client_env, [weaken, TESTS, "done"], config=config)()

    assert outcome.ending == "unproven"
    assert tree(project) == before


async def test_wall_time_ends_a_run_in_the_middle_of_a_turn(project: Path, client_env: Mapping[str, str]) -> None:
    """A model that takes forever does not outlive the budget."""
    run = Run(project, client_env, [READ], config={"wall_s": 4.0})
    run.model = ScriptedGenerator([READ], gate=asyncio.Event())

    outcome = await run()

    assert (outcome.ending, outcome.exit_code) == ("budget", 4)


async def test_sessions_are_dropped_at_the_end(project: Path, client_env: Mapping[str, str]) -> None:
    """A finished run leaves no conversation in the engine."""
    run = Run(project, client_env, [READ, FIX, TESTS, "done"])

    await run()

    assert set(run.model.dropped) == {request.session for request in run.model.requests}


async def test_requests_say_whose_they_are(project: Path, client_env: Mapping[str, str]) -> None:
    """So that what was read of a project can be forgotten; not the path itself."""
    run = Run(project, client_env, [READ, FIX, TESTS, "done"])

    await run()

    assert {request.project for request in run.model.requests} == {project_tag(project)}


class Packer:
    """Makes a pack that says what it was asked for."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked: list[tuple[str, int]] = []
        self._error = error

    async def __call__(self, issue: str, budget: int) -> Pack:
        """A head and a file."""
        self.asked.append((issue, budget))
        if self._error:
            raise self._error
        head, body = (ByteVocabulary().encode([(text, False)]) for text in ("THE HEAD\n", "THE BODY\n"))
        return Pack(budget, (Part(Tier.TREE, "", (head,)),), (Part(Tier.BEST, "calc.py", (body,), rank=0),))


async def test_large_model_starts_from_head_and_issue_part(project: Path, client_env: Mapping[str, str]) -> None:
    """In its first turn, before the issue; the head's end is an anchor of every request."""
    packer = Packer()
    turns = [READ, FIX, TESTS, call("finish", summary="done")]
    run = Run(project, client_env, turns, "qwen3_coder", briefing=Briefing(packer, prefill_tokens_per_s=1500.0))

    outcome = await run()

    prompts = run.model.prompts()
    assert outcome.ending == "fixed"
    assert all(prompt.count("<|im_start|>user\nTHE HEAD\nTHE BODY\n<issue>") == 1 for prompt in prompts)
    assert {request.num_anchors for request in run.model.requests} == {2}
    first = run.model.requests[0]
    assert ByteVocabulary().decode(first.prompt[: first.anchors[1]]).endswith("THE HEAD\n")
    ((issue, budget),) = packer.asked
    assert issue == "clamp ignores its upper bound"
    assert 20 * 1500 - 15_000 < budget < 20 * 1500
    assert any("context: 18 tokens, 1 files" in str(event.data) for event in run.events)


async def test_mini_keeps_the_opening_that_it_was_trained_on(project: Path, client_env: Mapping[str, str]) -> None:
    """No pack is even made."""
    packer = Packer()
    run = Run(project, client_env, [READ, FIX, TESTS, "done"], briefing=Briefing(packer, 1500.0))

    await run()

    assert packer.asked == []
    assert "<|im_start|>user\nclamp ignores its upper bound\n\nFiles:\n" in run.model.prompts()[0]
    assert {request.num_anchors for request in run.model.requests} == {1}


async def test_run_goes_on_without_context(project: Path, client_env: Mapping[str, str]) -> None:
    """An index that can't be built is a note, not an end; no time for reading is not even that."""
    turns = [READ, FIX, TESTS, call("finish", summary="done")]
    broken = Packer(IndexingError("no room for the index"))
    run = Run(project, client_env, turns, "qwen3_coder", briefing=Briefing(broken, 1500.0))

    outcome = await run()

    assert outcome.ending == "fixed"
    assert any("without context: no room for the index" in str(event.data) for event in run.events)
    assert "<|im_start|>user\n<issue>" in run.model.prompts()[0]


async def test_no_time_for_reading_means_no_context(project: Path, client_env: Mapping[str, str]) -> None:
    """`fix.ttft_budget_s = 0` turns it off."""
    packer = Packer()
    settings = {"ttft_budget_s": 0.0}
    turns = [READ, FIX, TESTS, call("finish", summary="done")]
    run = Run(project, client_env, turns, "qwen3_coder", briefing=Briefing(packer, 1500.0), config=settings)

    assert (await run()).ending == "fixed"
    assert packer.asked == []
