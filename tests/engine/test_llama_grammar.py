"""The gate lets fitting tokens through, starts lazy grammars, and never feeds llama.cpp a bad token."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from qcn_agent.engine.grammar import Grammar
from qcn_agent.engine.llama_backend import LlamaBackend
from qcn_agent.engine.llama_grammar import GrammarGate
from qcn_agent.engine.llama_sampler import CANDIDATE
from qcn_agent.errors import EngineError

MakeGate = Callable[..., GrammarGate]


@pytest.fixture
def make_gate(backend: LlamaBackend) -> Iterator[MakeGate]:
    """Gates over the embedded vocabulary."""
    made: list[GrammarGate] = []

    def make(gbnf: str, *triggers: str) -> GrammarGate:
        made.append(GrammarGate(backend.model.vocab, Grammar(gbnf, triggers)))
        return made[-1]

    yield make
    for gate in made:
        gate.close()


@pytest.fixture
def token(backend: LlamaBackend) -> Callable[[str], int]:
    """The one token that spells a text."""

    def find(text: str) -> int:
        tokens = backend.tokenize(text.encode(), parse_special=True).tolist()
        assert len(tokens) == 1, text
        return int(tokens[0])

    return find


def _feed(gate: GrammarGate, tokens: list[int]) -> None:
    for token in tokens:
        assert gate.allows(token)
        gate.accept(token)


@pytest.mark.parametrize(
    "gbnf",
    [
        "",
        "  \n",
        "root ::= (",
        "root ::= missing",
        "other ::= [a]",
        "root ::= root [a]",
        'root ::= "unclosed',
        "root ::= [z-",
        "root ::= [a]{3,1",
        "\0",
        "röot ::= [a]",
    ],
)
def test_a_grammar_that_does_not_parse_is_an_error(make_gate: MakeGate, gbnf: str) -> None:
    """Left recursion, undefined rules and broken syntax are refused, lazily or not, without ending the process."""
    for triggers in ((), ("x",)):
        with pytest.raises(EngineError, match="does not parse"):
            make_gate(gbnf, *triggers)


def test_a_trigger_that_does_not_parse_is_an_error(make_gate: MakeGate) -> None:
    """The message names it."""
    with pytest.raises(EngineError, match="regular expression"):
        make_gate("root ::= [a]", "(")


def test_an_eager_grammar_constrains_from_the_first_token(make_gate: MakeGate, token: Callable[[str], int]) -> None:
    """Only its text may come, and the end only when it is complete."""
    gate = make_gate('root ::= "ab"')
    assert gate.is_active
    assert not gate.allows(token("b"))
    assert not gate.allows(token("<|im_end|>"))
    _feed(gate, [token("a"), token("b")])
    assert gate.allows(token("<|im_end|>"))
    assert not gate.allows(token("a"))


def test_control_tokens_never_fit_into_a_grammar_s_text(make_gate: MakeGate, token: Callable[[str], int]) -> None:
    """A value of any text may spell `<|im_start|>` but not hold the control token."""
    gate = make_gate("root ::= [^\\n]* [\\n]")
    assert gate.allows(token("a"))
    assert not gate.allows(token("<|im_start|>"))


def test_before_its_trigger_a_lazy_grammar_allows_everything(make_gate: MakeGate, token: Callable[[str], int]) -> None:
    """Text, control tokens and the end pass."""
    gate = make_gate('root ::= "<tool_call>"', "<tool_call>")
    for text in ("a", "<|im_start|>", "<|im_end|>"):
        assert gate.allows(token(text))
        gate.accept(token(text))
    assert not gate.is_active


def test_a_trigger_within_a_token_starts_the_grammar_there(
    make_gate: MakeGate, backend: LlamaBackend, token: Callable[[str], int]
) -> None:
    """Text before the trigger, in the same token, is not the grammar's."""
    joined = next(t for t in range(backend.n_vocab) if backend.piece(t, special=True) == b"):")
    gate = make_gate('root ::= ":" "x"', ":")
    _feed(gate, [joined])
    assert gate.is_active
    assert gate.allows(token("x"))
    assert not gate.allows(token("a"))


def test_the_first_group_of_a_trigger_is_where_the_grammar_begins(
    make_gate: MakeGate, token: Callable[[str], int]
) -> None:
    """What the pattern needs before it is not part of the text."""
    gate = make_gate('root ::= "bc"', "a(b)")
    _feed(gate, [token("b"), token("a"), token("b")])
    assert gate.is_active
    assert gate.allows(token("c"))


def test_a_token_that_completes_the_trigger_and_then_breaks_the_grammar_is_refused(
    make_gate: MakeGate, backend: LlamaBackend, token: Callable[[str], int]
) -> None:
    """The overrun would make llama.cpp throw; it is refused, and the trigger's own token still passes."""
    overrun = next(t for t in range(backend.n_vocab) if backend.piece(t, special=True) == b"):")
    gate = make_gate('root ::= ")" "x"', r"\)")
    assert not gate.allows(overrun)
    _feed(gate, [token(")"), token("x")])
    assert gate.allows(token("<|im_end|>"))


def test_after_giving_up_the_next_trigger_counts(
    make_gate: MakeGate, backend: LlamaBackend, token: Callable[[str], int]
) -> None:
    """A refused start that was let through is forgotten."""
    overrun = next(t for t in range(backend.n_vocab) if backend.piece(t, special=True) == b"):")
    gate = make_gate('root ::= ")" "x"', r"\)")
    assert not gate.allows(overrun)
    gate.give_up()
    gate.accept(token("a"))
    _feed(gate, [token(")")])
    assert gate.is_active


def test_a_checked_but_undrawn_start_does_not_count(make_gate: MakeGate, token: Callable[[str], int]) -> None:
    """Asking about the trigger's token and then drawing another one leaves the grammar waiting."""
    gate = make_gate('root ::= ")" "x"', r"\)")
    assert gate.allows(token(")"))
    gate.accept(token("a"))
    assert not gate.is_active


def test_a_trigger_spread_over_many_tokens_is_found(make_gate: MakeGate, backend: LlamaBackend) -> None:
    """Letter by letter, after long other text."""
    gate = make_gate('root ::= "<function=read>" "x"', "<function=read>")
    text = "words " * 60 + "<function=read>"
    _feed(gate, [int(backend.tokenize(char.encode(), parse_special=False)[0]) for char in text])
    assert gate.is_active


def test_filtering_keeps_what_fits(make_gate: MakeGate, backend: LlamaBackend, token: Callable[[str], int]) -> None:
    """Of all candidates only those remain that begin the text."""
    gate = make_gate('root ::= "abc"')
    candidates = np.zeros(backend.n_vocab, CANDIDATE)
    candidates["id"] = np.arange(backend.n_vocab)
    kept = {backend.piece(int(t), special=True) for t in gate.filtered(candidates)["id"]}
    assert kept <= {b"a", b"ab", b"abc"}
    assert b"a" in kept


def test_filtering_drops_control_tokens(
    make_gate: MakeGate, backend: LlamaBackend, token: Callable[[str], int]
) -> None:
    """Where any text fits, all remain but those that are no text."""
    gate = make_gate("root ::= [^\\x00]+")
    candidates = np.zeros(backend.n_vocab, CANDIDATE)
    candidates["id"] = np.arange(backend.n_vocab)
    kept = set(gate.filtered(candidates)["id"].tolist())
    assert token("<|im_start|>") not in kept
    assert token("<tool_call>") in kept
    assert len(kept) > 8000


def test_a_grammar_with_a_dead_end_is_an_error(make_gate: MakeGate, backend: LlamaBackend) -> None:
    """Where no token of the vocabulary fits, the request fails instead of the process."""
    gate = make_gate('root ::= "abc"')
    candidates = np.zeros(3, CANDIDATE)
    candidates["id"] = backend.tokenize(b"1 2", parse_special=False)[:3]
    with pytest.raises(EngineError, match="allows no token"):
        gate.filtered(candidates)


def test_closing_twice_is_harmless(make_gate: MakeGate) -> None:
    """The grammar is freed once."""
    gate = make_gate("root ::= [a]")
    gate.close()
    gate.close()
    assert not gate.is_active
