"""Open brackets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcn_agent.completion.brackets import CLOSERS, OPENERS, brackets, open_brackets, underflow


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("f(a, [b", ["(", "["]),
        ("f(a)", []),
        ("f('(', \"[\"", ["("]),
        ("it's (open", ["("]),
        (r"f('\'(', [", ["(", "["]),
        ("a)) (", ["("]),
        ("", []),
    ],
)
def test_open_brackets_outside_of_strings(text: str, expected: list[str]) -> None:
    """A quote without its partner on the line is an apostrophe."""
    assert open_brackets(text) == expected


@pytest.mark.parametrize(
    ("text", "credit", "expected"),
    [("a)", [], 1), ("a)", ["("], None), ("a))", ["("], 2), ("(a))", ["("], None), ("a]", ["("], 1), ("')'", [], None)],
)
def test_underflow_is_the_first_bracket_that_closes_nothing(text: str, credit: list[str], expected: int | None) -> None:
    """What is open before the text counts."""
    assert underflow(text, credit) == expected


@given(st.text(alphabet="()[]{}a'\"\\\n"))
def test_brackets_are_found_where_they_stand(text: str) -> None:
    """In order; and a text plus the closers of what it leaves open has nothing open."""
    found = list(brackets(text))

    assert all(text[index] == char and char in {*OPENERS, *CLOSERS} for index, char in found)
    assert [index for index, _ in found] == sorted({index for index, _ in found})
    closed = text + "\n" + "".join(OPENERS[char] for char in reversed(open_brackets(text)))
    if "\\" not in text and "'" not in text and '"' not in text:
        assert open_brackets(closed) == []
