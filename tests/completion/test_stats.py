"""Counters and times."""

import json

import pytest

from qcn_agent.completion.stats import CompletionStats, quantiles


def test_quantiles_are_by_nearest_rank() -> None:
    """Values that occurred; none without any."""
    assert quantiles(range(1, 101)) == {"p50": 50, "p95": 95, "p99": 99}
    assert quantiles([7.0]) == {"p50": 7.0, "p95": 7.0, "p99": 7.0}
    assert quantiles([]) == {"p50": None, "p95": None, "p99": None}


def test_the_budget_is_judged_over_what_passed_the_gates() -> None:
    """What was refused, filtered, overtaken or cancelled doesn't count; a late answer does, shown or not."""
    stats = CompletionStats()
    for _ in range(8):
        stats.request()
    stats.refused("huge_file")
    stats.nothing("overtaken")
    stats.replied("model", 200.0, is_in_time=True)
    stats.replied("cache", 1.0, is_in_time=True)
    stats.replied("model", 800.0, is_in_time=False)
    stats.nothing("minimum")
    stats.nothing("cancelled")
    stats.nothing("late")

    status = stats.status()

    assert status["budget_kept"] == pytest.approx(2 / 4)
    assert status["refused_share"] == pytest.approx(1 / 8)
    assert status["hit_rate"] == pytest.approx(1 / 3)
    assert status["hit_ms"]["p99"] == 1.0
    assert status["dropped"] == {"overtaken": 1, "minimum": 1, "cancelled": 1, "late": 1}


def test_tokens_that_nobody_saw_go_by_characters() -> None:
    """Half of the text shown: half of the tokens unseen."""
    stats = CompletionStats()
    stats.counters.update(generated_tokens=40, generated_chars=200, shown_chars=100)

    assert stats.num_unseen_tokens == 20


def test_an_empty_status_is_json() -> None:
    """No rates of nothing."""
    status = CompletionStats().status()

    assert json.loads(json.dumps(status)) == status
    assert status["budget_kept"] is None
