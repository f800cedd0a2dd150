"""Restarts: what is asked before and after, and what counts as lost or wrong."""

import pytest

from qcn_agent.benchmark.arms import Answer
from qcn_agent.benchmark.replay import Score
from tests.bench.restart import Crash, Turn, first_turn, next_turn, score, wrong_tokens


def answered(tokens: tuple[int, ...], num_evaluated: int) -> Answer:
    """An answer of no duration."""
    return Answer(tokens, num_evaluated, 0, 0.0, 0.0)


def test_next_turn_goes_on() -> None:
    """Prompt, answer, message; the ends of each are boundaries."""
    turn = Turn(first_turn("s", (1, 2, 3)), answered((8, 9), 3))
    ask = next_turn(turn, (4, 5))
    assert ask.prompt == (1, 2, 3, 8, 9, 4, 5)
    assert ask.boundaries == (3, 5, 7)
    assert ask.session == "s"


def test_score_counts_the_turns_after() -> None:
    """Ideal is the message alone; evaluating everything again shows."""
    before = [Turn(first_turn("s", (1, 2, 3)), answered((8, 9), 3))]
    after = [Turn(next_turn(before[0], (4, 5)), answered((7,), 7))]
    assert score(before, after) == Score(7, 2)


@pytest.mark.parametrize(
    ("answer", "right", "count"), [((1, 2), (1, 2), 0), ((1, 3), (1, 2), 1), ((1,), (1, 2), 1), ((), (1, 2), 2)]
)
def test_wrong_tokens(answer: tuple[int, ...], right: tuple[int, ...], count: int) -> None:
    """Those that differ, are missing or too many."""
    assert wrong_tokens([answer], [right]) == count


@pytest.mark.parametrize(
    ("evaluated", "pending", "is_bounded"), [(500, None, True), (501, None, False), (600, 100, True), (601, 100, False)]
)
def test_crash_may_cost_what_was_pending(evaluated: int, pending: int | None, is_bounded: bool) -> None:
    """An engine that doesn't say what is pending may lose nothing."""
    assert Crash(Score(evaluated, 500), pending, 0).is_bounded is is_bounded
