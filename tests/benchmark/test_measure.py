"""What is measured of a side."""

import json
from collections import Counter

import pytest

from qcn_agent.benchmark.arms import Answer
from qcn_agent.benchmark.local import LocalArm
from qcn_agent.benchmark.measure import TRACE_NAMES, Plan, decode_rate, measure
from qcn_agent.benchmark.traces import TRACES, Tokens


def longest(shrink: int) -> int:
    """Tokens of the longest prompt and answer of all traces."""
    sizes = []
    for name in TRACE_NAMES:
        answers: list[Tokens] = []
        for step in TRACES[name](1, shrink).steps:
            sizes.append(len(step.prompt(answers)) + step.num_new)
            answers.append((9999,) * step.num_new)
    return max(sizes)


@pytest.mark.parametrize("n_ctx", [512, 2048, 4096, 32768])
@pytest.mark.parametrize("is_quick", [False, True])
def test_everything_fits_into_the_context(n_ctx: int, is_quick: bool) -> None:
    """However small it is, within reason."""
    plan = Plan.of(7, n_ctx, is_quick=is_quick)
    assert longest(plan.shrink) <= n_ctx
    assert plan.num_cold_tokens + 8 + 32 + plan.num_decoded_tokens <= n_ctx
    assert plan.num_rounds % 2 == 1


def test_shrinking_keeps_what_a_trace_is_about() -> None:
    """As many steps, the same sessions and labels, other lengths."""
    for make in TRACES.values():
        whole, small = make(3), make(3, 4)
        kinds = [Counter((s.session, s.label, s.num_new) for s in trace.steps) for trace in (whole, small)]
        assert kinds[0] == kinds[1]
        assert len(small.steps[0].prompt([])) < len(whole.steps[0].prompt([])) / 3


def test_a_real_engine_is_measured(local: LocalArm) -> None:
    """All traces, all times, in JSON; nothing is below its ideal by more than the answers' first tokens."""
    lines: list[str] = []
    plan = Plan(7, shrink=16, num_rounds=1, num_cold_tokens=200, num_decoded_tokens=32)
    figures, num_new = measure(local, plan, lines.append)
    assert [line.partition(": ")[2] for line in lines] == [*TRACE_NAMES, "times"]
    assert set(num_new) == set(TRACE_NAMES)
    assert all(score.ratio > 0.9 for score in figures.scores.values())
    assert figures.scores["agent"].ratio < 1.2
    times = figures.times
    assert times.cold_ms > times.next_turn_ms > times.again_ms > 0
    assert times.prefill_tokens_per_s > times.decode_tokens_per_s > 0
    shown = json.loads(json.dumps(figures.to_json()))
    assert shown["scores"]["agent"]["ratio"] == figures.scores["agent"].ratio
    assert shown["resident_mib"] > 50


def test_the_rate_is_that_after_the_first_token() -> None:
    """Ten tokens in half a second; one event has no rate."""
    answer = Answer((), 0, 0, 1500.0, 1000.0, times_ms=((1000.0, 2), (1200.0, 5), (1500.0, 12)))
    assert decode_rate(answer) == pytest.approx(20.0)
    assert decode_rate(Answer((), 0, 0, 1.0, 1.0, times_ms=((1.0, 1),))) == 0.0
