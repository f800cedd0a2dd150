"""A generation that is alone makes call after call within a step, and stops for whatever comes."""

from collections.abc import Callable

import pytest

from qcn_agent.engine.backend import DecodeError, Run
from qcn_agent.engine.generator import GenerationRequest, IntArray, Priority
from qcn_agent.engine.grammar import Grammar
from qcn_agent.engine.llama_backend import LlamaBackend
from qcn_agent.engine.sequence import SequenceState
from tests.fakes.desk import Desk

RandomTokens = Callable[[int, int], IntArray]
RequestFor = Callable[..., GenerationRequest]

ENDLESS = Grammar("root ::= [a-z] root")


@pytest.fixture
def desk(backend: LlamaBackend) -> Desk:
    """Over the embedded model."""
    return Desk(backend)


@pytest.fixture
def answer(request_for: RequestFor, random_tokens: RandomTokens) -> GenerationRequest:
    """A short prompt and a hundred tokens."""
    return request_for(random_tokens(40, 1), max_new_tokens=100, grammar=ENDLESS)


def test_a_call_a_token_in_few_steps(desk: Desk, answer: GenerationRequest) -> None:
    """One for the prompt, 99 for the tokens that are fed back; steps, tokens and calls agree."""
    _, recorder = desk.submit(answer)
    num_steps = desk.step_until(lambda: recorder.is_closed)
    assert len(desk.log.calls) == desk.scheduler.stats.num_steps == 100
    assert num_steps < 10
    usage = recorder.finished.usage
    assert (usage.num_generated_tokens, usage.num_evaluated_tokens) == (100, 40 + 99)


def test_who_comes_waits_for_one_call(
    desk: Desk, answer: GenerationRequest, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """A completion that is submitted in the middle of a call is the next one's."""
    generation, _ = desk.submit(answer)
    desk.step_until(lambda: len(generation.tokens) > 40)
    completion = request_for(random_tokens(8, 2), session="fim", priority=Priority.COMPLETION, max_new_tokens=1)
    desk.log.during_call = lambda: desk.submit(completion)
    num_calls = len(desk.log.calls)
    desk.scheduler.step()
    assert len(desk.log.calls) == num_calls + 1
    desk.scheduler.step()
    assert desk.log.calls[-1][0][1] == 8


def test_a_cancel_takes_one_call(desk: Desk, answer: GenerationRequest) -> None:
    """The call under way is the last one."""
    generation, recorder = desk.submit(answer)
    desk.step_until(lambda: len(generation.tokens) > 40)
    desk.log.during_call = generation.cancel
    num_calls = len(desk.log.calls)
    desk.finish()
    assert len(desk.log.calls) == num_calls + 1
    assert generation.state is SequenceState.CANCELLED
    assert recorder.is_closed


def test_what_was_drawn_before_a_call_fails_is_kept_and_counted(desk: Desk, answer: GenerationRequest) -> None:
    """The failure ends the answer, whose only member it had; the next request finds good states."""
    generation, recorder = desk.submit(answer)
    desk.step_until(lambda: len(generation.tokens) > 40)
    decode, remaining = desk.backend.decode, [3]

    def fail_once(runs: list[Run]) -> None:
        remaining[0] -= 1
        if not remaining[0]:
            raise DecodeError("forced")
        decode(runs)

    desk.backend.decode = fail_once  # type: ignore[method-assign, assignment]
    num_before = len(generation.tokens)
    desk.scheduler.step()
    assert isinstance(recorder.error, DecodeError)
    assert len(generation.tokens) == num_before + 2
    assert generation.num_evaluated_tokens == 40 + num_before + 2 - 1
    assert len(desk.run(answer)[0].tokens) == 100


def test_the_books_are_looked_after_in_between(desk: Desk, answer: GenerationRequest) -> None:
    """However long an answer is, no step makes more than 32 calls."""
    _, recorder = desk.submit(answer)
    while not recorder.is_closed:
        num_calls = len(desk.log.calls)
        desk.scheduler.step()
        assert len(desk.log.calls) - num_calls <= 32
