"""One attempt: the model speaks, its calls are run, the answers are appended, until it is done."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from qcn_agent.agent.events import Emit, RunEvent
from qcn_agent.agent.journal import Journal
from qcn_agent.agent.judge import Verdict, compare
from qcn_agent.agent.limits import Budget
from qcn_agent.agent.speaker import Speaker
from qcn_agent.agent.toolcall import CallShape, ToolCall, parse
from qcn_agent.agent.transcript import Transcript
from qcn_agent.engine.generator import SamplingParams
from qcn_prompts import Profile
from qcn_tools.base import Observation, Tool
from qcn_tools.registry import check_arguments
from qcn_tools.report import TestReport

MAX_PROBLEMS = 3
NUDGE_AT, STOP_AT = 3, 5  # the same call with the same answer, nothing changed in between

WRITING_TOOLS = frozenset({"edit_file", "write_file"})
EDIT_FAILURES = frozenset(
    {"edit_not_found", "edit_ambiguous", "edit_noop", "edit_syntax_error", "not_found", "refused"}
)

End = Literal["answered", "finished", "red", "misedit", "repeated", "stuck", "steps"]


@dataclass
class Attempt:
    """The loop of one attempt. `before_change` is where the model first asked for a change: a retry branches there.

    `refused` says which change was not allowed last, and why.
    """

    profile: Profile
    speaker: Speaker
    tools: Mapping[str, Tool]
    journal: Journal
    budget: Budget
    baseline: TestReport | None
    red_states: frozenset[str]
    observation_chars: int
    emit: Emit
    before_change: Transcript | None = None
    refused: str = ""
    _problems: int = 0
    _seen: dict[str, int] = field(default_factory=dict)

    async def run(self, transcript: Transcript, sampling: SamplingParams) -> End:
        """Speak and act until the model answers without a call, or something ends the attempt.

        Raises BudgetExceededError; the files stay as they are then.
        """
        shapes = {name: _shape(tool) for name, tool in self.tools.items()}
        for _ in range(self.profile.settings.steps_per_attempt):
            self.budget.take_step()
            spoken = await self.speaker.speak(transcript, sampling, self.budget.remaining_tokens)
            self.budget.add_tokens(spoken.num_tokens)
            turn = parse(spoken.text, shapes, cut=spoken.cut)
            if not turn.calls and not turn.problem:
                return "answered"
            answers: list[str] = []
            end: End | None = None
            for call in turn.calls:
                answer, end = await self._act(call, transcript)
                answers.append(answer)
                if end:
                    break
            if turn.problem and not end:
                answers.append(self._problem(turn.problem))
                end = "stuck" if self._problems >= MAX_PROBLEMS else None
            if end:
                return end
            transcript = spoken.transcript.respond(answers)
        return "steps"

    def _problem(self, problem: str) -> str:
        self._problems += 1
        self.emit(RunEvent("observation", {"kind": "invalid_call", "ok": False, "text": problem}))
        return self.profile.observe("invalid_call", {"problem": problem})

    async def _act(self, call: ToolCall, transcript: Transcript) -> tuple[str, End | None]:
        """Run one call; return its words for the model and, if it ends the attempt, how."""
        self.emit(RunEvent("call", {"tool": call.name, "arguments": dict(call.arguments)}))
        num_changes = len(self.journal.changes)
        observation = await self._observe(call)
        text = clip_middle(self.profile.observe(observation.kind, observation.fields), self.observation_chars)
        self.emit(RunEvent("observation", {"kind": observation.kind, "ok": observation.ok, "text": text}))
        if call.name in WRITING_TOOLS:
            self.before_change = self.before_change or transcript
            is_there = os.path.lexists(self.journal.workspace / str(observation.fields.get("path", "")))
            if observation.kind == "refused" and is_there:  # else the model has made the path up
                self.refused = f"{observation.fields['path']}: {observation.fields['reason']}"
        self.speaker.totals.num_test_runs += isinstance(observation.fields.get("report"), TestReport)
        if end := self._ending(observation, changed=len(self.journal.changes) > num_changes):
            return text, end
        return self._watch_repetition(call, text)

    async def _observe(self, call: ToolCall) -> Observation:
        tool = self.tools.get(call.name)
        if tool is None:
            known = ", ".join(self.tools)
            return Observation("error", {"message": f"there is no tool {call.name!r}; tools: {known}"}, ok=False)
        arguments = check_arguments(tool.spec, call.arguments)
        if isinstance(arguments, Observation):
            return arguments
        return await tool.run(arguments)

    def _ending(self, observation: Observation, *, changed: bool) -> End | None:
        if observation.kind == "finished":
            return "finished"
        if not self.profile.settings.one_edit:
            return None
        if observation.kind in EDIT_FAILURES:
            return "stuck" if self.journal.changes else "misedit"
        if changed and self.journal.state_key() in self.red_states:
            return "repeated"
        report = observation.fields.get("report")
        if isinstance(report, TestReport) and not report.partial and self.journal.changes:
            return "red" if compare(self.baseline, report).verdict is Verdict.RED else None
        return None

    def _watch_repetition(self, call: ToolCall, text: str) -> tuple[str, End | None]:
        key = json.dumps([call.name, dict(call.arguments), text, self.journal.state_key()])
        self._seen[key] = self._seen.get(key, 0) + 1
        if self._seen[key] >= STOP_AT:
            return text, "stuck"
        if self._seen[key] >= NUDGE_AT:
            return self.profile.observe("repeated_call", {}), None
        return text, None


def clip_middle(text: str, max_chars: int) -> str:
    """Head and tail of a long text; the tail is longer, because failures stand at the end."""
    if len(text) <= max_chars:
        return text
    head, tail = max_chars * 2 // 5, max_chars * 3 // 5
    return f"{text[:head]}\n[… {len(text) - head - tail} characters left out …]\n{text[-tail:]}"


def _shape(tool: Tool) -> CallShape:
    parameters: Any = tool.spec.parameters
    return CallShape(frozenset(p.name for p in parameters), frozenset(p.name for p in parameters if p.required))
