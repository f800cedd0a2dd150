"""Playing a trace: answers go into later prompts, costs are summed beside the ideal."""

from concurrent.futures import Future

import pytest

from qcn_agent.benchmark.arms import Answer, Ask, Memory
from qcn_agent.benchmark.held import Held
from qcn_agent.benchmark.replay import Score, play, to_ask
from qcn_agent.benchmark.traces import TRACES, AnswerOf, Step, Trace, ideal, num_common


class CachingArm:
    """Remembers every path, or none; answers with the length of the prompt, again and again."""

    name = "caching"

    def __init__(self, *, remembers: bool) -> None:
        self._remembers = remembers
        self._paths: list[tuple[int, ...]] = []
        self.asked: list[Ask] = []

    def start(self) -> None:
        """Nothing to start."""

    def submit(self, ask: Ask) -> "Future[Answer]":
        """Answered at once."""
        self.asked.append(ask)
        cached = max((num_common(path, ask.prompt) for path in self._paths), default=0) if self._remembers else 0
        tokens = (len(ask.prompt),) * ask.num_new
        self._paths.append((*ask.prompt, *tokens))
        answered: Future[Answer] = Future()
        answered.set_result(Answer(tokens, len(ask.prompt) - cached, cached, 1.0, 1.0))
        return answered

    def memory(self) -> Memory:
        """Nothing held."""
        return Memory(Held(), 0.0)

    def kill(self) -> None:
        """Forget."""
        self._paths.clear()

    def close(self) -> None:
        """Nothing to stop."""


@pytest.mark.parametrize("name", ["agent", "retry", "two", "branch", "heads", "fim-between"])
def test_a_perfect_cache_is_ideal(name: str) -> None:
    """Who remembers everything evaluates exactly the ideal, on each trace that is counted over all paths."""
    played = play(TRACES[name](1), CachingArm(remembers=True))
    assert [answer.num_evaluated for answer in played.answers] == played.ideal
    assert played.score().ratio == 1.0


def test_no_cache_evaluates_everything() -> None:
    """Without memory each prompt is read whole."""
    played = play(TRACES["agent"](1), CachingArm(remembers=False))
    assert played.score().evaluated == sum(map(len, played.prompts))
    assert played.score().ratio > 10


def test_answers_go_into_later_prompts() -> None:
    """A side's own tokens stand where the trace wants its answer."""
    arm = CachingArm(remembers=True)
    play(Trace("t", (Step("s", ((1, 2),), 2), Step("s", ((1, 2), AnswerOf(0), (3,)))), ideal), arm)
    assert arm.asked[1].prompt == (1, 2, 2, 2, 3)
    assert arm.asked[1].boundaries == (2, 4, 5)


def test_other_sides_lengths_are_kept() -> None:
    """Both sides make the same number of tokens, also where one answer ended early."""
    trace = Trace("t", (Step("s", ((1,),), 8), Step("s", ((1, 2),), 8)), ideal)
    played = play(trace, CachingArm(remembers=True), (3, 8))
    assert played.num_new == (3, 8)


def test_score_by_label() -> None:
    """Steps labelled `base` are left out unless they are asked for."""
    steps = (Step("s", ((1, 2, 3),), label="base"), Step("s", ((1, 2, 3, 4),), label="x"), Step("s", ((5,),)))
    played = play(Trace("t", steps, ideal), CachingArm(remembers=False))
    assert played.score() == Score(5, 2)
    assert played.score("x") == Score(4, 1)
    assert played.score("base") == Score(3, 3)


def test_ratio_where_nothing_is_new() -> None:
    """Infinite when something was evaluated all the same."""
    assert Score(0, 0).ratio == 1.0
    assert Score(1, 0).ratio == float("inf")


def test_ask_of_a_completion() -> None:
    """What a step says reaches the request."""
    ask = to_ask(Step("s", ((1,), (2,)), 5, is_completion=True), [])
    assert ask == Ask("s", (1, 2), 5, (1, 2), is_completion=True)
