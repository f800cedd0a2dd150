"""Finding what a text that is not there most likely meant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcn_tools.region import nearest_region

FILE = """import os


def total(items):
    result = 0
    for item in items:
        result += item.price
    return result


def mean(items):
    return total(items) / len(items)
"""


@pytest.mark.parametrize(
    ("wanted", "first", "last", "differing"),
    [
        ("    for item in items:\n        result += item.cost\n", 6, 7, (7,)),
        ("for item in items:\n    result += item.price", 6, 7, (6, 7)),
        ("def mean(items):\n    return total(items) // len(items)", 11, 12, (12,)),
        ("  return  result", 8, 8, (8,)),
        ("import  os", 1, 1, (1,)),
    ],
)
def test_nearest(wanted: str, first: int, last: int, differing: tuple[int, ...]) -> None:
    """The region has the height of what was wanted, and the lines that differ are named."""
    region = nearest_region(FILE, wanted)
    assert region is not None
    assert (region.first_line, region.last_line, region.differing_lines) == (first, last, differing)
    assert region.text == "\n".join(FILE.split("\n")[first - 1 : last])


def test_nothing_alike() -> None:
    """Without a word in common there is no region."""
    assert nearest_region(FILE, "zzz qqq") is None
    assert nearest_region("", "x") is None


def test_long_texts_are_bounded() -> None:
    """A region has at most 40 lines, however many were wanted."""
    text = "\n".join(f"line {number}" for number in range(1000))
    region = nearest_region(text, "\n".join(f"line {number} x" for number in range(500, 700)))
    assert region is not None
    assert (region.first_line, region.last_line) == (501, 540)


@given(st.text("ab \n", max_size=60), st.text("ab \n", min_size=1, max_size=20))
def test_region_is_verbatim(text: str, wanted: str) -> None:
    """Whatever is asked: a region is exactly those lines of the text."""
    region = nearest_region(text, wanted)
    if region:
        assert region.text == "\n".join(text.split("\n")[region.first_line - 1 : region.last_line])
        assert all(region.first_line <= line <= region.last_line for line in region.differing_lines)
