"""What fits into the latency budget: a pure function of budget, rates, queue and candidates.

A candidate is a prompt of some shape with its length and how much of it is cached. Candidates are tried from the
largest on: context blocks go first, then the window before the cursor, then what follows it, never below 32 tokens.
A large prompt that is cached costs less than a small one that is not, so what was read once is kept in use.
"""

import enum
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from qcn_agent.completion.rates import Rates

MIN_SUFFIX_TOKENS = 32
MIN_PREFIX_TOKENS = 64
LINE_TOKENS = 12  # a line of code; fewer are seldom worth showing
SPARE_TOKENS = 32  # beyond what fits: generated for the cache after a late answer


class Step(enum.Enum):
    """How far a prompt was shrunk."""

    FULL = "full"
    CONTEXT = "context"
    PREFIX = "prefix"
    SUFFIX = "suffix"


@dataclass(frozen=True)
class Budget:
    """Milliseconds after the key: when the first token and when the answer is due."""

    first_token_ms: float
    answer_ms: float


@dataclass(frozen=True)
class Shape:
    """Number of context blocks, and the most tokens before and after the cursor."""

    num_context: int
    prefix_tokens: int
    suffix_tokens: int
    step: Step = Step.FULL


@dataclass(frozen=True)
class Candidate:
    """A prompt that could be sent: its shape, its length, how much of it the engine has already."""

    shape: Shape
    num_tokens: int
    num_cached_tokens: int

    @property
    def num_fresh_tokens(self) -> int:
        """To be read."""
        return self.num_tokens - self.num_cached_tokens


@dataclass(frozen=True)
class Plan:
    """What is asked of the engine, and what is expected of it. Times are milliseconds.

    `num_answer_tokens` fit into the answer's time; `max_new_tokens` are asked for. `quantum_ms` is the longest call of
    somebody else that this plan can wait for. `fits`: everything is expected in time.
    """

    shape: Shape
    num_prompt_tokens: int
    num_cached_tokens: int
    num_answer_tokens: int
    max_new_tokens: int
    quantum_ms: float
    expected_first_ms: float
    expected_answer_ms: float
    fits: bool


def shapes(num_context: int, prefix_tokens: int, suffix_tokens: int) -> Iterator[Shape]:
    """All shapes from the largest on; each is smaller than the one before it."""
    yield Shape(num_context, prefix_tokens, suffix_tokens)
    for left in range(num_context - 1, -1, -1):
        yield Shape(left, prefix_tokens, suffix_tokens, Step.CONTEXT)
    for prefix in _halves(prefix_tokens, MIN_PREFIX_TOKENS):
        yield Shape(0, prefix, suffix_tokens, Step.PREFIX)
    least = min(prefix_tokens, MIN_PREFIX_TOKENS)
    for suffix in _halves(suffix_tokens, MIN_SUFFIX_TOKENS):
        yield Shape(0, least, suffix, Step.SUFFIX)


def _halves(most: int, least: int) -> Iterator[int]:
    """Below `most`, by halves, down to `least`."""
    while most > least:
        most = max(least, most // 2)
        yield most


def plan(budget: Budget, rates: Rates, queue_ms: float, candidates: Iterable[Candidate], max_new_tokens: int) -> Plan:
    """The first candidate that fits, else the one whose first token comes soonest.

    It fits when the first token is in time and a line of LINE_TOKENS is, or all that is asked for, if that is less.
    """
    best: Plan | None = None
    for candidate in candidates:
        made = _plan(budget, rates, queue_ms, candidate, max_new_tokens)
        if made.fits:
            return made
        if best is None or made.expected_first_ms < best.expected_first_ms:
            best = made
    if best is None:
        raise ValueError("no candidates")
    return best


def _plan(budget: Budget, rates: Rates, queue_ms: float, candidate: Candidate, max_new_tokens: int) -> Plan:
    first_ms = queue_ms + rates.prefill_ms(candidate.num_fresh_tokens)
    wanted = min(LINE_TOKENS, max_new_tokens)
    line_ms = first_ms + (wanted - 1) * rates.decode_ms
    num_answer = _num_tokens(budget.answer_ms - first_ms, rates.decode_ms, max_new_tokens)
    return Plan(
        candidate.shape,
        candidate.num_tokens,
        candidate.num_cached_tokens,
        num_answer,
        min(max_new_tokens, num_answer + SPARE_TOKENS),
        max(0.0, min(budget.first_token_ms - first_ms, budget.answer_ms - line_ms)),
        first_ms,
        first_ms + max(0, num_answer - 1) * rates.decode_ms,
        first_ms <= budget.first_token_ms and line_ms <= budget.answer_ms,
    )


def _num_tokens(left_ms: float, decode_ms: float, most: int) -> int:
    """Tokens that come within `left_ms` after the first one, which counts; none when that is late already."""
    if left_ms < 0:
        return 0
    return most if left_ms >= decode_ms * most else 1 + math.floor(left_ms / decode_ms)
