"""`fix`: baseline tests, several attempts from the tree as found, a verdict, and a tree that is fixed or untouched."""

import asyncio
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from qcn_agent.agent.attempt import Attempt, End
from qcn_agent.agent.briefing import Briefing
from qcn_agent.agent.diff import unified_diff
from qcn_agent.agent.events import Emit, RunEvent
from qcn_agent.agent.journal import Journal
from qcn_agent.agent.judge import Judgement, Verdict
from qcn_agent.agent.limits import Budget, BudgetExceededError
from qcn_agent.agent.mixed import mixed_warnings
from qcn_agent.agent.opening import opening_text
from qcn_agent.agent.outcome import Ending, Outcome, Totals, ending_of
from qcn_agent.agent.protected import Protected, named_by_tests
from qcn_agent.agent.pruning import forget_old
from qcn_agent.agent.speaker import Speaker
from qcn_agent.agent.transcript import Transcript
from qcn_agent.agent.verifier import Verifier, report_json, why_no_proof
from qcn_agent.config import FixConfig
from qcn_agent.context.pack import Pack
from qcn_agent.engine.generator import Generator, SamplingParams
from qcn_agent.engine.grammar import ParameterShape, ToolShape, tool_call_grammar
from qcn_agent.errors import ContextFullError, QcnError, UsageError
from qcn_agent.paths import project_tag
from qcn_prompts import Profile
from qcn_prompts.profile import Sampling
from qcn_tools.base import Observation, Tool
from qcn_tools.environment import TestCommand, TestsUnavailable
from qcn_tools.process import CommandRunner
from qcn_tools.registry import build_tools
from qcn_tools.report import TestReport
from qcn_tools.workspace import Workspace

RESTART_EVERY = 6  # every so many tries start from the opening again, in case the reading went astray
COMMAND_NOT_FOUND = 127  # of a shell, and of our launcher
MAX_REPEATS = 4  # tries that never reach the tests are free, up to so many for each attempt that counts
HEATING, MAX_HEAT = 0.15, 2.0  # each free try in a row is sampled hotter, or it would repeat itself


@dataclass(frozen=True)
class FixRequest:
    """What the user asked for. `keep` leaves the last patch in the tree even if it is red."""

    workspace: Path
    issue: str
    config: FixConfig
    seed: int = 0
    keep: bool = False
    dry_run: bool = False
    run_id: str = ""


class FixRun:
    """One run. Call `run` once. With a `briefing` a model whose profile takes context starts from a pack."""

    def __init__(
        self,
        request: FixRequest,
        generator: Generator,
        profile: Profile,
        runner: CommandRunner,
        test_command: TestCommand | TestsUnavailable,
        emit: Emit,
        briefing: Briefing | None = None,
    ) -> None:
        self._request = request
        self._briefing = briefing if profile.settings.takes_context else None
        self._profile = profile
        self._test_command = test_command
        self._emit = emit
        self._workspace = Workspace(request.workspace)
        self._root = self._workspace.root
        forget_old()
        self._journal = Journal.create(self._root, request.issue, request.run_id)
        self._totals = Totals()
        config = request.config
        self._limit = config.max_attempts or profile.settings.attempts
        self._budget = Budget(config.max_steps, config.max_new_tokens, config.wall_s)
        self._verifier = Verifier(self._workspace, runner, test_command, config, self._budget, emit)
        tools = build_tools(
            self._workspace,
            self._journal,
            runner,
            test_command,
            observation_chars=config.observation_chars,
            command_s=config.command_s,
        )
        self._tools: Mapping[str, Tool] = {name: tools[name] for name in profile.settings.tools}
        self._specs = profile.select({name: tool.spec for name, tool in tools.items()})
        self._generator = generator
        self._speaker = Speaker(
            generator,
            session=f"fix-{self._journal.run_id}",
            max_turn_tokens=profile.settings.max_turn_tokens,
            grammar=tool_call_grammar([_tool_shape(tool) for tool in self._tools.values()]),
            totals=self._totals,
            emit=emit,
            project=project_tag(self._root),
        )
        self._red_states: set[str] = set()
        self._best: tuple[Judgement, str] | None = None
        self._refused = ""
        self._failed_to_restore: tuple[str, ...] = ()

    async def run(self) -> Outcome:
        """Do it. Whatever ends the run early, cancellation included, leaves the tree as found (unless `keep`)."""
        may_go_on = False
        try:
            return await self._run()
        except BaseException as error:
            may_go_on = isinstance(error, asyncio.CancelledError)  # whoever asks again need not wait for it to be read
            self._keep_or_take_back()
            for text in self._mixed():
                self._warn(text)
            raise
        finally:
            if not may_go_on:
                self._generator.drop_session(self._speaker.session)
            self._journal.close()

    async def _run(self) -> Outcome:
        self._check_issue()
        if isinstance(self._test_command, TestCommand):
            self._emit(RunEvent("note", {"text": f"tests: {self._test_command.reason}"}))
            if self._test_command.warning:
                self._warn(self._test_command.warning)
        self._emit(RunEvent("phase", {"text": "running the tests as they are"}))
        argv = self._test_command.argv if isinstance(self._test_command, TestCommand) else ()
        protected = await asyncio.to_thread(lambda: Protected.take(self._root, named_by_tests(self._root, argv, None)))
        observation, baseline = await self._baseline()
        named = await asyncio.to_thread(named_by_tests, self._root, argv, baseline)
        protected = await asyncio.to_thread(protected.including, self._root, named)
        opening = await self._open(observation, await asyncio.to_thread(self._workspace.files))
        branch = opening
        tries = free_in_a_row = 0
        while self._totals.num_attempts < self._limit and tries < (MAX_REPEATS + 1) * self._limit:
            if tries % RESTART_EVERY == 0:
                branch = opening
            attempt = self._attempt(baseline)
            again = free_in_a_row > 0  # the last try did not reach the tests, so this one has its number
            number = self._totals.num_attempts + 1
            self._emit(RunEvent("attempt", {"number": number, "of": self._limit, "again": again}))
            try:
                async with asyncio.timeout(self._budget.remaining_s):
                    end = await attempt.run(branch, self._sampling(tries, free_in_a_row))
            except (BudgetExceededError, ContextFullError, TimeoutError) as spent:
                reason = str(spent) or f"{self._request.config.wall_s:.0f} seconds"
                return await self._stop_early(reason, protected, baseline)
            tries += 1
            self._refused = attempt.refused or self._refused
            branch = attempt.before_change or opening
            if end in ("repeated", "misedit"):
                free_in_a_row += 1
                self._take_back()
                continue
            free_in_a_row = 0
            self._totals.num_attempts += 1
            outcome = await self._settle(end, protected, baseline)
            if outcome:
                return outcome
        return self._failed()

    def _check_issue(self) -> None:
        """Raises UsageError for an issue that leaves no room to work on it."""
        num_tokens = len(self._generator.vocabulary.encode([(self._request.issue, False)]))
        if num_tokens > self._generator.n_ctx // 2:
            raise UsageError(
                f"the issue alone has {num_tokens:,} tokens; the model's context holds {self._generator.n_ctx:,}",
                hint="shorten it to what matters, or use a model with a longer context (model.n_ctx)",
            )

    async def _baseline(self) -> tuple[Observation, TestReport | None]:
        observation = await self._tools["run_tests"].run({})
        report = observation.fields.get("report")
        baseline = report if isinstance(report, TestReport) else None
        self._emit(RunEvent("tests", report_json(baseline, observation)))
        if baseline and baseline.exit_code == COMMAND_NOT_FOUND and not baseline.passed_ids:
            raise UsageError(f"the test command can't be run: {baseline.command}", hint="look at --tests")
        if baseline and (why := why_no_proof(baseline)):
            self._emit(RunEvent("note", {"text": why}))
        return observation, baseline

    async def _open(self, observation: Observation, files: list[str]) -> Transcript:
        tests = (observation.kind, observation.fields)
        text = opening_text(self._profile, self._request.issue, files, tests)
        system = Transcript.empty(self._generator.vocabulary).say("system", self._profile.system(self._specs))
        bare = system.say("user", text)
        pack = await self._pack(len(bare.tokens))
        return system.say_with("user", pack, text) if pack else bare

    async def _pack(self, num_other_tokens: int) -> Pack | None:
        """Context for the issue; None, and a note, where there is none to be had."""
        if self._briefing is None:
            return None
        seconds, longest = self._request.config.ttft_budget_s, self._profile.settings.max_turn_tokens
        budget = self._briefing.budget(seconds, self._generator.n_ctx, num_other_tokens, longest)
        if not budget:
            return None
        self._emit(RunEvent("phase", {"text": "choosing what to read"}))
        try:
            pack = await self._briefing.pack(self._request.issue, budget)
        except QcnError as error:
            self._emit(RunEvent("note", {"text": f"the model starts without context: {error}"}))
            return None
        if not pack.num_tokens:
            return None
        head, num_files = pack.num_head_tokens, len({part.path for part in pack.issue_part if part.path})
        self._emit(
            RunEvent("note", {"text": f"context: {pack.num_tokens:,} tokens, {num_files} files ({head:,} head)"})
        )
        return pack

    def _attempt(self, baseline: TestReport | None) -> Attempt:
        return Attempt(
            profile=self._profile,
            speaker=self._speaker,
            tools=self._tools,
            journal=self._journal,
            budget=self._budget,
            baseline=baseline,
            red_states=frozenset(self._red_states),
            observation_chars=self._request.config.observation_chars,
            emit=self._emit,
        )

    async def _settle(self, end: End, protected: Protected, baseline: TestReport | None) -> Outcome | None:
        """Judge what an attempt left behind; None when there should be another attempt."""
        diff = await asyncio.to_thread(self._diff)
        if not diff:
            self._take_back()
            return self._failed("the model says that it is done without a change") if end == "finished" else None
        if end == "red":
            judgement = Judgement(Verdict.RED, "tests are red after the change")
        else:
            judgement = await self._verifier.judge(protected, baseline)
        if judgement.verdict is Verdict.FIXED:
            return self._succeed(judgement.reason, diff)
        if not judgement.provable:
            self._best = judgement, diff
            return self._failed() if self._budget.remaining_s else self._spent(f"used up: {judgement.reason}")
        self._red_states.add(self._journal.state_key())
        is_kept = self._request.keep and not self._request.dry_run and self._totals.num_attempts >= self._limit
        if self._best is None or judgement.verdict is Verdict.UNPROVEN or is_kept:
            self._best = judgement, diff
        if not is_kept:
            self._take_back()
        return None

    async def _stop_early(self, budget: str, protected: Protected, baseline: TestReport | None) -> Outcome:
        """A budget is used up: what is there may still be right, so it is judged, and the outcome says so."""
        diff = await asyncio.to_thread(self._diff)
        if not diff:
            return self._spent(f"used up: {budget}")
        self._totals.num_attempts += 1
        began_s = self._budget.elapsed_s
        judgement = await self._verifier.judge(protected, baseline)
        lasted = f"{self._budget.elapsed_s - began_s:.1f} s"
        if judgement.verdict is Verdict.FIXED:
            return self._succeed(f"{judgement.reason} (judged for {lasted} after {budget} were used up)", diff)
        self._best = judgement, diff
        return self._spent(
            f"used up: {budget}; the last change was judged after that, for {lasted}: {judgement.reason}"
        )

    def _spent(self, reason: str) -> Outcome:
        has_changes = bool(self._journal.changes)
        applied = self._keep_or_take_back()
        return self._outcome("budget", reason, self._best[1] if self._best else "", applied=applied and has_changes)

    def _succeed(self, reason: str, diff: str) -> Outcome:
        if self._request.dry_run:
            self._take_back()
        return self._outcome("fixed", reason, diff, applied=not self._request.dry_run)

    def _failed(self, why_no_patch: str = "no change of the model reached the tests") -> Outcome:
        applied = self._keep_or_take_back()
        if self._best is None:
            refused = f"; refused was a change of {self._refused}" if self._refused else ""
            return self._outcome("no_patch", why_no_patch + refused, "", applied=False)
        judgement, diff = self._best
        return self._outcome(ending_of(judgement.verdict), judgement.reason, diff, applied=applied)

    def _keep_or_take_back(self) -> bool:
        keep = self._request.keep and not self._request.dry_run and bool(self._journal.changes)
        if not keep:
            self._take_back()
        return keep

    def _take_back(self) -> None:
        result = self._journal.restore()
        self._failed_to_restore = result.failed
        left = [*result.kept, *result.failed]
        if result.restored or left:
            self._emit(RunEvent("restored", {"paths": list(result.restored), "left_alone": left}))

    def _warn(self, text: str) -> None:
        self._emit(RunEvent("warning", {"text": text}))

    def _mixed(self) -> list[str]:
        failed = [f"could not be put back: {path}; qcn-agent undo tries again" for path in self._failed_to_restore]
        return [*mixed_warnings(self._journal), *failed]

    def _outcome(self, ending: Ending, reason: str, diff: str, *, applied: bool) -> Outcome:
        self._totals.elapsed_s = self._budget.elapsed_s
        by_tests = self._test_command.warning if isinstance(self._test_command, TestCommand) else ""
        return Outcome(
            ending,
            reason,
            diff,
            applied,
            self._journal.run_id,
            (*self._journal.mixed(), *self._failed_to_restore),
            tuple(text for text in (by_tests, *self._mixed()) if text),
            dataclasses.replace(self._totals),
        )

    def _diff(self) -> str:
        return unified_diff(self._root, self._journal.first_bytes())

    def _sampling(self, tries: int, free_in_a_row: int) -> SamplingParams:
        chosen: Sampling = self._profile.settings.retry if tries else self._profile.settings.first
        temperature = chosen.temperature
        if temperature is not None:
            temperature *= min(MAX_HEAT, 1 + HEATING * free_in_a_row)
        seed = self._request.seed * 1_000_003 + tries
        return SamplingParams(temperature, chosen.top_k, chosen.top_p, seed=seed & 0x7FFFFFFF)


def _tool_shape(tool: Tool) -> ToolShape:
    parameters = tuple(ParameterShape(p.name, p.type, p.required) for p in tool.spec.parameters)
    return ToolShape(tool.spec.name, parameters)
