"""One step is one call of the model; costs are counted exactly; a cancel takes effect at the next step."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from qcn_agent.engine.generator import (
    Finished,
    GenerationRequest,
    IntArray,
    PrefillProgress,
    SamplingParams,
    TextDelta,
)
from qcn_agent.engine.grammar import Grammar
from qcn_agent.engine.llama_backend import LlamaBackend
from qcn_agent.engine.llama_cpp import api
from qcn_agent.engine.sequence import Sequence, SequenceState
from qcn_agent.errors import EngineError, QcnError, UsageError
from tests.fakes.desk import Desk, Recorder

RandomTokens = Callable[[int, int], IntArray]
RequestFor = Callable[..., GenerationRequest]

ENDLESS = Grammar("root ::= [a-z] root")


@pytest.fixture
def desk(backend: LlamaBackend) -> Desk:
    """Over the embedded model, chunks of 64 tokens."""
    return Desk(backend)


def test_each_turn_evaluates_only_its_new_tokens(
    desk: Desk, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """Over five turns: evaluated = new prompt tokens + generated tokens fed back, reused = all that was decoded."""
    path, decoded = random_tokens(100, 0), 0
    for turn in range(5):
        finished, _ = desk.run(request_for(path, max_new_tokens=12, grammar=ENDLESS, boundaries=(40, len(path) - 5)))
        usage = finished.usage
        assert usage.num_reused_tokens == decoded
        assert usage.num_evaluated_tokens == len(path) - decoded + 11
        assert usage.num_prompt_tokens == len(path)
        decoded = len(path) + 11
        path = np.concatenate([path, finished.tokens, random_tokens(30, turn + 1)])


def test_a_step_is_one_call(desk: Desk, request_for: RequestFor, random_tokens: RandomTokens) -> None:
    """150 tokens with a boundary at 70 take calls of 64, 6, 64 and 16, then one a token."""
    finished, recorder = desk.run(
        request_for(random_tokens(150, 1), max_new_tokens=3, boundaries=(70,), grammar=ENDLESS)
    )
    progress = [event.num_done_tokens for event in recorder.received if isinstance(event, PrefillProgress)]
    assert progress == [64, 70, 134, 150]
    assert finished.usage.num_generated_tokens == 3
    (session,) = desk.sessions.cache.kept.branches.values()
    assert session.ledger.splits == (64, 70, 134, 150, 151, 152)


def test_deltas_carry_all_tokens_and_all_text(desk: Desk, request_for: RequestFor, random_tokens: RandomTokens) -> None:
    """The tokens of the deltas are the tokens of the answer, the end token included, and the texts join to it."""
    grammar = Grammar('root ::= "grün ✓ done"')
    finished, recorder = desk.run(request_for(random_tokens(20, 1), max_new_tokens=40, grammar=grammar))
    deltas = [event for event in recorder.received if isinstance(event, TextDelta)]
    assert [token for delta in deltas for token in delta.tokens] == finished.tokens.tolist()
    assert "".join(delta.text for delta in deltas) == "grün ✓ done"
    assert finished.reason == "stop"
    assert desk.backend.is_end(int(finished.tokens[-1]))


def test_a_stop_string_ends_the_answer(desk: Desk, request_for: RequestFor, random_tokens: RandomTokens) -> None:
    """Text before it is shown, nothing of it is."""
    grammar = Grammar('root ::= "first\\nsecond\\nthird"')
    finished, recorder = desk.run(
        request_for(random_tokens(20, 1), max_new_tokens=40, grammar=grammar, stop=("\nsec",))
    )
    assert "".join(event.text for event in recorder.received if isinstance(event, TextDelta)) == "first"
    assert finished.reason == "stop"


@pytest.mark.parametrize("num_steps", [1, 2, 6, 9])
def test_a_cancel_takes_effect_at_the_next_step(
    desk: Desk, request_for: RequestFor, random_tokens: RandomTokens, num_steps: int
) -> None:
    """In prefill and in decode alike: not one token is evaluated after it, and the stream ends without an error."""
    sequence, recorder = desk.submit(
        request_for(random_tokens(300, 1), max_new_tokens=100, boundaries=(30,), grammar=ENDLESS)
    )
    for _ in range(num_steps):
        desk.scheduler.step()
    evaluated = desk.scheduler.stats.num_evaluated_tokens
    sequence.cancel()
    assert not desk.scheduler.step()
    assert desk.scheduler.stats.num_evaluated_tokens == evaluated > 0
    assert sequence.state is SequenceState.CANCELLED
    assert (recorder.is_closed, recorder.error) == (True, None)
    desk.sessions.check_integrity()


def test_what_a_cancelled_request_read_is_reused(
    desk: Desk, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """A cancelled prefill is not lost: the same prompt goes on where it stopped."""
    prompt = random_tokens(300, 1)
    sequence, _ = desk.submit(request_for(prompt))
    for _ in range(3):
        desk.scheduler.step()
    sequence.cancel()
    finished, _ = desk.run(request_for(prompt))
    assert finished.usage.num_reused_tokens == 192


def test_a_request_cancelled_in_the_queue_costs_nothing(
    desk: Desk, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """It is put away when its turn comes."""
    sequence, recorder = desk.submit(request_for(random_tokens(50, 1)))
    sequence.cancel()
    assert not desk.scheduler.step()
    assert recorder.is_closed
    assert desk.scheduler.stats.num_evaluated_tokens == 0


def test_requests_run_side_by_side(desk: Desk, request_for: RequestFor, random_tokens: RandomTokens) -> None:
    """Two people's prompts are read in turns, then their tokens are drawn after common calls, one row each."""
    requests = [
        request_for(random_tokens(20, seed), session=name, max_new_tokens=5, grammar=ENDLESS)
        for seed, name in enumerate("ab")
    ]
    first, second = (desk.submit(request)[1] for request in requests)
    assert desk.scheduler.queue_length == 2
    num_steps = 0
    while desk.scheduler.step():
        num_steps += 1
    assert num_steps == 2 + 4  # a call for each prompt, which draws the first token; then four more tokens
    assert desk.scheduler.queue_length == 0
    assert all(isinstance(recorder.received[-1], Finished) for recorder in (first, second))


def test_each_row_gets_its_own_logprobs(desk: Desk, request_for: RequestFor, random_tokens: RandomTokens) -> None:
    """Two greedy answers from common calls: each token is the likeliest of its own row, and reported as such."""
    greedy = SamplingParams(temperature=0, top_logprobs=1)
    recorders = [
        desk.submit(request_for(random_tokens(20, seed), session=name, sampling=greedy))[1]
        for seed, name in enumerate("ab")
    ]
    desk.finish()
    for recorder in recorders:
        found = [lp for event in recorder.received if isinstance(event, TextDelta) for lp in event.logprobs]
        assert [lp.token for lp in found] == recorder.finished.tokens.tolist()
        assert all(lp.top == ((lp.token, lp.logprob),) for lp in found)


def test_the_same_seed_draws_the_same_tokens_and_another_does_not(
    desk: Desk, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """Also when the first draw came from a cold cache and the second from a warm one."""
    prompt = random_tokens(90, 1)

    def draw(seed: int) -> list[int]:
        hot = SamplingParams(temperature=1.5, top_k=0, top_p=1.0, seed=seed)
        request = request_for(prompt, max_new_tokens=20, sampling=hot)
        return [int(token) for token in desk.run(request)[0].tokens]

    first = draw(1)
    assert draw(1) == first
    assert draw(2) != first


def test_randomness_belongs_to_positions(desk: Desk, request_for: RequestFor, random_tokens: RandomTokens) -> None:
    """Stopping after five tokens and going on with the same seed gives the answer that was not stopped."""
    prompt, hot = random_tokens(90, 1), SamplingParams(temperature=1.5, top_k=0, top_p=1.0, seed=3)
    whole = desk.run(request_for(prompt, max_new_tokens=12, sampling=hot))[0].tokens
    head = desk.run(request_for(prompt, max_new_tokens=5, sampling=hot))[0].tokens
    rest = desk.run(request_for(np.concatenate([prompt, head]), max_new_tokens=7, sampling=hot))[0].tokens
    assert np.concatenate([head, rest]).tolist() == whole.tolist()


def test_a_failed_call_fails_the_request_and_saves_the_session(
    desk: Desk, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """The error reaches the consumer, and the next request starts from the last snapshot."""
    prompt = random_tokens(140, 1)
    desk.run(request_for(prompt[:100], boundaries=(60,)))
    calls = iter(range(10_000))
    abort = api.ggml_abort_callback(lambda _: next(calls) > 40)
    api.llama_set_abort_callback(desk.backend._context, abort, None)
    _, recorder = desk.submit(request_for(prompt, boundaries=(60,)))
    while desk.scheduler.step():
        pass
    api.llama_set_abort_callback(desk.backend._context, api.ggml_abort_callback(0), None)
    assert isinstance(recorder.error, EngineError)
    desk.sessions.check_integrity()
    finished, _ = desk.run(request_for(prompt, boundaries=(60,)))
    assert finished.usage.num_reused_tokens == 100


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"grammar": Grammar("root ::= (")}, EngineError),
        ({"grammar": Grammar("root ::= [a]", triggers=("(",))}, EngineError),
        ({"sampling": SamplingParams(temperature=-1)}, UsageError),
    ],
)
def test_a_request_that_can_t_start_fails_alone(
    desk: Desk, request_for: RequestFor, random_tokens: RandomTokens, changes: dict[str, Any], error: type[QcnError]
) -> None:
    """Its error is delivered and the next request runs."""
    _, recorder = desk.submit(request_for(random_tokens(20, 1), **changes))
    while desk.scheduler.step():
        pass
    assert isinstance(recorder.error, error)
    desk.run(request_for(random_tokens(20, 1)))


def test_a_session_is_dropped_when_nothing_of_it_runs(
    desk: Desk, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """A drop that was asked for in the middle of a request takes effect after it; an idle session goes at once."""
    desk.run(request_for(random_tokens(20, 1), session="idle"))
    desk.submit(request_for(random_tokens(20, 2), session="busy", max_new_tokens=2, grammar=ENDLESS))
    desk.scheduler.step()
    desk.scheduler.drop_session("idle")
    desk.scheduler.drop_session("busy")
    desk.scheduler.step()
    assert [session.name for session in desk.sessions.sessions] == ["busy"]
    while desk.scheduler.step():
        pass
    assert desk.sessions.sessions == ()


def test_a_session_that_can_not_be_forgotten_is_tried_once(
    desk: Desk, request_for: RequestFor, random_tokens: RandomTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Later requests of others are served."""
    desk.run(request_for(random_tokens(20, 1), session="idle"))

    def broken(_: str) -> None:
        raise MemoryError

    monkeypatch.setattr(desk.sessions, "drop", broken)
    desk.scheduler.drop_session("idle")
    with pytest.raises(MemoryError):
        desk.scheduler.step()
    finished, _ = desk.run(request_for(random_tokens(20, 2), session="other"))
    assert finished.reason in ("stop", "length")


def test_closing_ends_what_waits_and_refuses_more(
    desk: Desk, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """The thread is gone afterwards, and every stream is closed with an error."""
    recorders = [
        desk.submit(request_for(random_tokens(20, seed), max_new_tokens=1500, grammar=ENDLESS))[1] for seed in (1, 2)
    ]
    desk.scheduler.start()
    desk.scheduler.close()
    assert all(isinstance(recorder.error, EngineError) for recorder in recorders)
    assert "qcn-engine" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(EngineError, match="closed"):
        desk.submit(request_for(random_tokens(20, 1)))


@pytest.mark.parametrize("broken_parts", [("prepare",), ("extend", "release"), ("extend", "drop")])
def test_an_unforeseen_error_fails_one_request_and_not_the_thread(
    desk: Desk,
    request_for: RequestFor,
    random_tokens: RandomTokens,
    monkeypatch: pytest.MonkeyPatch,
    broken_parts: tuple[str, ...],
) -> None:
    """The border of the thread turns a bug into an EngineError, even where it can't clean up; the next is served."""
    done = threading.Event()

    class Last(Recorder):
        def close(self, error: Exception | None = None) -> None:
            super().close(error)
            done.set()

    def broken(*_: object) -> IntArray:
        raise ZeroDivisionError("bug")

    with monkeypatch.context() as patch:
        for part in broken_parts:
            patch.setattr(desk.sessions, part, broken)
        failing = Last()
        desk.scheduler.submit(Sequence(request_for(random_tokens(20, 1)), failing))
        desk.scheduler.start()
        assert done.wait(30)
    assert isinstance(failing.error, EngineError)
    assert "ZeroDivisionError" in str(failing.error)
    done.clear()
    good = Last()
    desk.scheduler.submit(Sequence(request_for(random_tokens(20, 1)), good))
    assert done.wait(30)
    desk.scheduler.close()
    assert isinstance(good.received[-1], Finished)
