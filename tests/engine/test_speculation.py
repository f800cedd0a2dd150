"""Speculative decoding changes how many calls an answer takes, and nothing else."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qcn_agent.config import SchedulerConfig
from qcn_agent.engine.backend import DecodeError, Run, Sampler
from qcn_agent.engine.generator import (
    FloatArray,
    GenerationRequest,
    IntArray,
    Priority,
    SamplingParams,
    TextDelta,
)
from qcn_agent.engine.grammar import Grammar
from qcn_agent.engine.llama_backend import LlamaBackend
from qcn_agent.errors import EngineError
from tests.fakes import desk as fakes
from tests.fakes.desk import Desk, Recorder

RandomTokens = Callable[[int, int], IntArray]
RequestFor = Callable[..., GenerationRequest]
MakeBackend = Callable[..., LlamaBackend]

BOUND = 2e-3  # standard deviations of the logits: what the engine's README allows between call splits, float32
LETTERS = "abcdefghijklmnop"
FORCED = Grammar(f'root ::= "{LETTERS}" root')  # an answer that repeats itself, whatever the model
FEW = (400, 401, 402)


@pytest.fixture(autouse=True)
def cheap_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the clock of the desk a call of many tokens takes hardly longer than one of one: drafts nearly always pay."""
    monkeypatch.setattr(fakes, "MS_PER_TOKEN", 0.01)


@pytest.fixture(params=["hybrid", "attention"])
def make_desk(
    request: pytest.FixtureRequest, make_backend: MakeBackend, hybrid_model_path: Path, attention_model_path: Path
) -> Callable[..., Desk]:
    """`make_desk(speculate)` over a random float32 model of either kind."""
    path = hybrid_model_path if request.param == "hybrid" else attention_model_path

    def make(speculate: str = "auto", **changes: Any) -> Desk:
        backend = make_backend(path, flash_attention=False, **changes)
        return Desk(backend, SchedulerConfig(speculate=speculate))

    return make


def _text(recorder: Recorder) -> str:
    return "".join(event.text for event in recorder.received if isinstance(event, TextDelta))


@pytest.fixture
def babble(request_for: RequestFor) -> RequestFor:
    """`babble(seed, ...)`: prompt and answer are made of three tokens; what is repeated mostly goes on differently."""

    def make(seed: int, **changes: Any) -> GenerationRequest:
        prompt = np.random.default_rng(seed).choice(FEW, 150).astype(np.int32)
        bias = tuple((token, 50.0) for token in FEW)
        sampling = SamplingParams(temperature=changes.pop("temperature", 0.0), logit_bias=bias, seed=seed)
        return replace(request_for(prompt, max_new_tokens=120, sampling=sampling), **changes)

    return make


@pytest.fixture
def copying(request_for: RequestFor, random_tokens: RandomTokens) -> Callable[..., GenerationRequest]:
    """`copying(desk, ...)`: the answer spells the alphabet again and again, a letter a token."""

    def make(desk: Desk, **changes: Any) -> GenerationRequest:
        letters = [int(desk.backend.tokenize(letter.encode(), parse_special=False)[0]) for letter in LETTERS]
        sampling = SamplingParams(temperature=1.0, logit_bias=tuple((token, 200.0) for token in letters))
        return replace(
            request_for(random_tokens(30, 1), max_new_tokens=150, grammar=FORCED, sampling=sampling), **changes
        )

    return make


def _ledger(desk: Desk) -> IntArray:
    """What the cache holds of session "s"."""
    branch = next(branch for branch in desk.sessions.cache.kept.branches.values() if branch.name == "s")
    return branch.ledger.tokens


def _margin(desk: Desk, path: IntArray) -> float:
    """Between the best two of the few tokens after `path`, in standard deviations of the logits."""
    desk.backend.drop(0)
    for begin in range(0, len(path), 64):
        desk.backend.decode([Run(0, path[begin : begin + 64], begin, 1)])
    logits = desk.backend.logits()
    second, first = np.sort(logits[list(FEW)])[-2:]
    return float((first - second) / logits.std())


@pytest.mark.parametrize("seed", range(3))
def test_the_answer_is_that_of_single_steps(make_desk: Callable[..., Desk], babble: RequestFor, seed: int) -> None:
    """Token for token, wherever the margin between the best two exceeds the bound; most drafts are wrong here."""
    plain, desk = make_desk("off"), make_desk()
    expected = plain.run(babble(seed))[0].tokens
    finished, _ = desk.run(babble(seed))
    different = np.flatnonzero(finished.tokens != expected)
    if len(different):
        assert _margin(plain, np.concatenate([babble(seed).prompt, expected[: different[0]]])) < BOUND
    usage = finished.usage
    assert usage.num_drafted_tokens > 200
    assert 30 < usage.num_accepted_tokens < usage.num_drafted_tokens / 2
    assert len(desk.log.calls) < len(plain.log.calls) / 2


@pytest.mark.parametrize(
    "sampling",
    [
        {"temperature": 1.0},
        {"temperature": 0.7, "seed": 5},
        {"presence_penalty": 3.0, "frequency_penalty": 0.2},
        {"dry_multiplier": 2.0},
    ],
    ids=["warm", "another seed", "penalties", "DRY"],
)
def test_draws_depend_on_seed_position_and_what_was_accepted(
    make_desk: Callable[..., Desk], babble: RequestFor, sampling: dict[str, Any]
) -> None:
    """A guess that was taken back leaves no trace in the sampler."""
    request = replace(babble(1), sampling=replace(babble(1).sampling, **sampling))
    expected = make_desk("off").run(request)[0].tokens
    finished, _ = make_desk().run(request)
    assert finished.usage.num_accepted_tokens > 5
    assert finished.usage.num_accepted_tokens < finished.usage.num_drafted_tokens
    assert finished.tokens.tolist() == expected.tolist()


def test_a_copied_answer_takes_few_calls(make_desk: Callable[..., Desk], copying: RequestFor) -> None:
    """All drafts are right, each counts as evaluated once, and the cache holds what single steps would leave."""
    plain, desk = make_desk("off"), make_desk()
    expected, _ = plain.run(copying(plain))
    finished, recorder = desk.run(copying(desk))
    assert _text(recorder) == (LETTERS * 10)[:150]
    assert finished.tokens.tolist() == expected.tokens.tolist()
    usage, stats = finished.usage, desk.scheduler.stats
    assert usage.num_drafted_tokens == usage.num_accepted_tokens == stats.num_accepted_tokens > 110
    assert len(desk.log.calls) == len(plain.log.calls) - usage.num_accepted_tokens
    assert usage.num_evaluated_tokens == expected.usage.num_evaluated_tokens == stats.num_evaluated_tokens
    assert usage.num_repeated_tokens == stats.num_repeated_tokens == 0
    assert _ledger(desk).tolist() == _ledger(plain).tolist()


def test_all_that_was_decoded_is_accounted_for(make_desk: Callable[..., Desk], babble: RequestFor) -> None:
    """Evaluated, repeated, and drafted in vain: together the tokens of all calls."""
    desk = make_desk()
    usage = desk.run(babble(0))[0].usage
    wasted = usage.num_drafted_tokens - usage.num_accepted_tokens
    decoded = sum(count for call in desk.log.calls for _, count in call)
    assert usage.num_evaluated_tokens + usage.num_repeated_tokens + wasted == decoded
    assert (usage.num_repeated_tokens > 0) == desk.backend.needs_snapshots
    assert usage.num_evaluated_tokens == 150 + 119


@pytest.mark.parametrize("seed", range(3))
def test_what_stays_in_the_cache_is_exact(
    make_desk: Callable[..., Desk], babble: RequestFor, random_tokens: RandomTokens, seed: int
) -> None:
    """The next turn evaluates what single steps would leave, and its logits are those of a fresh context."""
    plain, desk = make_desk("off"), make_desk()
    answer = plain.run(babble(seed))[0].tokens
    desk.run(babble(seed))
    assert _ledger(desk).tolist() == _ledger(plain).tolist()
    prompt = np.concatenate([babble(seed).prompt, answer, random_tokens(3, 9)])
    turn = replace(babble(seed), prompt=prompt, max_new_tokens=1)
    usage = desk.run(turn)[0].usage
    assert usage.num_evaluated_tokens == 4
    got = desk.backend.logits()
    plain.backend.drop(0)
    for begin in range(0, len(prompt), 64):
        plain.backend.decode([Run(0, prompt[begin : begin + 64], begin, 1)])
    expected = plain.backend.logits()
    assert np.abs(got - expected).max() < BOUND * expected.std()


@pytest.mark.parametrize("num_letters", range(36, 44))
def test_a_stop_string_inside_a_draft(make_desk: Callable[..., Desk], copying: RequestFor, num_letters: int) -> None:
    """The answer ends where it would, and nothing after it stays in the cache."""
    plain, desk = make_desk("off"), make_desk()
    stop = ((LETTERS * 3)[:num_letters],)
    expected, _ = plain.run(copying(plain, stop=stop))
    finished, recorder = desk.run(copying(desk, stop=stop))
    assert (finished.reason, _text(recorder)) == ("stop", "")
    assert finished.tokens.tolist() == expected.tokens.tolist()
    assert len(finished.tokens) == num_letters
    assert finished.usage.num_accepted_tokens > 10
    assert _ledger(desk).tolist() == _ledger(plain).tolist()


def test_the_limit_inside_a_copy(make_desk: Callable[..., Desk], copying: RequestFor) -> None:
    """No more is drafted than may be sent."""
    for limit in (19, 20, 21, 40):
        desk = make_desk()
        finished, recorder = desk.run(copying(desk, max_new_tokens=limit))
        assert _text(recorder) == (LETTERS * 3)[:limit]
        assert finished.reason == "length"
        assert len(_ledger(desk)) == 30 + limit - 1
        assert finished.usage.num_drafted_tokens == finished.usage.num_accepted_tokens


def test_a_grammar_that_turns_off_inside_a_draft(make_desk: Callable[..., Desk], copying: RequestFor) -> None:
    """The draft goes on with the copy, the grammar does not."""
    desk = make_desk()
    grammar = Grammar(f'root ::= "{LETTERS * 2}abcdexyz{LETTERS * 2}" [a-z]*')
    finished, recorder = desk.run(copying(desk, grammar=grammar, max_new_tokens=72))
    assert _text(recorder).startswith(LETTERS * 2 + "abcdexyz" + LETTERS * 2)
    usage = finished.usage
    assert usage.num_drafted_tokens > usage.num_accepted_tokens > 20


def test_a_grammar_that_ends_inside_a_draft(make_desk: Callable[..., Desk], copying: RequestFor) -> None:
    """The model's end comes where it would, whatever the draft goes on with."""
    plain, desk = make_desk("off"), make_desk()
    grammar = Grammar(f'root ::= "{LETTERS * 2}abcde"')
    expected, _ = plain.run(copying(plain, grammar=grammar))
    finished, recorder = desk.run(copying(desk, grammar=grammar))
    assert (finished.reason, _text(recorder)) == ("stop", LETTERS * 2 + "abcde")
    assert finished.tokens.tolist() == expected.tokens.tolist()
    assert finished.usage.num_accepted_tokens > 10
    assert _ledger(desk).tolist() == _ledger(plain).tolist()


class FailingSampler:
    """Draws like another one up to a position, where it fails."""

    def __init__(self, sampler: Sampler, position: int) -> None:
        self._sampler = sampler
        self._position = position
        self.close = sampler.close
        self.logprob = sampler.logprob

    def sample(self, position: int, row: int = -1, kept: FloatArray | None = None) -> int:
        """See `Sampler.sample`."""
        if position == self._position:
            raise EngineError("forced")
        return self._sampler.sample(position, row, kept)


def test_an_error_inside_a_draft_is_that_of_single_steps(make_desk: Callable[..., Desk], copying: RequestFor) -> None:
    """What came before it was sent, its tokens are in the cache, and the next request goes on from them."""
    for desk in (make_desk("off"), make_desk()):
        sequence, recorder = desk.submit(copying(desk))
        desk.step_until(partial(len, sequence.tokens))
        assert sequence.sampler is not None
        sequence.sampler = FailingSampler(sequence.sampler, 30 + 40)
        desk.finish()
        assert str(recorder.error) == "forced"
        assert len(sequence.tokens) == 40
        path = np.concatenate([copying(desk).prompt, np.array(sequence.tokens, np.int32)])
        assert _ledger(desk).tolist() == path[: len(_ledger(desk))].tolist()
        longer = np.append(path, path[:1])
        assert desk.run(copying(desk, prompt=longer, max_new_tokens=20))[0].usage.num_reused_tokens >= 69


def test_nothing_is_drafted_for_two(make_desk: Callable[..., Desk], copying: RequestFor) -> None:
    """Answers that are made together get a row each; the last one that is left copies in few calls again."""
    desk = make_desk()
    desk.submit(copying(desk, max_new_tokens=60))
    _, recorder = desk.submit(copying(desk, session="other"))
    desk.step_until(lambda: desk.scheduler.stats.num_generated_tokens >= 118)
    assert desk.scheduler.stats.num_drafted_tokens == 0
    desk.finish()
    assert _text(recorder) == (LETTERS * 10)[:150]
    assert recorder.finished.usage.num_accepted_tokens > 50


def test_completions_wait_for_one_call_and_end_the_drafting(
    make_desk: Callable[..., Desk], copying: RequestFor, babble: RequestFor
) -> None:
    """They arrive in the middle of verifying calls; the agent drafts only while none is there."""
    desk = make_desk()
    _, agent = desk.submit(babble(0, session="agent", max_new_tokens=400))
    arrived: list[Recorder] = []
    for seed in range(12):
        desk.step_until(lambda: len(desk.log.calls[-1:]) and desk.log.calls[-1][0][1] > 4)
        typed = babble(seed, session=f"k{seed}", priority=Priority.COMPLETION, max_new_tokens=3)
        desk.log.during_call = lambda request=typed: arrived.append(desk.submit(request)[1])
        desk.scheduler.step()
        drafted = desk.scheduler.stats.num_drafted_tokens
        desk.scheduler.step()
        assert desk.scheduler.stats.num_drafted_tokens == drafted
        if agent.is_closed:
            break
    desk.finish()
    assert len(arrived) > 5
    assert max(recorder.finished.usage.steps_waited for recorder in arrived) == 1
    assert desk.scheduler.stats.max_completion_steps_waited == 1


def test_a_cancel_takes_one_step(make_desk: Callable[..., Desk], babble: RequestFor) -> None:
    """In the middle of a round; what was accepted stays, and nothing else."""
    desk = make_desk()
    sequence, recorder = desk.submit(babble(0))
    desk.step_until(lambda: len(sequence.tokens) > 50)
    sequence.cancel()
    assert not desk.scheduler.step()
    desk.sessions.check_integrity()
    assert recorder.is_closed
    path = [*babble(0).prompt.tolist(), *sequence.tokens]
    assert _ledger(desk).tolist() == path[: len(_ledger(desk))]


def test_a_verifying_call_that_fails_costs_time_only(make_desk: Callable[..., Desk], babble: RequestFor) -> None:
    """The branch is recovered, the answer is the same, and that generation drafts no more."""
    expected = make_desk("off").run(babble(2))[0].tokens
    desk = make_desk()
    sequence, recorder = desk.submit(babble(2))
    desk.step_until(lambda: sequence.num_accepted_tokens > 10)

    def fail() -> None:
        raise DecodeError("forced")

    desk.log.during_call = fail
    desk.scheduler.step()
    drafted = desk.scheduler.stats.num_drafted_tokens
    desk.finish()
    assert recorder.finished.tokens.tolist() == expected.tolist()
    assert desk.scheduler.stats.num_drafted_tokens == drafted


def test_where_tokens_cost_much_nothing_but_probes_is_drafted(
    make_desk: Callable[..., Desk], babble: RequestFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call of sixteen tokens takes sixteen times one: a few short drafts in 400 tokens, to see whether that holds."""
    monkeypatch.setattr(fakes, "MS_PER_CALL", 0.0)
    monkeypatch.setattr(fakes, "MS_PER_TOKEN", 5.0)
    desk = make_desk()
    usage = desk.run(babble(0, max_new_tokens=400))[0].usage
    assert 0 < usage.num_drafted_tokens < 40


def test_off_is_off(make_desk: Callable[..., Desk], copying: RequestFor) -> None:
    """One token a call."""
    desk = make_desk("off")
    usage = desk.run(copying(desk))[0].usage
    assert (usage.num_drafted_tokens, len(desk.log.calls)) == (0, 150)
