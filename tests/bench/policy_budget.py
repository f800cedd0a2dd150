"""Whether answers keep their budget, also where the engine is 10 and 100 times slower: the planner has to shrink.

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
from tests.bench.policy_oracle import Recording
from tests.bench.policy_replay import Outcome, Scene, replay
from tests.bench.report import Target, progress
from tests.bench.typing_traces import SOURCES, Passage, passage
from tests.fakes.virtual_time import run

EMBEDDED = straight(4000.0, 1.0)  # about what the embedded model does on two cores
FACTORS = (1, 10, 100)
GAP_MS, KEPT = 200.0, 0.95
NUM_PASSAGES, NUM_LINES, NUM_BLOCKS, MIN_BEFORE_CHARS = 5, 3, 6, 5_000


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
    """Beginnings of files of ours."""
    files = sorted((SOURCES / "index").glob("*.py"))[:NUM_BLOCKS]
    return tuple(
        ContextBlock(f"index/{file.name}", "\n".join(file.read_text(encoding="utf-8").splitlines()[:40]))
        for file in files
    )


def long_passages(num_lines: int) -> Iterator[Passage]:
    """Those with more text before them than a prompt takes, so that there is something to shrink."""
    found = (passage(seed, num_lines) for seed in itertools.count())
    return (one for one in found if len(one.before) > MIN_BEFORE_CHARS)


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
