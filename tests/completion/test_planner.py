"""The planner: largest prompt first, everything in time, each shrink step where it is due."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcn_agent.completion.planner import (
    LINE_TOKENS,
    MIN_PREFIX_TOKENS,
    MIN_SUFFIX_TOKENS,
    SPARE_TOKENS,
    Budget,
    Candidate,
    Plan,
    Shape,
    Step,
    plan,
    shapes,
)
from qcn_agent.completion.rates import Rates, straight

BUDGET = Budget(230.0, 350.0)
FULL = (6, 1024, 192)
FAST = straight(20_000.0, 5.0)


def size(shape: Shape) -> int:
    """Tokens of a prompt of this shape where every block has 200."""
    return 200 * shape.num_context + shape.prefix_tokens + shape.suffix_tokens + 4


def planned(
    rates: Rates,
    cached: Callable[[Shape], int] = lambda shape: 0,
    *,
    budget: Budget = BUDGET,
    queue_ms: float = 0.0,
    most: int = 48,
) -> Plan:
    """The plan for the full range of shapes."""
    candidates = (Candidate(shape, size(shape), cached(shape)) for shape in shapes(*FULL))
    return plan(budget, rates, queue_ms, candidates, most)


def test_shapes_shrink_context_then_prefix_then_suffix() -> None:
    """In that order, each smaller than the one before, the suffix never below 32."""
    made = list(shapes(2, 256, 100))

    assert made == [
        Shape(2, 256, 100),
        Shape(1, 256, 100, Step.CONTEXT),
        Shape(0, 256, 100, Step.CONTEXT),
        Shape(0, 128, 100, Step.PREFIX),
        Shape(0, 64, 100, Step.PREFIX),
        Shape(0, 64, 50, Step.SUFFIX),
        Shape(0, 64, 32, Step.SUFFIX),
    ]


@given(st.integers(0, 9), st.integers(64, 4096), st.integers(32, 1024))
def test_no_shape_goes_below_the_least(context: int, prefix: int, suffix: int) -> None:
    """Whatever the settings are, and sizes only fall."""
    made = list(shapes(context, prefix, suffix))

    assert all(one.prefix_tokens >= min(prefix, MIN_PREFIX_TOKENS) for one in made)
    assert all(one.suffix_tokens >= MIN_SUFFIX_TOKENS for one in made)
    assert [size(one) for one in made] == sorted({size(one) for one in made}, reverse=True)


def test_what_fits_is_sent_whole() -> None:
    """A fast machine gets everything, and all tokens that may be asked for."""
    made = planned(FAST)

    assert (made.shape.step, made.fits, made.max_new_tokens) == (Step.FULL, True, 48)


def test_every_shrink_step_occurs_as_the_machine_gets_slower() -> None:
    """Rates as they are, 10 and 100 times slower, and between: full, context, prefix, suffix; never anything else."""
    steps = [planned(straight(15_000.0, 1.0).slowed(factor)).shape.step for factor in (1, 2, 10, 20, 100)]

    assert set(steps) == set(Step)
    assert steps == sorted(steps, key=list(Step).index)


@pytest.mark.parametrize("factor", [1, 10, 100])
def test_a_cached_prompt_is_sent_whole_at_any_speed(factor: float) -> None:
    """What was read costs nothing: a large cached prompt beats a small fresh one."""
    made = planned(straight(15_000.0, 1.0).slowed(factor), lambda shape: size(shape) - 2)

    assert made.shape.step is Step.FULL


def test_when_nothing_fits_the_soonest_first_token_is_taken() -> None:
    """Here that is the full prompt, because it is cached and the smaller ones are not."""
    made = planned(
        straight(10.0, 500.0), lambda shape: size(shape) - 1 if shape.step is Step.FULL else 0, budget=Budget(10, 20)
    )

    assert (made.fits, made.shape.step) == (False, Step.FULL)


def test_the_queue_counts() -> None:
    """Time spent waiting for others is not there for reading."""
    rates = straight(5_000.0, 5.0)
    free, busy = planned(rates), planned(rates, queue_ms=150.0)

    assert busy.shape.step is not Step.FULL or free.shape.num_context > busy.shape.num_context
    assert busy.expected_first_ms >= 150.0


def test_a_late_answer_is_asked_for_with_some_tokens_for_the_cache() -> None:
    """What fits by the time it is due, and SPARE_TOKENS more."""
    made = planned(straight(20_000.0, 25.0), most=200, budget=Budget(200, 350))

    assert made.num_answer_tokens < 200
    assert made.max_new_tokens == made.num_answer_tokens + SPARE_TOKENS


def test_a_plan_says_how_long_a_call_of_others_may_last() -> None:
    """The first token and a line stay in time if one comes before it."""
    made = planned(FAST)

    assert made.quantum_ms > 0
    assert made.expected_first_ms + made.quantum_ms <= BUDGET.first_token_ms + 1e-6


def test_no_candidates_is_a_mistake_of_the_caller() -> None:
    """There is always a smallest prompt."""
    with pytest.raises(ValueError, match="no candidates"):
        plan(BUDGET, FAST, 0.0, [], 10)


@given(st.floats(1.0, 100_000.0), st.floats(0.1, 2_000.0), st.floats(0, 500), st.integers(1, 256), st.floats(1, 2_000))
def test_a_plan_that_fits_keeps_its_promise(
    per_s: float, decode_ms: float, queue_ms: float, most: int, answer_ms: float
) -> None:
    """By its own figures: first token, a line, and no more tokens than asked for."""
    budget = Budget(0.66 * answer_ms, answer_ms)
    made = planned(straight(per_s, decode_ms), budget=budget, queue_ms=queue_ms, most=most)

    assert 0 <= made.num_answer_tokens <= most
    assert 1 <= made.max_new_tokens <= most
    if made.fits:
        assert made.expected_first_ms <= budget.first_token_ms
        assert made.num_answer_tokens >= min(LINE_TOKENS, most) - 1
