"""Identifiers and what they are made of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcn_agent.index.words import (
    MAX_WORD_CHARS,
    WordSplitter,
    identifiers_of,
    names_in,
    path_words,
    words_of_text,
)


@pytest.mark.parametrize(
    ("identifier", "words"),
    [
        ("parseHTTPHeader_v2", ("parsehttpheader_v2", "parse", "http", "header", "v2")),
        ("snake_case_name", ("snake_case_name", "snake", "case", "name")),
        ("__init__", ("__init__", "init")),
        ("XMLParser", ("xmlparser", "xml", "parser")),
        ("simple", ("simple",)),
        ("SIMPLE", ("simple",)),
        ("aB", ("ab",)),
        ("größe_maß", ("größe_maß", "größe", "maß")),
        ("utf8", ("utf8",)),
    ],
)
def test_an_identifier_is_itself_and_its_parts(identifier: str, words: tuple[str, ...]) -> None:
    """Camel case and underscores take it apart; all in lower case; single letters say nothing."""
    assert WordSplitter().words_of(identifier) == words


def test_an_overlong_identifier_is_no_word() -> None:
    """Encoded data must not fill the index."""
    assert WordSplitter().words_of("x" * (MAX_WORD_CHARS + 1)) == ()


def test_counts_add_up_over_identifiers() -> None:
    """A part counts for every identifier that it is in."""
    counts = WordSplitter().count({"read_file": 2, "write_file": 3})

    assert counts == {"read_file": 2, "read": 2, "file": 5, "write_file": 3, "write": 3}


def test_numbers_and_single_letters_are_no_identifiers() -> None:
    """Only what can be looked for is counted."""
    assert identifiers_of("x = 42 + foo(bar, foo)") == {"foo": 2, "bar": 1}


def test_names_are_told_once_as_they_are_written() -> None:
    """Without parts and without counts."""
    assert names_in("parseHTTP(x_1, parseHTTP, 9)") == {"parseHTTP", "x_1"}
    assert names_in("") == frozenset()


def test_words_of_a_text_come_in_its_order() -> None:
    """Each once."""
    assert words_of_text("fooBar then foo") == ["foobar", "foo", "bar", "then"]


def test_words_of_a_path_survive_any_bytes() -> None:
    """A name that is no UTF-8 has the words that can be read of it."""
    assert path_words("src/data_\udcff.py", WordSplitter()) == {"src": 1, "data_": 1, "data": 1, "py": 1}


@given(st.text(max_size=80))
def test_every_word_is_lower_case_and_can_be_found_again(text: str) -> None:
    """What is stored equals what a query for it would ask."""
    for word in words_of_text(text):
        assert word == word.lower()
        assert len(word) > 1
        assert not any(character.isspace() for character in word)
