"""Whose turn it is: completions wait for one call at most, nobody starves, a newer completion ends an older one."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qcn_agent.config import SchedulerConfig
from qcn_agent.engine import decoding
from qcn_agent.engine.backend import Run
from qcn_agent.engine.generator import (
    Finished,
    FloatArray,
    GenerationRequest,
    IntArray,
    PrefillProgress,
    Priority,
    SamplingParams,
)
from qcn_agent.engine.grammar import Grammar
from qcn_agent.engine.llama_backend import LlamaBackend
from qcn_agent.engine.llama_cpp import api
from qcn_agent.engine.sequence import SequenceState
from tests.fakes.desk import Desk, Recorder

RandomTokens = Callable[[int, int], IntArray]
RequestFor = Callable[..., GenerationRequest]
MakeBackend = Callable[..., LlamaBackend]

ENDLESS = Grammar("root ::= [a-z] root")
ABORTABLE = SchedulerConfig(abort_ms=0.001)


@pytest.fixture
def desk(backend: LlamaBackend) -> Desk:
    """Over the embedded model, chunks of 64 tokens, which take 68 ms."""
    return Desk(backend)


@pytest.fixture
def one_call_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a test can act between two calls for the same answer."""
    monkeypatch.setattr(decoding, "_MAX_CALLS", 1)


@pytest.fixture
def completion(request_for: RequestFor, random_tokens: RandomTokens) -> RequestFor:
    """`completion(seed, ...)`: 30 tokens of prompt, 8 of answer, in session "typing"."""

    def make(seed: int, **changes: Any) -> GenerationRequest:
        request = request_for(random_tokens(30, seed), session="typing", grammar=ENDLESS)
        return replace(request, priority=Priority.COMPLETION, **changes)

    return make


@pytest.fixture
def agent(request_for: RequestFor, random_tokens: RandomTokens) -> RequestFor:
    """`agent(num_tokens, ...)`: a long prompt in session "agent"."""

    def make(num_tokens: int, seed: int = 99, **changes: Any) -> GenerationRequest:
        return replace(request_for(random_tokens(num_tokens, seed), session="agent", grammar=ENDLESS), **changes)

    return make


def test_a_completion_waits_for_the_call_under_way_and_no_other(
    desk: Desk, agent: RequestFor, completion: RequestFor
) -> None:
    """It comes in the middle of another one's chunk: that chunk ends, then all calls are its own up to its end."""
    desk.submit(agent(1000))
    desk.step_until(lambda: len(desk.log.calls) == 2)
    arrived: list[Recorder] = []
    desk.log.during_call = lambda: arrived.append(desk.submit(completion(1))[1])
    desk.scheduler.step()
    num_steps = desk.step_until(lambda: arrived[0].is_closed)
    assert num_steps == 1 + 7  # 30 tokens (and the first drawn), seven more
    assert arrived[0].finished.usage.steps_waited == 1


def test_a_completion_waits_at_most_one_call_whatever_goes_on(
    make_backend: MakeBackend, agent: RequestFor, completion: RequestFor, random_tokens: RandomTokens
) -> None:
    """A hundred completions of two editors among decodes, long prefills and background work: none waits for two."""
    desk, random = Desk(make_backend(max_states=12), max_states=12), np.random.default_rng(3)
    for name, num_tokens in (("a", 60), ("b", 1200), ("c", 200)):
        desk.submit(agent(num_tokens, session=name, max_new_tokens=100))
    desk.submit(agent(300, 5, session="d", priority=Priority.BACKGROUND))
    recorders: list[Recorder] = []
    for seed in range(100):
        request = replace(completion(seed), session=f"editor{seed % 2}", max_new_tokens=int(random.integers(1, 12)))
        if random.random() < 0.5:
            desk.log.during_call = lambda request=request: recorders.append(desk.submit(request)[1])
        else:
            recorders.append(desk.submit(request)[1])
        for _ in range(int(random.integers(1, 12))):
            desk.scheduler.step()
    desk.finish()
    ended = [r.finished.usage for r in recorders if r.received and isinstance(r.received[-1], Finished)]
    assert len(ended) > 20
    assert max(usage.steps_waited for usage in ended) == 1
    assert desk.scheduler.stats.max_completion_steps_waited == 1


@pytest.mark.parametrize("num_tokens", [60, 1900], ids=["decodes", "reads"])
def test_a_flood_of_completions_leaves_the_agent_its_share(
    desk: Desk, agent: RequestFor, completion: RequestFor, num_tokens: int
) -> None:
    """A new completion stands ready whenever one ends; still the agent is in 30% of the busy time of any two seconds.

    The last call of a window may lie beyond its end: hence the margin of one chunk.
    """
    sequence, _ = desk.submit(agent(num_tokens, max_new_tokens=2040 - num_tokens))
    served: list[tuple[float, float]] = []  # (when a step ended, the agent's part of it)
    seed, current = 0, desk.submit(completion(0))[1]
    while desk.log.now < 106.0 and sequence.state is not SequenceState.FINISHED:
        if current.is_closed:
            seed, current = seed + 1, desk.submit(completion(seed + 1, session=f"k{seed}"))[1]
        before = desk.log.now
        desk.scheduler.step()
        is_in_it = sequence.session is not None and sequence.session.seq_id in dict(desk.log.calls[-1])
        served.append((desk.log.now, (desk.log.now - before) * is_in_it))
    starts = np.arange(100.0, desk.log.now - 2, 0.1)
    windows = [sum(part for end, part in served if start < end <= start + 2.0) for start in starts]
    assert seed > 10
    assert min(windows) >= 0.6 - 0.068
    assert desk.scheduler.stats.max_completion_steps_waited <= 1


@pytest.mark.usefixtures("one_call_a_step")
def test_what_a_person_waits_for_goes_before_running_decodes(
    desk: Desk, agent: RequestFor, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """A short prompt is read at once, in one call, then both draw from common calls."""
    desk.submit(agent(20, max_new_tokens=50))
    desk.step_until(lambda: len(desk.log.calls) == 6)
    _, asked = desk.submit(request_for(random_tokens(40, 1), session="chat", max_new_tokens=3, grammar=ENDLESS))
    desk.step_until(lambda: asked.is_closed)
    assert [len(call) for call in desk.log.calls[6:]] == [1, 2, 2]
    assert asked.finished.usage.steps_waited == 0


@pytest.mark.usefixtures("one_call_a_step")
def test_a_long_prefill_and_decodes_take_turns(
    desk: Desk, agent: RequestFor, request_for: RequestFor, random_tokens: RandomTokens
) -> None:
    """While a prompt of 640 tokens is read, the running answer gets about half of the time, never in the same call."""
    _, answer = desk.submit(agent(20, max_new_tokens=400))
    desk.step_until(lambda: len(desk.log.calls) == 4)
    _, reading = desk.submit(request_for(random_tokens(641, 1), session="chat", max_new_tokens=1, grammar=ENDLESS))
    desk.step_until(lambda: reading.is_closed)
    calls = desk.log.calls[4:]
    assert all(len(call) == 1 for call in calls)
    reading_ms = sum(4 + n for ((seq, n),) in calls if n > 1)
    decoding_ms = sum(5 for ((seq, n),) in calls if n == 1)
    assert decoding_ms == pytest.approx(reading_ms, rel=0.25)
    assert not answer.is_closed


def test_several_long_prefills_share_fairly(desk: Desk, agent: RequestFor, random_tokens: RandomTokens) -> None:
    """Three prompts of 500 tokens advance together: none is ever more than a chunk and its own short rest ahead."""
    recorders = [desk.submit(agent(500, ord(name), session=name, max_new_tokens=1))[1] for name in "abc"]
    while not any(recorder.is_closed for recorder in recorders):
        desk.scheduler.step()
        done = [_progress(recorder) for recorder in recorders]
        assert max(done) - min(done) <= 128


def _progress(recorder: Recorder) -> int:
    return max((e.num_done_tokens for e in recorder.received if isinstance(e, PrefillProgress)), default=0)


def test_background_work_runs_when_nothing_else_does(
    desk: Desk, agent: RequestFor, random_tokens: RandomTokens
) -> None:
    """It does not even take a branch while a person's request runs, and is served after it."""
    _, background = desk.submit(agent(100, session="index", priority=Priority.BACKGROUND, max_new_tokens=2))
    _, asked = desk.submit(agent(100, 1, max_new_tokens=20))
    desk.step_until(lambda: asked.is_closed)
    assert not background.received
    assert [session.name for session in desk.sessions.sessions] == ["agent"]
    desk.finish()
    assert background.finished.usage.num_generated_tokens == 2


@pytest.mark.usefixtures("one_call_a_step")
@pytest.mark.parametrize("num_steps", [0, 1, 4])
def test_a_newer_completion_ends_the_older_one(desk: Desk, completion: RequestFor, num_steps: int) -> None:
    """Queued, reading or answering: it ends silently at the next step, and not one call is made for it any more."""
    _, old = desk.submit(completion(1))
    for _ in range(num_steps):
        desk.scheduler.step()
    _, new = desk.submit(completion(2))
    num_calls = len(desk.log.calls)
    desk.finish()
    assert (old.is_closed, old.error) == (True, None)
    assert not any(isinstance(event, Finished) for event in old.received)
    assert new.finished.reason == "length"
    assert len(desk.log.calls) == num_calls + 1 + 7
    assert desk.scheduler.stats.num_superseded == 1


def test_completions_of_other_sessions_and_other_requests_stay(
    desk: Desk, agent: RequestFor, completion: RequestFor
) -> None:
    """Two editors do not end one another, nor does a completion end a person's request of its session."""
    recorders = [
        desk.submit(request)[1]
        for request in (completion(1), completion(2, session="other"), agent(20, session="typing2"))
    ]
    desk.submit(completion(3, session="typing2"))
    desk.finish()
    assert all(recorder.finished.reason == "length" for recorder in recorders)


def test_a_deadline_that_passed_in_the_queue_ends_the_request(desk: Desk, completion: RequestFor) -> None:
    """With the reason "deadline", no token, and not one call."""
    _, recorder = desk.submit(completion(1, deadline_ms=50))
    desk.log.now += 0.051
    desk.finish()
    assert (recorder.finished.reason, recorder.finished.tokens.tolist()) == ("deadline", [])
    assert not desk.log.calls
    assert desk.scheduler.stats.num_late == 1


def test_a_deadline_the_rates_can_t_meet_ends_the_request_at_once(desk: Desk, completion: RequestFor) -> None:
    """30 tokens take about 35 ms: 20 ms are refused before a call, 60 ms are enough, and a cached prompt needs less."""
    desk.run(completion(1))
    num_calls = len(desk.log.calls)
    refused, _ = desk.run(completion(2, deadline_ms=20))
    assert refused.reason == "deadline"
    assert len(desk.log.calls) == num_calls
    assert desk.run(completion(2, deadline_ms=60))[0].reason == "length"
    assert desk.run(completion(2, deadline_ms=20))[0].reason == "length"


def test_a_deadline_that_passes_while_reading_ends_the_request(desk: Desk, agent: RequestFor) -> None:
    """Nothing was known when it began; after the first call that ends too late no other is made."""
    finished, _ = desk.run(agent(300, deadline_ms=100, priority=Priority.COMPLETION))
    assert finished.reason == "deadline"
    assert len(desk.log.calls) == 2
    assert desk.run(agent(300))[0].usage.num_reused_tokens == 128


def test_a_deadline_is_met_by_the_first_token(desk: Desk, completion: RequestFor) -> None:
    """An answer that goes on beyond it is not cut."""
    finished, _ = desk.run(completion(1, deadline_ms=60, max_new_tokens=40))
    assert len(finished.tokens) == 40


def test_a_completion_aborts_a_chunk_and_the_chunk_is_read_again_exactly(
    make_backend: MakeBackend, agent: RequestFor, completion: RequestFor, replay: Callable[..., FloatArray]
) -> None:
    """llama.cpp is stopped half-way; the completion runs first, and then the logits are bitwise those of a replay."""
    desk = Desk(make_backend(), ABORTABLE)
    desk.submit(agent(300))
    desk.step_until(lambda: len(desk.log.calls) == 2)
    arrived: list[Recorder] = []
    desk.log.during_call = lambda: arrived.append(desk.submit(completion(1))[1])
    desk.step_until(lambda: arrived and arrived[0].is_closed)
    assert desk.scheduler.stats.num_aborted_steps == 1
    assert arrived[0].finished.usage.steps_waited == 1
    desk.finish()
    session = next(branch for branch in desk.sessions.cache.kept.branches.values() if branch.name == "agent")
    probe = np.array([700], np.int32)
    tokens, splits = np.concatenate([session.ledger.tokens, probe]), session.ledger.splits
    desk.log.decode([Run(session.seq_id, probe, len(session.ledger), True)])
    assert np.array_equal(desk.backend.logits(), replay(tokens, (*splits, len(tokens))))


def test_pure_attention_goes_on_after_an_abort(
    make_backend: MakeBackend, attention_model_path: Path, agent: RequestFor, completion: RequestFor
) -> None:
    """Without snapshots the half-read chunk is cut off; the answer is the one that nobody disturbed."""
    answers = []
    for is_disturbed in (False, True):
        desk = Desk(make_backend(path=attention_model_path), ABORTABLE)
        _, recorder = desk.submit(agent(300, sampling=SamplingParams(temperature=0)))
        desk.step_until(lambda desk=desk: len(desk.log.calls) == 2)  # type: ignore[misc]
        if is_disturbed:
            desk.log.during_call = lambda desk=desk: desk.submit(completion(1))
        desk.finish()
        assert desk.scheduler.stats.num_aborted_steps == is_disturbed
        answers.append(recorder.finished.tokens.tolist())
    assert answers[0] == answers[1]


def test_a_chunk_is_aborted_twice_at_most(make_backend: MakeBackend, agent: RequestFor, completion: RequestFor) -> None:
    """With a completion in the middle of every call of the agent, its prompt is read all the same."""
    desk = Desk(make_backend(), ABORTABLE)
    generation, recorder = desk.submit(agent(300, max_new_tokens=1))
    typed: list[Recorder] = []
    while not recorder.is_closed:
        if all(other.is_closed for other in typed):
            desk.log.during_call = lambda: typed.append(desk.submit(completion(len(typed), max_new_tokens=1))[1])
        desk.scheduler.step()
        assert generation.num_aborts <= 2
    assert 2 < desk.scheduler.stats.num_aborted_steps < len(typed)
    assert all(other.finished.usage.steps_waited == 1 for other in typed if other.is_closed)


@pytest.mark.parametrize("settings", [SchedulerConfig(abort_ms=0), SchedulerConfig(abort_ms=1000)])
def test_chunks_that_are_short_are_not_aborted(
    make_backend: MakeBackend, agent: RequestFor, completion: RequestFor, settings: SchedulerConfig
) -> None:
    """Nor any when that is switched off."""
    desk = Desk(make_backend(), settings)
    desk.submit(agent(300))
    desk.step_until(lambda: len(desk.log.calls) == 2)
    desk.log.during_call = lambda: desk.submit(completion(1))
    desk.scheduler.step()
    assert desk.scheduler.stats.num_aborted_steps == 0


def test_a_completion_does_not_abort_a_completion(
    make_backend: MakeBackend, completion: RequestFor, random_tokens: RandomTokens
) -> None:
    """One that is being read is finished before that of another editor is."""
    desk = Desk(make_backend(), ABORTABLE)
    desk.run(completion(9))
    desk.submit(completion(1, prompt=random_tokens(200, 1)))
    desk.log.during_call = lambda: desk.submit(completion(2, session="other"))
    desk.finish()
    assert desk.scheduler.stats.num_aborted_steps == 0


def test_an_abort_by_nobody_is_a_failure(desk: Desk, agent: RequestFor) -> None:
    """A call that stops although it was not to be cut short fails its request instead of being tried for ever."""
    calls = iter(range(10_000))
    abort = api.ggml_abort_callback(lambda _: next(calls) > 40)
    api.llama_set_abort_callback(desk.backend._context, abort, None)
    _, recorder = desk.submit(agent(100))
    desk.finish()
    api.llama_set_abort_callback(desk.backend._context, api.ggml_abort_callback(0), None)
    assert "code 2" in str(recorder.error)
