"""Tokens are a function of logits, settings, seed and position; a grammar restricts them."""

from collections.abc import Callable

import numpy as np
import pytest

from qcn_agent.engine.backend import Run
from qcn_agent.engine.generator import IntArray
from qcn_agent.engine.grammar import Grammar
from qcn_agent.engine.llama_backend import LlamaBackend
from qcn_agent.engine.sampling import SamplingSettings
from qcn_agent.errors import EngineError, UsageError

HOT = SamplingSettings(temperature=2.0, top_k=0, top_p=1.0)


@pytest.fixture
def ready(backend: LlamaBackend, random_tokens: Callable[[int, int], IntArray]) -> LlamaBackend:
    """A backend with logits to draw from."""
    backend.decode([Run(0, random_tokens(32, 1), 0, True)])
    return backend


def _draws(
    backend: LlamaBackend, settings: SamplingSettings, positions: range, grammar: Grammar | None = None
) -> list[int]:
    sampler = backend.sampler(settings, grammar)
    try:
        return [sampler.sample(position) for position in positions]
    finally:
        sampler.close()


def test_temperature_zero_takes_the_most_likely_token(ready: LlamaBackend) -> None:
    """Whatever the seed."""
    expected = int(ready.logits().argmax())
    assert _draws(ready, SamplingSettings(temperature=0.0, seed=9), range(3)) == [expected] * 3


def test_a_draw_depends_on_nothing_but_seed_and_position(ready: LlamaBackend) -> None:
    """Drawing a position alone gives what drawing it after others gave."""
    row = _draws(ready, HOT, range(100, 130))
    assert [_draws(ready, HOT, range(position, position + 1))[0] for position in range(100, 130)] == row
    assert len(set(row)) > 10


@pytest.mark.parametrize("grammar", [None, Grammar("root ::= [^\\x00]+")])
def test_each_row_is_drawn_from(
    backend: LlamaBackend, random_tokens: Callable[[int, int], IntArray], grammar: Grammar | None
) -> None:
    """Of a call for three sequences, row i gives what the call for sequence i alone gives, with a grammar too."""
    greedy = SamplingSettings(temperature=0.0)
    runs = [Run(seq_id, random_tokens(1, seq_id), 0, True) for seq_id in range(3)]
    alone = []
    for run in runs:
        backend.decode([run])
        alone += _draws(backend, greedy, range(1), grammar)
        backend.drop(run.seq_id)
    backend.decode(runs)
    samplers = [backend.sampler(greedy, grammar) for _ in runs]
    assert [sampler.sample(0, row) for row, sampler in enumerate(samplers)] == alone
    for sampler in samplers:
        sampler.close()


def test_other_seeds_draw_other_tokens(ready: LlamaBackend) -> None:
    """Two seeds disagree in most of thirty positions."""
    other = SamplingSettings(temperature=2.0, top_k=0, top_p=1.0, seed=1)
    assert sum(a == b for a, b in zip(_draws(ready, HOT, range(30)), _draws(ready, other, range(30)), strict=True)) < 10


def test_draws_follow_the_distribution(ready: LlamaBackend) -> None:
    """Over 2,000 positions the top token comes as often as its probability says, within four standard errors."""
    logits = ready.logits().astype(np.float64)
    top = np.argsort(logits)[-8:]
    weights = np.exp(logits[top] - logits[top].max())
    share = weights[-1] / weights.sum()
    draws = _draws(ready, SamplingSettings(temperature=1.0, top_k=8, top_p=1.0), range(2000))
    assert set(draws) <= set(top.tolist())
    error = (share * (1 - share) / 2000) ** 0.5
    assert abs(draws.count(int(top[-1])) / 2000 - share) < 4 * error + 1e-9


def test_top_k_one_is_greedy(ready: LlamaBackend) -> None:
    """One candidate leaves no choice."""
    settings = SamplingSettings(temperature=5.0, top_k=1, top_p=1.0)
    assert set(_draws(ready, settings, range(20))) == {int(ready.logits().argmax())}


def test_a_repeat_penalty_discourages_what_was_drawn(ready: LlamaBackend) -> None:
    """Greedy drawing with a heavy penalty does not stay at the same token, with and without a grammar."""
    settings = SamplingSettings(temperature=0.0, repeat_penalty=50.0)
    for grammar in (None, Grammar("root ::= [^\\x00]+")):
        assert len(set(_draws(ready, settings, range(6), grammar))) > 1


@pytest.mark.parametrize("grammar", [None, Grammar("root ::= [^\\x00]+")])
@pytest.mark.parametrize("penalty", [{"presence_penalty": 100.0}, {"frequency_penalty": 100.0}])
def test_penalties_discourage_what_was_drawn(
    ready: LlamaBackend, grammar: Grammar | None, penalty: dict[str, float]
) -> None:
    """No token comes twice while one that has not come is left."""
    settings = SamplingSettings(temperature=0.0, **penalty)  # type: ignore[arg-type]
    assert len(set(_draws(ready, settings, range(10), grammar))) == 10


def test_dry_breaks_a_repetition(ready: LlamaBackend) -> None:
    """Always the same logits repeat one token for ever; DRY lets it come so often and no more."""
    likely = int(ready.logits().argmax())
    assert _draws(ready, SamplingSettings(temperature=0.0), range(20)) == [likely] * 20
    settings = SamplingSettings(temperature=0.0, dry_multiplier=2.0, dry_allowed_length=4)
    drawn = _draws(ready, settings, range(20))
    assert drawn[:5] == [likely] * 5
    assert len(set(drawn)) > 1


@pytest.mark.parametrize("grammar", [None, Grammar("root ::= [^\\x00]+")])
def test_a_bias_moves_a_token(ready: LlamaBackend, grammar: Grammar | None) -> None:
    """-inf forbids the likeliest, a large one forces any other; a foreign token is a usage error."""
    likely, other = int(ready.logits().argmax()), 500
    banned = SamplingSettings(temperature=0.0, logit_bias=((likely, -np.inf),))
    assert likely not in _draws(ready, banned, range(3), grammar)
    assert _draws(ready, SamplingSettings(logit_bias=((other, 1000.0),)), range(3), grammar) == [other] * 3
    with pytest.raises(UsageError, match="logit_bias"):
        _draws(ready, SamplingSettings(logit_bias=((ready.n_vocab, 1.0),)), range(1), grammar)


def test_logprobs_are_those_of_the_model(ready: LlamaBackend) -> None:
    """Before temperature and bias, best first, the drawn token's own among them or not."""
    logits = ready.logits().astype(np.float64)
    expected = logits - logits.max() - np.log(np.exp(logits - logits.max()).sum())
    order = np.argsort(-expected)
    for count in (0, 1, 5):
        sampler = ready.sampler(SamplingSettings(temperature=3.0, top_logprobs=count), None)
        token = sampler.sample(7)
        found = sampler.logprob(token)
        sampler.close()
        assert found is not None
        assert (found.token, len(found.top)) == (token, count)
        assert found.logprob == pytest.approx(expected[token], abs=1e-4)
        assert [index for index, _ in found.top] == order[:count].tolist()
        assert [value for _, value in found.top] == pytest.approx(expected[order[:count]].tolist(), abs=1e-4)
    assert sum(np.exp(expected)) == pytest.approx(1.0)


def test_logprobs_are_not_computed_unasked(ready: LlamaBackend) -> None:
    """None without the setting."""
    sampler = ready.sampler(SamplingSettings(), None)
    assert sampler.logprob(sampler.sample(0)) is None
    sampler.close()


def test_a_grammar_overrules_the_most_likely_token(ready: LlamaBackend) -> None:
    """Greedy or hot, only its text is drawn."""
    for settings in (SamplingSettings(temperature=0.0), HOT):
        tokens = _draws(ready, settings, range(4), Grammar("root ::= [0-9] root"))
        assert b"".join(ready.piece(token, special=True) for token in tokens).isdigit()


def test_a_fitting_draw_is_the_unconstrained_one(ready: LlamaBackend) -> None:
    """A grammar that allows everything but controls changes no draw."""
    plain = _draws(ready, HOT, range(12))
    assert all(ready.piece(token, special=False) for token in plain)
    assert _draws(ready, HOT, range(12), Grammar("root ::= [^\\x00] root")) == plain


def test_a_start_that_would_overrun_is_drawn_again(ready: LlamaBackend) -> None:
    """When the likely token would complete a trigger and break the grammar, another one is drawn."""
    likely = int(ready.logits().argmax())
    text = ready.piece(likely, special=True).decode()
    grammar = Grammar('root ::= "never"', triggers=(f"({text[-1] if text[-1].isalnum() else '.'})",))
    drawn = _draws(ready, SamplingSettings(temperature=0.0), range(1), grammar)
    assert drawn != [likely]


def test_drawing_without_logits_is_an_error(
    backend: LlamaBackend, random_tokens: Callable[[int, int], IntArray]
) -> None:
    """With a penalty and a grammar the candidates are read by us, and checked."""
    backend.decode([Run(0, random_tokens(8, 1), 0)])
    settings = SamplingSettings(repeat_penalty=1.1)
    with pytest.raises(EngineError, match="no logits"):
        _draws(backend, settings, range(1), Grammar("root ::= [a]"))


def test_closing_twice_is_harmless(ready: LlamaBackend) -> None:
    """The chain is freed once."""
    sampler = ready.sampler(HOT, Grammar("root ::= [a]"))
    sampler.close()
    sampler.close()
