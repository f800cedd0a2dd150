"""Traces that are counted: evaluated tokens of each side beside the ideal."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from qcn_agent.benchmark.arms import Arm, Memory
from qcn_agent.benchmark.replay import Played, Score, play
from qcn_agent.benchmark.traces import TRACES, Trace
from tests.bench.contest import OURS, Contest, Part, Row, running
from tests.bench.ours import OurArm
from tests.bench.report import Target, progress
from tests.bench.typing_traces import typing_trace


@dataclass(frozen=True)
class Limit:
    """A target on some steps of a trace: the ratio of evaluated to ideal tokens, or the tokens above the ideal."""

    measure: str
    labels: tuple[str, ...] = ()
    max_ratio: float | None = None
    max_waste: int | None = None

    def shown(self, score: Score) -> str:
        """The measured value."""
        return f"{score.evaluated - score.ideal}" if self.max_ratio is None else f"{score.ratio:.3f}"

    def target(self, name: str, score: Score) -> Target:
        """Whether our side keeps to it."""
        if self.max_ratio is None:
            bound, is_met = f"≤ {self.max_waste}", score.evaluated - score.ideal <= (self.max_waste or 0)
        else:
            bound, is_met = f"≤ {self.max_ratio}", score.ratio <= self.max_ratio
        return Target(f"{name}: {self.measure} {bound}", f"{self.shown(score)} ({score.evaluated} tokens)", is_met)


RATIO = "evaluated / ideal"
LIMITS: Mapping[str, tuple[Limit, ...]] = {
    "agent": (Limit(RATIO, max_ratio=1.005),),
    "retry": (Limit(RATIO, max_ratio=1.005),),
    "two": (Limit(RATIO, max_ratio=1.005),),
    "branch": (
        Limit(RATIO, max_ratio=3.0),
        Limit("the same from a point's second visit on", ("again",), max_ratio=1.05),
    ),
    "heads": (Limit(RATIO, max_ratio=1.05),),
    "fim": (Limit(RATIO, max_ratio=1.05),),
    "typing-psm": (Limit(RATIO, max_ratio=1.5),),
    "typing-spm": (Limit(RATIO, max_ratio=1.5),),
    "fim-between": (Limit("agent tokens evaluated again", ("agent",), max_waste=0),),
}


def make_trace(name: str, seed: int, ours: OurArm) -> Trace:
    """The trace of this name; typed text is tokenised by the model's own vocabulary."""
    if name == "typing-psm":
        return typing_trace("psm", seed, ours.encode)
    if name == "typing-spm":
        return typing_trace("spm", seed, ours.encode)
    return TRACES[name](seed)


def play_on_all(name: str, contest: Contest) -> tuple[dict[str, Played], dict[str, Memory]]:
    """Each side in a process of its own; the peers make as many tokens a step as ours did."""
    ours = contest.ours()
    played: dict[str, Played] = {}
    memory: dict[str, Memory] = {}

    def on(arm: Arm, trace: Callable[[], Trace]) -> None:
        with running([arm]):
            num_new = played[OURS].num_new if OURS in played else None
            progress(f"{name}: {arm.name}")
            played[arm.name] = play(trace(), arm, num_new)
            memory[arm.name] = arm.memory()

    on(ours, lambda: make_trace(name, contest.seed, ours))
    for peer in contest.peers():
        on(peer, lambda: played[OURS].trace)
    return played, memory


def run(name: str, contest: Contest) -> Part:
    """One trace on all sides."""
    played, memory = play_on_all(name, contest)
    rows, targets = [], []
    for limit in LIMITS[name]:
        scores = {side: one.score(*limit.labels) for side, one in played.items()}
        rows.append(Row(name, limit.measure, {side: limit.shown(score) for side, score in scores.items()}, memory))
        targets.append(limit.target(name, scores[OURS]))
    numbers = {
        side: {
            "evaluated": [answer.num_evaluated for answer in one.answers],
            "cached": [answer.num_cached for answer in one.answers],
            "ideal": one.ideal,
        }
        for side, one in played.items()
    }
    return Part(rows, targets, numbers)
