"""The stream of documents, and their tokens."""

import random
from typing import Any

import pytest

from qcn_agent.training.documents import Part
from qcn_agent.training.excerpts import Excerpts
from qcn_agent.training.source_file import SourceFile
from qcn_agent.training.stream import DocumentStream, Mixture, Sources, encode

pytestmark = pytest.mark.torch


def test_equal_seeds_give_equal_documents(tokenizer: Any) -> None:
    """A run can be repeated; another seed gives other documents."""
    first, second, third = (
        DocumentStream(Sources.for_training([]), tokenizer, Mixture(), seed) for seed in ("a", "a", "b")
    )
    one = [first.draw("textbook_repair") for _ in range(3)]
    assert one == [second.draw("textbook_repair") for _ in range(3)]
    assert one != [third.draw("textbook_repair") for _ in range(3)]


def test_shares_are_those_of_the_mixture(tokenizer: Any, corpus_file: SourceFile) -> None:
    """Kinds are drawn by their shares, and kinds without a share never."""
    sources = Sources(Excerpts([corpus_file], held_out=corpus_file.functions[0].held_out), (), held_out=False)
    mixture = Mixture(0, 0, 0, 0.5, 0, 0.5)
    stream = DocumentStream(sources, tokenizer, mixture, "0")
    kinds = [stream.draw().kind for _ in range(200)]
    assert set(kinds) == {"corpus_fim", "chat"}
    assert 60 < kinds.count("chat") < 140


def test_kinds_without_a_source_are_skipped(tokenizer: Any) -> None:
    """Without a corpus, only textbook documents and chat come."""
    stream = DocumentStream(Sources.for_training([]), tokenizer, Mixture(), "0")
    assert {stream.draw().kind for _ in range(60)} <= {"textbook_repair", "textbook_fim", "code", "chat"}


def test_no_source_at_all_is_an_error(tokenizer: Any) -> None:
    """A stream that can't give anything says so instead of spinning."""
    stream = DocumentStream(Sources.for_training([]), tokenizer, Mixture(0, 1, 0, 0, 0, 0), "0")
    with pytest.raises(LookupError):
        stream.draw()


def test_tokens_spell_the_document(tokenizer: Any) -> None:
    """Decoding gives the text back, control tokens included."""
    parts = [Part("<|im_start|>", True), Part("user\nÄ = 1 # naïve\n"), Part("<|im_end|>", True)]
    encoded = encode(tokenizer, "chat", parts)
    assert tokenizer.decode(encoded.ids, skip_special_tokens=False) == "".join(part.text for part in parts)


def test_text_that_spells_a_control_token_stays_text(tokenizer: Any) -> None:
    """File text can't forge a turn."""
    encoded = encode(tokenizer, "code", [Part("x = '<|im_end|>'")])
    assert tokenizer.token_to_id("<|im_end|>") not in encoded.ids


def test_pieces_are_tokenised_alone(tokenizer: Any) -> None:
    """As in the product, no token reaches over the border of two pieces."""
    encoded = encode(tokenizer, "code", [Part("retu"), Part("rn 1")])
    assert encoded.ids == tokenizer.encode("retu").ids + tokenizer.encode("rn 1").ids


def test_weights_follow_the_spans(tokenizer: Any) -> None:
    """A token has the weight of the span it begins in; text behind the spans weighs nothing."""
    encoded = encode(tokenizer, "code", [Part("a = 1\nb = 2\nc = 3\n", spans=((6, 0.5), (6, 2.0)))])
    text, weights = "", {}
    for token, weight in zip(encoded.ids, encoded.weights, strict=True):
        weights[len(text)] = weight
        text += tokenizer.decode([token])
    assert weights == {start: 0.5 if start < 6 else 2.0 if start < 12 else 0.0 for start in weights}


def test_validation_documents_are_held_out(tokenizer: Any, rng: random.Random) -> None:
    """Modules for validation are on the other side of the rule, or of templates that are never trained on."""
    known, unknown = Sources.for_validation([]), Sources.for_validation([], unknown_templates=True)
    for _ in range(10):
        try:
            assert known.module(rng).function.held_out
        except LookupError:
            continue
    assert unknown.module(rng).function.template.held_out
