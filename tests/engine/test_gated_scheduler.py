"""Two schedulers at one gate, over two contexts of the embedded model; the test makes the steps of each."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from qcn_agent.config import SchedulerConfig
from qcn_agent.engine.gated_scheduler import GatedScheduler
from qcn_agent.engine.generator import GenerationRequest, IntArray, Priority
from qcn_agent.engine.grammar import Grammar
from qcn_agent.engine.llama_backend import LlamaBackend
from qcn_agent.engine.policy import Turn
from qcn_agent.engine.sequence import Sequence
from qcn_agent.engine.session import SessionManager
from qcn_agent.engine.turnstile import Side, Turnstile
from qcn_agent.errors import EngineError
from tests.fakes.desk import Recorder

MakeBackend = Callable[..., LlamaBackend]
RandomTokens = Callable[[int, int], IntArray]
RequestFor = Callable[..., GenerationRequest]

ENDLESS = Grammar("root ::= [a-z] root")


class Half:
    """One context and its scheduler, with the requests that it named before its calls."""

    def __init__(self, backend: LlamaBackend, side: Side) -> None:
        self.backend, self.side = backend, side
        self.entered: list[int] = []  # how many requests were named, each time
        self.scheduler = GatedScheduler(
            backend, SessionManager(backend, 9), {}, SchedulerConfig(), side, on_enter=self._enter
        )

    def _enter(self, requests: Any) -> None:
        self.entered.append(len(tuple(requests)))

    def submit(self, request: GenerationRequest) -> Recorder:
        """Queue it."""
        recorder = Recorder()
        self.scheduler.submit(Sequence(request, recorder))
        return recorder

    def finish(self) -> None:
        """Step until nothing is left."""
        while self.scheduler.step():
            pass


@pytest.fixture
def halves(make_backend: MakeBackend) -> Iterator[tuple[Half, Half]]:
    """The agent's and the completions'."""
    gate = Turnstile(0.3)
    agent, typing = (Half(make_backend(), gate.side()) for _ in range(2))
    yield agent, typing
    for half in (agent, typing):
        half.scheduler.close()


@pytest.fixture
def completion(request_for: RequestFor, random_tokens: RandomTokens) -> GenerationRequest:
    """30 tokens of prompt, 8 of answer."""
    return request_for(random_tokens(30, 1), session="typing", grammar=ENDLESS, priority=Priority.COMPLETION)


def test_a_side_is_busy_from_its_first_request_to_its_last_step(
    halves: tuple[Half, Half], completion: GenerationRequest
) -> None:
    """So that others wait for completions between their calls, and never for one that is over."""
    _, typing = halves
    recorder = typing.submit(completion)
    assert typing.side.is_busy
    while not recorder.is_closed:
        assert typing.side.is_busy
        typing.scheduler.step()
    assert not typing.side.is_busy


def test_a_request_that_is_refused_makes_nobody_busy(halves: tuple[Half, Half], completion: GenerationRequest) -> None:
    """After `close`."""
    _, typing = halves
    typing.scheduler.close()
    with pytest.raises(EngineError, match="closed"):
        typing.submit(completion)
    assert not typing.side.is_busy


def test_the_wait_at_the_gate_is_no_part_of_a_call(
    halves: tuple[Half, Half], request_for: RequestFor, random_tokens: RandomTokens, completion: GenerationRequest
) -> None:
    """The agent stands there until a completion is over: it is named only for its own call, and learns its own time."""
    agent, typing = halves
    typing.submit(completion)
    typing.scheduler.step()
    agent.submit(request_for(random_tokens(40, 2), max_new_tokens=1))
    thread = threading.Thread(target=agent.finish)
    thread.start()
    while not agent.side.is_at_gate:
        thread.join(0)
    assert agent.entered[-1] == 0
    assert not agent.scheduler.times.call_s(40)
    typing.finish()
    thread.join(30)
    assert agent.scheduler.stats.num_steps == 1
    assert max(agent.entered) == 1
    assert agent.side.turn is Turn.FIRST_TOKEN
    assert typing.scheduler.stats.num_steps == 8


def test_a_completion_that_waited_says_so(
    halves: tuple[Half, Half], request_for: RequestFor, random_tokens: RandomTokens, completion: GenerationRequest
) -> None:
    """It came in the middle of a call of the other context: one step waited, in its usage and in the statistics."""
    agent, typing = halves
    decode, recorders = agent.backend.decode, list[Recorder]()

    def decode_and_type(runs: Any) -> None:
        if not recorders:
            recorders.append(typing.submit(completion))
        decode(runs)

    agent.backend.decode = decode_and_type  # type: ignore[method-assign]
    agent.submit(request_for(random_tokens(40, 2), max_new_tokens=1))
    agent.finish()
    typing.finish()
    assert recorders[0].finished.usage.steps_waited == 1
    assert typing.scheduler.stats.max_completion_steps_waited == 1


def test_completions_elsewhere_shorten_long_calls(halves: tuple[Half, Half], completion: GenerationRequest) -> None:
    """While someone types, and for five seconds after, the quantum is the typing one."""
    agent, typing = halves
    before = agent.scheduler._quantum_s()
    typing.submit(completion)
    typing.finish()
    assert (before, agent.scheduler._quantum_s()) == (1.0, 0.05)


def test_what_is_owed_elsewhere_is_not_cut_short(
    halves: tuple[Half, Half], request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """A call that pays the agent back runs to its end, and may be as long as the debt."""
    agent, _ = halves
    agent.submit(request_for(random_tokens(200, 2)))
    agent.scheduler.step()
    (sequence,) = agent.scheduler._roster.live
    agent.scheduler.times.add_prefill(64, 1.0)
    assert agent.scheduler._pays_to_abort(sequence, 64)
    agent.side.gate._turns.ran({Turn.COMPLETION}, {Turn.DECODE}, 0.7)
    assert not agent.scheduler._pays_to_abort(sequence, 64)
    assert agent.side.gate.owed_s == pytest.approx(0.3)
    agent.side.gate.completion_at = agent.side.gate.clock()
    assert agent.scheduler._quantum_s() == pytest.approx(0.3)


def test_an_unforeseen_error_leaves_no_side_busy(
    halves: tuple[Half, Half], completion: GenerationRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other side would wait for a completion that has ended."""
    agent, typing = halves

    def broken(*_: object) -> None:
        raise ZeroDivisionError("bug")

    with monkeypatch.context() as patch:
        patch.setattr(typing.scheduler._sessions, "extend", broken)
        recorder = typing.submit(completion)
        with pytest.raises(ZeroDivisionError):
            typing.finish()
        typing.scheduler._blame(EngineError("internal error"))  # as the thread's loop does
    assert isinstance(recorder.error, EngineError)
    assert not typing.side.is_busy
    answered = agent.submit(completion)
    agent.finish()
    assert answered.finished.reason == "length"
