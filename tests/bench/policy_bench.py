"""Policies of completion compared, first half of `make bench-lsp`.

usage: python -m tests.bench.policy_bench [--quick] [--json FILE]

The same passages of our own source are typed key by key to each policy, at 60, 120 and 200 ms a key, on a clock that
only waits move: nothing here depends on this machine. The model says the recorded text (`policy_oracle.py`). Ours is
the product's own `Completer` over the product's scheduler and prefix cache; the others are `policy_others.py` over
`policy_server.py`. A call takes what two RTX 3090 take for Qwen3-Coder-Next (2,137 and 104 tokens a second, reported).
"""

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from qcn_agent.completion.rates import straight
from qcn_agent.engine.backend import Backend
from tests.bench.policy_budget import budget_targets
from tests.bench.policy_engine import embedded_backend
from tests.bench.policy_oracle import Recording
from tests.bench.policy_replay import OURS, POLICIES, Load, Outcome, Scene, replay
from tests.bench.report import Target, conclude, progress, table
from tests.bench.stats import quantile
from tests.bench.typing_traces import passage
from tests.fakes.virtual_time import run

RATES = straight(2137.0, 9.6)
GAPS_MS = (60.0, 120.0, 200.0)
SKILLS = {"sure": 1.0, "unsure": 0.8}  # shares of words that the model foresees
NUM_PASSAGES, NUM_LINES = 6, 8
LLAMA_VIM = "llama.vim-like"
USEFUL, REFUSED, EVALUATED, UNSEEN, SLOWER = 0.95, 0.15, 0.2, 0.5, 1.3


@dataclass(frozen=True)
class Condition:
    """What is the same for all policies."""

    model: str
    gap_ms: float
    load: Load = "idle"
    is_hybrid: bool = True

    def __str__(self) -> str:
        kind = "" if self.is_hybrid else ", attention only"
        return f"{self.model}, {self.gap_ms:.0f} ms a key, agent {self.load}{kind}"


Outcomes = dict[Condition, dict[str, Outcome]]


def conditions(gaps_ms: tuple[float, ...] = GAPS_MS) -> Iterator[Condition]:
    """Both models at each pace with the agent idle; one pace beside an agent, and with a model of attention only."""
    for model in SKILLS:
        for gap_ms in gaps_ms:
            yield Condition(model, gap_ms)
    for load in ("writes", "reads"):
        yield Condition("sure", gaps_ms[len(gaps_ms) // 2], load)
    yield Condition("unsure", gaps_ms[len(gaps_ms) // 2], is_hybrid=False)


def measure(condition: Condition, policy: str, num_passages: int, num_lines: int, real: Backend) -> Outcome:
    """One policy on all passages."""
    total = Outcome()
    for seed in range(num_passages):
        recording = Recording(passage(seed, num_lines), SKILLS[condition.model])
        scene = Scene(recording, condition.gap_ms, RATES, seed, load=condition.load, is_hybrid=condition.is_hybrid)
        total += run(replay(policy, scene, real))
    return total


def row(policy: str, outcome: Outcome) -> list[str]:
    """One line of the table."""
    keys = max(1, outcome.num_keys)
    times = outcome.reply_ms
    return [
        policy,
        f"{outcome.num_useful / keys:.0%}",
        f"{outcome.useful_ms / max(1.0, outcome.total_ms):.0%}",
        f"{outcome.num_evaluated / keys:.1f}",
        f"{outcome.num_starts / keys:.3f}",
        f"{outcome.num_generated / keys:.2f}",
        f"{outcome.num_unseen / keys:.2f}",
        f"{quantile(times, 0.5):.0f} / {quantile(times, 0.95):.0f}",
        str(outcome.num_stale),
    ]


HEADER = [
    "policy",
    "useful keys",
    "useful time",
    "tokens read a key",
    "starts a key",
    "tokens said a key",
    "unseen a key",
    "reply p50 / p95, ms",
    "stale",
]


def summed(outcomes: Outcomes, model: str, load: Load = "idle") -> dict[str, Outcome]:
    """Over the paces, of a hybrid."""
    found = [of for condition, of in outcomes.items() if condition == Condition(model, condition.gap_ms, load)]
    return {policy: sum((of[policy] for of in found), Outcome()) for policy in found[0]}


def targets(outcomes: Outcomes) -> list[Target]:
    """What must hold of ours, of each model; silence can't win."""
    found = []
    for model in SKILLS:
        found += _comparison(model, summed(outcomes, model))
    everything = sum((of["ours"] for of in outcomes.values()), Outcome())
    worst = max(everything.steps_after_cancel, default=0)
    found.append(Target("stale replies shown: 0", str(everything.num_stale), not everything.num_stale))
    found.append(Target("calls from a cancel to an idle engine ≤ 1", str(worst), worst <= 1))
    share = everything.num_refused / max(1, everything.num_requests)
    found.append(Target(f"refused by gates ≤ {REFUSED:.0%}", f"{share:.1%}", share <= REFUSED))
    return [*found, *_beside_an_agent(outcomes)]


def _comparison(model: str, of: Mapping[str, Outcome]) -> list[Target]:
    """With one model: useful, tokens read, tokens nobody saw."""
    ours, others = of["ours"], {name: one for name, one in of.items() if name not in OURS}
    best = max(others, key=lambda name: others[name].num_useful)
    ratio = ours.num_useful / max(1, others[best].num_useful)
    read = ours.num_evaluated / max(1, others[LLAMA_VIM].num_evaluated)
    unseen = ours.num_unseen / max(1.0, others[best].num_unseen)
    return [
        Target(f"{model}: useful keys ≥ {USEFUL} × the best other's ({best})", f"{ratio:.3f}", ratio >= USEFUL),
        Target(f"{model}: tokens read ≤ {EVALUATED} × {LLAMA_VIM}'s", f"{read:.3f}", read <= EVALUATED),
        Target(f"{model}: tokens nobody saw ≤ {UNSEEN} × the best other's ({best})", f"{unseen:.3f}", unseen <= UNSEEN),
    ]


def _beside_an_agent(outcomes: Outcomes) -> list[Target]:
    condition = next(one for one in outcomes if one.load == "writes")
    idle = outcomes[replace(condition, load="idle")]["ours"]
    busy, alone = (quantile(one.first_ms, 0.95) for one in (outcomes[condition]["ours"], idle))
    name = f"p95 from asking to the first token while the agent writes ≤ {SLOWER} × idle"
    return [Target(name, f"{busy:.0f} / {alone:.0f} ms", 0 < busy <= SLOWER * alone)]


def compare(real: Backend, num_passages: int, num_lines: int) -> Outcomes:
    """All conditions, all policies."""
    outcomes: Outcomes = {}
    for condition in conditions():
        progress(str(condition))
        outcomes[condition] = {policy: measure(condition, policy, num_passages, num_lines, real) for policy in POLICIES}
    return outcomes


def report(outcomes: Outcomes) -> None:
    """Print a table for each condition."""
    for condition, of in outcomes.items():
        print(f"\n{condition}\n")
        print(table(HEADER, [row(policy, outcome) for policy, outcome in of.items()]))


def main() -> None:
    """Type, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two passages only")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    with embedded_backend() as real:
        outcomes = compare(real, 2 if options.quick else NUM_PASSAGES, NUM_LINES)
        report(outcomes)
        print()
        results = {str(condition): {p: vars(o) for p, o in of.items()} for condition, of in outcomes.items()}
        conclude([*targets(outcomes), *budget_targets(real)], results, options.json)


if __name__ == "__main__":
    main()
