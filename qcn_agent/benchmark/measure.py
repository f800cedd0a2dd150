"""What is measured of a side: how much of each trace it evaluates, how long things take, what it holds."""

import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from qcn_agent.benchmark.arms import Answer, Arm, Ask
from qcn_agent.benchmark.copies import Cost
from qcn_agent.benchmark.replay import Played, Score, play
from qcn_agent.benchmark.traces import TOKEN_RANGE, TRACES, Tokens

TRACE_NAMES = ("agent", "retry", "branch", "heads", "fim")
ANSWER_S = 1800.0
_NEEDED_CTX = 8192  # of the longest trace; a smaller context shrinks all of them

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """How much is measured. `shrink`: the traces are so many times shorter than those of the large benchmark."""

    seed: int
    shrink: int = 1
    num_rounds: int = 7
    num_cold_tokens: int = 2000
    num_decoded_tokens: int = 128

    @classmethod
    def of(cls, seed: int, n_ctx: int, *, is_quick: bool) -> "Plan":
        """For a context of `n_ctx` tokens."""
        shrink = max(4 if is_quick else 1, -(-_NEEDED_CTX // n_ctx))
        if is_quick:
            return cls(seed, shrink, num_rounds=3, num_cold_tokens=min(500, n_ctx // 4), num_decoded_tokens=64)
        return cls(seed, shrink, num_cold_tokens=min(2000, n_ctx // 4))


@dataclass(frozen=True)
class Times:
    """Medians over the rounds: milliseconds to the first token, tokens per second."""

    cold_ms: float
    next_turn_ms: float
    again_ms: float
    prefill_tokens_per_s: float
    decode_tokens_per_s: float


@dataclass(frozen=True)
class Figures:
    """One side. `costs` are known of ours only."""

    scores: Mapping[str, Score]
    times: Times
    resident_mib: float
    device_states: int
    host_states: int
    costs: Mapping[str, Cost] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """JSON values, the ratios among them."""
        found = asdict(self)
        for name, score in self.scores.items():
            found["scores"][name]["ratio"] = score.ratio
        return found


def measure(
    arm: Arm, plan: Plan, say: Say, num_new: Mapping[str, Sequence[int]] | None = None
) -> tuple[Figures, dict[str, Sequence[int]]]:
    """Measure a running side. `num_new`: tokens to make in each step of each trace, as another side made them."""
    played: dict[str, Played] = {}
    for name in TRACE_NAMES:
        say(f"{arm.name}: {name}")
        played[name] = play(TRACES[name](plan.seed, plan.shrink), arm, num_new[name] if num_new else None)
    say(f"{arm.name}: times")
    times, memory = measure_times(arm, plan), arm.memory()
    figures = Figures(
        {name: one.score() for name, one in played.items()},
        times,
        round(memory.resident_mib, 1),
        memory.held.device_states,
        memory.held.host_states,
    )
    return figures, {name: one.num_new for name, one in played.items()}


def measure_times(arm: Arm, plan: Plan) -> Times:
    """Rounds of a cold prompt, its next turn, that again, and a longer answer."""
    draw = random.Random(f"{plan.seed}/times")  # noqa: S311 - reproducible, not secret
    cold, turn, again, prefill, decode = list[float](), list[float](), list[float](), list[float](), list[float]()
    for number in range(plan.num_rounds):
        session, prompt = f"times-{number}", _draw(draw, plan.num_cold_tokens)
        first = _ask(arm, session, prompt, 8)
        path = (*prompt, *first.tokens, *_draw(draw, 32))
        turn.append(_ask(arm, session, path, 8).first_ms)
        again.append(_ask(arm, session, path, 8).first_ms)
        longer = _ask(arm, session, path, plan.num_decoded_tokens)
        cold.append(first.first_ms)
        prefill.append(1e3 * first.num_evaluated / first.first_ms)
        decode.append(decode_rate(longer))
    return Times(*(round(statistics.median(samples), 3) for samples in (cold, turn, again, prefill, decode)))


def decode_rate(answer: Answer) -> float:
    """Tokens per second between the first and the last that came."""
    (begin, before), (end, after) = answer.times_ms[0], answer.times_ms[-1]
    return 1e3 * (after - before) / (end - begin) if end > begin else 0.0


def _draw(draw: random.Random, count: int) -> Tokens:
    return tuple(draw.randrange(*TOKEN_RANGE) for _ in range(count))


def _ask(arm: Arm, session: str, prompt: Tokens, num_new: int) -> Answer:
    return arm.submit(Ask(session, prompt, num_new, (len(prompt),), wants_times=True)).result(ANSWER_S)
