"""Lines as good as equal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcn_agent.completion.likeness import is_like, is_telling, is_within


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("  return total", "return total  ", True),
        ("return total", "return totals", True),
        ("return total", "return nothing", False),
        ("a", "b", False),
        ("}", "})", False),
        ("x" * 100, "x" * 95 + "yyyyy", True),
        ("x" * 100, "x" * 94 + "yyyyyy", False),
    ],
)
def test_a_twentieth_may_differ(one: str, other: str, expected: bool) -> None:
    """At least one character, but nothing in very short lines; blanks around don't count."""
    assert is_like(one, other) is expected


def distance(one: str, other: str) -> int:
    """Levenshtein's, the slow way."""
    row = list(range(len(other) + 1))
    for i, char in enumerate(one, 1):
        new = [i]
        for j, there in enumerate(other, 1):
            new.append(min(row[j - 1] + (char != there), row[j] + 1, new[j - 1] + 1))
        row = new
    return row[-1]


@given(st.text(alphabet="abc", max_size=12), st.text(alphabet="abc", max_size=12), st.integers(0, 6))
def test_the_banded_distance_is_the_distance(one: str, other: str, most: int) -> None:
    """For every limit."""
    assert is_within(one, other, most) is (distance(one, other) <= most)


def test_some_lines_come_again_by_nature() -> None:
    """Brackets and decorators tell nothing."""
    assert is_telling("  return total")
    assert not is_telling("    )")
    assert not is_telling("  @property")
