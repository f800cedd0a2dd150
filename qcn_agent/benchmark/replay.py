"""Play a trace to one side and count what it evaluated beside what it had to."""

from collections.abc import Sequence
from dataclasses import dataclass

from qcn_agent.benchmark.arms import Answer, Arm, Ask
from qcn_agent.benchmark.traces import Step, Tokens, Trace

STEP_S = 600


@dataclass(frozen=True)
class Played:
    """A trace as one side saw it: prompts with its own answers in them."""

    trace: Trace
    prompts: tuple[Tokens, ...]
    answers: tuple[Answer, ...]

    @property
    def ideal(self) -> list[int]:
        """New prompt tokens of each step."""
        return self.trace.ideal(self.prompts, [answer.tokens for answer in self.answers])

    @property
    def num_new(self) -> tuple[int, ...]:
        """Generated tokens of each step."""
        return tuple(len(answer.tokens) for answer in self.answers)

    def score(self, *labels: str) -> "Score":
        """Sums over the steps that bear one of the labels; over all but `base` without any."""
        wanted = [
            number
            for number, step in enumerate(self.trace.steps)
            if (step.label in labels if labels else step.label != "base")
        ]
        ideal = self.ideal
        return Score(sum(self.answers[n].num_evaluated for n in wanted), sum(ideal[n] for n in wanted))


@dataclass(frozen=True)
class Score:
    """Prompt tokens evaluated, and how few would have done."""

    evaluated: int
    ideal: int

    @property
    def ratio(self) -> float:
        """Evaluated over ideal; infinite where nothing was new, but something was evaluated."""
        return self.evaluated / self.ideal if self.ideal else (float("inf") if self.evaluated else 1.0)


def to_ask(step: Step, answers: Sequence[Tokens], num_new: int | None = None) -> Ask:
    """The request of a step, given this side's earlier answers."""
    return Ask(
        step.session,
        step.prompt(answers),
        step.num_new if num_new is None else num_new,
        step.boundaries(answers),
        step.is_completion,
    )


def play(trace: Trace, arm: Arm, num_new: Sequence[int] | None = None) -> Played:
    """Ask step after step. `num_new` sets how many tokens each step makes: what another side made of it."""
    prompts: list[Tokens] = []
    answers: list[Answer] = []
    for number, step in enumerate(trace.steps):
        ask = to_ask(step, [answer.tokens for answer in answers], num_new[number] if num_new else None)
        prompts.append(ask.prompt)
        answers.append(arm.submit(ask).result(STEP_S))
    return Played(trace, tuple(prompts), tuple(answers))
