"""What is made of keys and their replies."""

import pytest

from tests.bench.lsp_bench import added, row, targets_of, times_of
from tests.bench.typing_traces import Cursor, typed
from tests.bench.typist import Key, pauses_of


def keys(*times_ms: float) -> list[Key]:
    """Keys with replies that show something."""
    return [Key(1.0, 1.0 + time / 1e3, "text") for time in times_ms]


def test_only_replies_that_show_something_have_a_time() -> None:
    """Neither what was cancelled nor what was empty."""
    found = [*keys(5.0), Key(1.0), Key(1.0, 1.1, "")]
    assert times_of(found) == [pytest.approx(5.0)]


@pytest.mark.parametrize(("busy_ms", "expected"), [(120.0, True), (140.0, False)])
def test_the_agent_may_cost_three_tenths(busy_ms: float, expected: bool) -> None:
    """Of the time of a reply."""
    (target,) = targets_of({"idle": keys(100.0), "agent": keys(busy_ms)})
    assert target.is_met is expected


def test_without_replies_nothing_is_met() -> None:
    """Silence does not win."""
    assert not targets_of({"idle": [], "agent": []})[0].is_met


def test_many_hits_are_judged_on_their_own() -> None:
    """They come without the model."""
    _, hits = targets_of({"idle": keys(*[3.0] * 30, 100.0), "agent": keys(100.0)})
    assert hits.is_met


def test_counters_add_up_over_rounds() -> None:
    """By what came between two looks."""
    counters: dict[str, float] = {}
    added(counters, {}, {"engine_starts": 2.0})
    added(counters, {"engine_starts": 2.0}, {"engine_starts": 5.0, "evaluated_tokens": 7.0})
    assert counters == {"engine_starts": 5.0, "evaluated_tokens": 7.0}
    assert row("idle", keys(1.0, 2.0), counters)[-2:] == ["3.5", "2.50"]


def test_pauses_are_before_words() -> None:
    """Every third one."""
    lines = typed(Cursor("", "one two three four five six", ""))
    begun = [lines[number - 1].split()[-1] for number in sorted(pauses_of(lines))]
    assert begun == ["t", "f"]
