"""Whether answers keep their budget, also where the engine is up to 100 times slower: the planner has to shrink.

*Kept*: non-empty answers within `answer_ms`, of the requests that no gate or filter refused and no later key overtook.
"""

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from qcn_agent.completion.planner import Step
from qcn_agent.completion.prompt import ContextBlock
from qcn_agent.completion.rates import straight
from qcn_agent.engine.backend import Backend
from tests.bench.plan_sim import function_text
from tests.bench.policy_oracle import Recording
from tests.bench.policy_replay import Outcome, Scene, replay
from tests.bench.report import Target, progress
from tests.bench.typing_traces import Passage
from tests.fakes.virtual_time import run

EMBEDDED = straight(4000.0, 1.0)  # about what the embedded model does on two cores
FACTORS = (1, 3, 10, 30, 100)  # at those in between some steps occur that don't at the others
GAP_MS, KEPT = 200.0, 0.95
NUM_PASSAGES, NUM_LINES, NUM_BLOCKS = 5, 3, 6


@dataclass(frozen=True)
class Kept:
    """At one speed."""

    factor: int
    outcome: Outcome

    @property
    def share(self) -> float:
        """Of the requests that count."""
        return self.outcome.num_in_budget / max(1, self.outcome.num_passed)


def context() -> tuple[ContextBlock, ...]:
    """Pieces of other files."""
    return tuple(
        ContextBlock(f"part{number}.py", "".join(map(function_text, range(5 * number, 5 * number + 5))))
        for number in range(NUM_BLOCKS)
    )


def long_passages(num_lines: int) -> Iterator[Passage]:
    """With more text before them than a prompt takes, so that there is something to shrink; each in its own file."""
    for number in itertools.count(1):
        lines = "".join(map(function_text, range(100 * number, 100 * number + 60))).splitlines(keepends=True)
        at = len(lines) * 3 // 4
        typed = "".join(lines[at : at + num_lines]).rstrip("\n")
        yield Passage("".join(lines[:at]), typed, "\n" + "".join(lines[at + num_lines :]))


def at_speed(factor: int, real: Backend, num_passages: int = NUM_PASSAGES, num_lines: int = NUM_LINES) -> Kept:
    """Type passages in several files, one after another."""
    first, *more = map(Recording, itertools.islice(long_passages(num_lines), num_passages))
    scene = Scene(first, GAP_MS, EMBEDDED.slowed(factor), context=context(), more=tuple(more))
    return Kept(factor, run(replay("ours", scene, real)))


def budget_targets(real: Backend, num_passages: int = NUM_PASSAGES, num_lines: int = NUM_LINES) -> list[Target]:
    """At each speed the share, and over all of them every step of the planner."""
    found, steps = [], Counter[str]()
    for factor in FACTORS:
        progress(f"budget, {factor} times slower")
        kept = at_speed(factor, real, num_passages, num_lines)
        steps += kept.outcome.steps
        refused = kept.outcome.num_refused / max(1, kept.outcome.num_requests)
        text = f"{kept.share:.1%} of {kept.outcome.num_passed}; refused {refused:.1%}"
        found.append(Target(f"budget kept at 1/{factor} of the speed ≥ {KEPT:.0%}", text, kept.share >= KEPT))
    missing = [step.value for step in Step if not steps[step.value]]
    return [*found, Target("every step of the planner occurs", str(dict(steps)), not missing)]
