"""What completions cost and what became of them: counters and times, no source text."""

import math
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from qcn_agent.completion.planner import Plan
from qcn_agent.completion.stream import Stream
from qcn_agent.engine.generator import Usage

_KEPT_TIMES = 1000
_KEPT_RECORDS = 50


@dataclass(frozen=True)
class PlanRecord:
    """A plan and what became of it. `ended`: "stop", "length", "deadline", "cut", "marker", "cancelled", "error".

    `first_ms`: queue and prefill as they were; 0 where the request was cancelled.
    """

    step: str
    layout: str
    num_prompt_tokens: int
    num_cached_tokens: int  # as expected
    num_reused_tokens: int  # as it was
    num_evaluated_tokens: int
    num_generated_tokens: int
    max_new_tokens: int
    quantum_ms: float
    expected_first_ms: float
    first_ms: float
    fits: bool
    is_guess: bool
    ended: str


def record_of(plan: Plan, layout: str, stream: Stream, *, is_guess: bool) -> PlanRecord:
    """A request that was cancelled has no account: then its tokens are counted as they came."""
    used = stream.usage or Usage(num_evaluated_tokens=stream.num_tokens, num_generated_tokens=stream.num_tokens)
    return PlanRecord(
        plan.shape.step.value,
        layout,
        plan.num_prompt_tokens,
        plan.num_cached_tokens,
        used.num_reused_tokens,
        used.num_evaluated_tokens,
        used.num_generated_tokens,
        plan.max_new_tokens,
        plan.quantum_ms,
        plan.expected_first_ms,
        used.queue_ms + used.prefill_ms,
        plan.fits,
        is_guess,
        stream.ended,
    )


class CompletionStats:
    """Counters since the start and the latest times. Every value of `status` is JSON-able."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.steps: Counter[str] = Counter()
        self.records: deque[PlanRecord] = deque(maxlen=_KEPT_RECORDS)
        self._reply_ms: deque[float] = deque(maxlen=_KEPT_TIMES)
        self._hit_ms: deque[float] = deque(maxlen=_KEPT_TIMES)

    def request(self) -> None:
        """A key, or a wish, came in."""
        self.counters["requests"] += 1

    def refused(self, gate: str) -> None:
        """A gate said no."""
        self.refusals[gate] += 1

    def replied(self, source: str, took_ms: float, *, is_in_time: bool) -> None:
        """Something was shown, so long after the key; in time: within the budget, the debounce aside."""
        self.counters["shown"] += 1
        self.counters[f"shown_{source}"] += 1
        self.counters["in_budget"] += is_in_time
        self._reply_ms.append(took_ms)
        if source == "cache":
            self._hit_ms.append(took_ms)

    def nothing(self, why: str) -> None:
        """Why nothing was shown: "overtaken", "cancelled", "late", "slow" (hopeless), "error", "none", or a filter."""
        self.counters["nothing"] += 1
        self.dropped[why] += 1

    def asked(self, record: PlanRecord, num_chars: int) -> None:
        """The engine has ended with a request, which gave so many characters."""
        self.counters["engine_starts"] += 1
        self.counters["guesses"] += record.is_guess
        self.counters["evaluated_tokens"] += record.num_evaluated_tokens
        self.counters["generated_tokens"] += record.num_generated_tokens
        self.counters["generated_chars"] += num_chars
        self.steps[record.step] += 1
        self.records.append(record)

    @property
    def num_unseen_tokens(self) -> int:
        """Generated, and shown to nobody so far; by the share of characters, since tokens have no place in a text."""
        shown = _ratio(self.counters["shown_chars"], self.counters["generated_chars"]) or 0.0
        return round(self.counters["generated_tokens"] * max(0.0, 1.0 - shown))

    def status(self) -> dict[str, Any]:
        """For `qcn-agent stats` and `status --json`."""
        requests, refused = self.counters["requests"], self.refusals.total()
        passed = self.counters["shown"] + self.dropped["late"] + self.dropped["error"]
        hits = self.counters["shown_cache"] + self.counters["shown_stream"]
        return {
            "counters": dict(self.counters),
            "refusals": dict(self.refusals),
            "dropped": dict(self.dropped),
            "steps": dict(self.steps),
            "reply_ms": quantiles(self._reply_ms),
            "hit_ms": quantiles(self._hit_ms),
            "evaluated_tokens_per_key": _ratio(self.counters["evaluated_tokens"], requests),
            "unseen_tokens": self.num_unseen_tokens,
            "hit_rate": _ratio(hits, self.counters["shown"]),
            "budget_kept": _ratio(self.counters["in_budget"], passed),
            "refused_share": _ratio(refused, requests),
            "plans": [asdict(record) for record in self.records],
        }


def quantiles(values: Iterable[float]) -> dict[str, float | None]:
    """p50, p95, p99 by nearest rank; None without values."""
    ordered = sorted(values)
    ranks = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    if not ordered:
        return dict.fromkeys(ranks)
    return {name: ordered[math.ceil(share * len(ordered)) - 1] for name, share in ranks.items()}


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None
