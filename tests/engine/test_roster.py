"""Branches are lent to the most urgent; who loses one goes on later as if nothing had happened."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from qcn_agent.engine.backend import DecodeError, NoBranchError, NoCellsError, Run
from qcn_agent.engine.generator import GenerationRequest, IntArray, PrefillProgress, Priority, SamplingParams
from qcn_agent.engine.grammar import Grammar
from qcn_agent.engine.llama_backend import LlamaBackend
from qcn_agent.engine.sequence import SequenceState
from qcn_agent.errors import ContextFullError, EngineError
from tests.fakes.desk import Desk

RandomTokens = Callable[[int, int], IntArray]
MakeBackend = Callable[..., LlamaBackend]

ENDLESS = Grammar("root ::= [a-z] root")


@pytest.fixture
def asks(request_for: Callable[..., GenerationRequest], random_tokens: RandomTokens) -> Callable[..., Any]:
    """`asks(name, num_tokens, ...)`: a greedy request of its own session."""

    def make(name: str, num_tokens: int = 50, **changes: Any) -> GenerationRequest:
        request = request_for(random_tokens(num_tokens, ord(name)), session=name, grammar=ENDLESS)
        return replace(request, sampling=SamplingParams(temperature=0), **changes)

    return make


@pytest.fixture
def crowded(make_backend: MakeBackend) -> Desk:
    """Four states, so at most two branches run."""
    return Desk(make_backend(), max_states=4)


def test_who_finds_no_branch_waits_for_an_end(crowded: Desk, asks: Callable[..., Any]) -> None:
    """The third of three equals starts when one of the others has ended, and all are served."""
    recorders = [crowded.submit(asks(name, max_new_tokens=count))[1] for name, count in (("a", 3), ("b", 30), ("c", 3))]
    crowded.step_until(lambda: recorders[2].received)
    assert (recorders[0].is_closed, recorders[1].is_closed) == (True, False)
    crowded.finish()
    assert [len(recorder.finished.tokens) for recorder in recorders] == [3, 30, 3]
    assert crowded.scheduler.stats.num_suspended == 0


@pytest.mark.parametrize("num_steps", [3, 5, 12], ids=["reading", "at the first token", "answering"])
def test_a_completion_takes_a_branch_and_gives_it_back(crowded: Desk, asks: Callable[..., Any], num_steps: int) -> None:
    """It is served at once, but for one call; who lost its branch gives its undisturbed answer."""
    undisturbed = [crowded.run(asks(name, 150, max_new_tokens=20))[0].tokens.tolist() for name in "ab"]
    for name in "ab":
        crowded.sessions.drop(name)
    recorders = [crowded.submit(asks(name, 150, max_new_tokens=20))[1] for name in "ab"]
    for _ in range(num_steps):
        crowded.scheduler.step()
    _, typed = crowded.submit(asks("t", 20, priority=Priority.COMPLETION))
    assert crowded.step_until(lambda: typed.is_closed) <= 2 + 7 + 1
    assert crowded.scheduler.stats.num_suspended == 1
    crowded.finish()
    assert [recorder.finished.tokens.tolist() for recorder in recorders] == undisturbed
    shown = [event.num_done_tokens for event in recorders[1].received if isinstance(event, PrefillProgress)]
    assert max(shown) == 150


def test_the_least_urgent_gives_way(crowded: Desk, asks: Callable[..., Any]) -> None:
    """A completion takes the branch of background work, not that of a person's younger request."""
    background, _ = crowded.submit(asks("z", priority=Priority.BACKGROUND, max_new_tokens=30))
    crowded.scheduler.step()
    person, _ = crowded.submit(asks("a", max_new_tokens=30))
    crowded.scheduler.step()
    _, typed = crowded.submit(asks("t", 20, priority=Priority.COMPLETION))
    crowded.scheduler.step()
    assert (background.state, person.state) == (SequenceState.WAITING, SequenceState.DECODE)
    crowded.finish()
    assert typed.finished.usage.steps_waited <= 1


def test_of_equals_that_of_the_same_session_gives_way(crowded: Desk, asks: Callable[..., Any]) -> None:
    """A completion in the session of a running request takes the branch that holds its own beginning."""
    older, younger = (crowded.submit(asks(name, max_new_tokens=30))[0] for name in "ab")
    crowded.scheduler.step()
    crowded.submit(replace(asks("t", 20, priority=Priority.COMPLETION), session="a"))
    crowded.scheduler.step()
    assert (older.state, younger.state) == (SequenceState.WAITING, SequenceState.PREFILL)
    crowded.finish()


def test_nobody_gives_way_to_an_equal(crowded: Desk, asks: Callable[..., Any]) -> None:
    """Two completions hold both branches: the third one waits."""
    recorders = [crowded.submit(asks(name, priority=Priority.COMPLETION))[1] for name in "abc"]
    crowded.finish()
    assert all(recorder.finished for recorder in recorders)
    assert crowded.scheduler.stats.num_suspended == 0


@pytest.mark.parametrize(("kind", "needs_room"), [(NoBranchError, False), (NoCellsError, True)])
def test_who_lacks_cells_waits_for_more_than_a_completion_s_end(
    crowded: Desk,
    asks: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    kind: type[NoBranchError],
    needs_room: bool,
) -> None:
    """Its path is long: to try again at each end of something small would read it back in vain."""
    crowded.submit(asks("a", max_new_tokens=3))
    crowded.scheduler.step()

    def none(_: GenerationRequest) -> Any:
        raise kind("no room")

    with monkeypatch.context() as patch:
        patch.setattr(crowded.sessions, "prepare", none)
        waiting, recorder = crowded.submit(asks("b", max_new_tokens=1))
        crowded.scheduler.step()
    assert (waiting.is_blocked, waiting.needs_room) == (True, needs_room)
    crowded.finish()
    assert recorder.finished.reason == "length"


def test_without_any_branch_a_request_fails(
    crowded: Desk, asks: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing runs whose end could help, so it does not wait for ever."""

    def none(_: GenerationRequest) -> Any:
        raise NoBranchError("every session is running")

    with monkeypatch.context() as patch:
        patch.setattr(crowded.sessions, "prepare", none)
        _, recorder = crowded.submit(asks("a"))
        assert not crowded.scheduler.step()
    assert isinstance(recorder.error, NoBranchError)
    crowded.run(asks("a"))


def test_when_the_cache_is_full_the_youngest_waits(make_backend: MakeBackend, asks: Callable[..., Any]) -> None:
    """Two requests that fit alone and not together are served one after the other, with their undisturbed answers."""
    desk = Desk(make_backend(n_ctx=512))
    undisturbed = [desk.run(asks(name, 300, max_new_tokens=60))[0].tokens.tolist() for name in "ab"]
    for name in "ab":
        desk.sessions.drop(name)
    recorders = [desk.submit(asks(name, 300, max_new_tokens=60))[1] for name in "ab"]
    desk.finish()
    assert [recorder.finished.tokens.tolist() for recorder in recorders] == undisturbed
    assert 1 <= desk.scheduler.stats.num_suspended <= 2


def test_completions_do_not_call_back_who_waits_for_room(make_backend: MakeBackend, asks: Callable[..., Any]) -> None:
    """Else each of them would make a long path be read again, in vain."""
    desk = Desk(make_backend(n_ctx=512))
    first, second = (desk.submit(asks(name, 300, max_new_tokens=60))[1] for name in "ab")
    desk.step_until(lambda: desk.scheduler.stats.num_suspended == 1)
    for name in "tuv":
        _, typed = desk.submit(asks(name, 20, priority=Priority.COMPLETION, max_new_tokens=2))
        desk.step_until(lambda typed=typed: typed.is_closed)  # type: ignore[misc]
    assert desk.scheduler.stats.num_suspended == 1
    desk.finish()
    assert len(first.finished.tokens) == len(second.finished.tokens) == 60


def test_a_request_that_does_not_fit_alone_fails(make_backend: MakeBackend, asks: Callable[..., Any]) -> None:
    """With ContextFullError, and the next one runs."""
    desk = Desk(make_backend(n_ctx=256))
    _, recorder = desk.submit(asks("a", 300))
    desk.finish()
    assert isinstance(recorder.error, ContextFullError)
    assert len(desk.run(asks("b", 100))[0].tokens) == 8


class Poisoned:
    """Makes each call fail that has a certain sequence in it, after llama.cpp computed it."""

    def __init__(self, backend: LlamaBackend, seq_id: int) -> None:
        self._decode, self._seq_id = backend.decode, seq_id
        self.is_on = True
        backend.decode = self.decode  # type: ignore[method-assign]

    def decode(self, runs: Sequence[Run]) -> None:
        """Decode, then fail."""
        self._decode(runs)
        if self.is_on and any(run.seq_id == self._seq_id for run in runs):
            raise DecodeError("poisoned")


def test_a_failed_common_call_fails_only_who_fails_alone(desk3: Desk, asks: Callable[..., Any]) -> None:
    """Each of the call is put back and tried once more by itself; the answers of the others are undisturbed."""
    undisturbed = {name: desk3.run(asks(name, max_new_tokens=12))[0].tokens.tolist() for name in "abc"}
    for name in "abc":
        desk3.sessions.drop(name)
    generations = {name: desk3.submit(asks(name, max_new_tokens=12)) for name in "abc"}
    desk3.step_until(lambda: len(desk3.log.calls[-1]) == 3 if desk3.log.calls else False)
    poisoned = generations["b"][0].session
    assert poisoned is not None
    Poisoned(desk3.backend, poisoned.seq_id)
    desk3.finish()
    assert isinstance(generations["b"][1].error, EngineError)
    for name in "ac":
        assert generations[name][1].finished.tokens.tolist() == undisturbed[name]


@pytest.fixture
def desk3(backend: LlamaBackend) -> Desk:
    """Three branches."""
    return Desk(backend)
