"""Text becomes tokens safely, tokens become text as soon as it is certain."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcn_agent.engine.llama_backend import LlamaBackend
from qcn_agent.engine.text import IncrementalDetokenizer, LlamaVocabulary

CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@pytest.fixture
def vocabulary(backend: LlamaBackend) -> LlamaVocabulary:
    """The embedded model's."""
    return LlamaVocabulary(backend)


def _cut(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(edges)]


@pytest.mark.parametrize("name", CONTROL)
def test_file_text_never_becomes_a_control_token(vocabulary: LlamaVocabulary, backend: LlamaBackend, name: str) -> None:
    """The same characters are one control token in a special piece, and ordinary text in any other."""
    special = vocabulary.encode([(name, True)])
    plain = vocabulary.encode([(f"print({name!r})", False)])
    assert len(special) == 1
    assert backend.piece(int(special[0]), special=False) == b""
    assert special[0] not in plain
    assert vocabulary.decode(plain) == f"print({name!r})"


def test_declared_text_tokens_are_found_in_both_kinds_of_pieces(vocabulary: LlamaVocabulary) -> None:
    """`<tool_call>` is a token of its own in file text, too: the model's makers declared it so."""
    assert vocabulary.encode([("<tool_call>", False)]).tolist() == vocabulary.encode([("<tool_call>", True)]).tolist()


def test_pieces_are_joined_without_anything_added(vocabulary: LlamaVocabulary) -> None:
    """The tokens of a list are the tokens of its pieces, and empty pieces are nothing."""
    parts = [("<|im_start|>", True), ("user\n", False), ("", False), ("<|im_end|>", True)]
    assert vocabulary.encode(parts).tolist() == [t for part in parts for t in vocabulary.encode([part]).tolist()]
    assert len(vocabulary.encode([])) == 0
    assert vocabulary.encode([]).dtype == np.int32


def test_decode_leaves_control_tokens_out_unless_asked(vocabulary: LlamaVocabulary) -> None:
    """An ended answer shows as its text."""
    tokens = vocabulary.encode([("done", False), ("<|im_end|>", True)])
    assert vocabulary.decode(tokens) == "done"
    assert vocabulary.decode(tokens, special=True) == "done<|im_end|>"
    assert vocabulary.is_end(int(tokens[-1]))
    assert not vocabulary.is_end(int(tokens[0]))


def test_any_text_survives_the_round_trip(vocabulary: LlamaVocabulary) -> None:
    """Encoding and decoding gives the text back, code points of all planes included."""

    @settings(max_examples=150, deadline=None)
    @given(TEXT)
    def check(text: str) -> None:
        assert vocabulary.decode(vocabulary.encode([(text, False)])) == text

    check()


def test_undecodable_file_names_do_not_break_encoding(vocabulary: LlamaVocabulary) -> None:
    """A lone surrogate, which has no UTF-8, becomes a question mark."""
    assert vocabulary.decode(vocabulary.encode([("a\udc80b", False)])) == "a?b"


@pytest.mark.parametrize("unit", ["a", " ", "\n", "1", "!", "漢", " \n", "\0"])
def test_long_runs_of_one_character_are_encoded(vocabulary: LlamaVocabulary, unit: str) -> None:
    """Pathological files neither crash the tokenizer nor lose text."""
    text = unit * 20_000
    assert vocabulary.decode(vocabulary.encode([(text, False)])) == text


@given(st.binary(max_size=80), st.lists(st.integers(0, 80), max_size=12))
def test_bytes_cut_anywhere_give_the_text_of_the_whole(data: bytes, cuts: list[int]) -> None:
    """Where tokens end inside characters, the joined output is that of decoding at once."""
    detokenizer = IncrementalDetokenizer()
    text = "".join(detokenizer.push(part) for part in _cut(data, cuts)) + detokenizer.flush()
    assert text == data.decode("utf-8", errors="replace")


@given(TEXT)
def test_no_replacement_character_is_shown_for_an_open_one(text: str) -> None:
    """Fed byte by byte, each output before the end is a prefix of the text."""
    detokenizer = IncrementalDetokenizer()
    seen = ""
    for byte in text.encode():
        seen += detokenizer.push(bytes([byte]))
        assert text.startswith(seen)
    assert seen == text


@given(st.text("ab<>", max_size=40), st.text("ab<>", min_size=1, max_size=4), st.lists(st.integers(0, 40), max_size=12))
def test_output_ends_before_the_stop_string(text: str, stop: str, cuts: list[int]) -> None:
    """However the text is cut, exactly what stands before the first stop string comes out."""
    detokenizer = IncrementalDetokenizer([stop])
    out = "".join(detokenizer.push(part) for part in _cut(text.encode(), cuts))
    assert detokenizer.stopped == (stop in text)
    assert out + detokenizer.flush() == text.partition(stop)[0]


@given(st.text("ab<>", max_size=40), st.lists(st.text("ab<>", min_size=1, max_size=4), min_size=1, max_size=3))
def test_nothing_shown_ever_has_to_be_taken_back(text: str, stops: list[str]) -> None:
    """With several stop strings, output is a prefix of the text and holds none of them."""
    detokenizer = IncrementalDetokenizer(stops)
    out = "".join(detokenizer.push(char.encode()) for char in text) + detokenizer.flush()
    assert text.startswith(out)
    assert not any(stop in out for stop in stops)


def test_only_what_may_become_a_stop_string_is_held_back() -> None:
    """Text that rules the stop string out is shown at once."""
    detokenizer = IncrementalDetokenizer(["</end>"])
    assert [detokenizer.push(part) for part in (b"a</", b"en", b"x", b"<")] == ["a", "", "</enx", ""]
    assert detokenizer.flush() == "<"


def test_empty_stop_strings_are_ignored() -> None:
    """An empty string would stop everything."""
    detokenizer = IncrementalDetokenizer(["", "b"])
    assert detokenizer.push(b"ab") == "a"
    assert detokenizer.stopped


def test_after_a_stop_string_all_is_swallowed() -> None:
    """What follows in later tokens is not shown, not even at the end."""
    detokenizer = IncrementalDetokenizer(["!"])
    assert [detokenizer.push(part) for part in (b"go!", b"more")] == ["go", ""]
    assert detokenizer.flush() == ""
