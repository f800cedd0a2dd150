"""Columns of numbers and texts as a blob."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qcn_agent.index.columns import numbers_of, pack, planes_of, unpack

NUMBERS = st.lists(st.integers(0, 2**32 - 1), max_size=30)
TEXTS = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=9), max_size=9)


@given(st.lists(NUMBERS, min_size=1, max_size=4), TEXTS)
def test_a_blob_gives_back_what_went_in(columns: list[list[int]], texts: list[str]) -> None:
    """Whatever is empty and whatever lengths differ."""
    blob = pack([np.array(column, np.uint32) for column in columns], texts)

    found, others = unpack(blob, len(columns))

    assert [column.tolist() for column in found] == columns
    assert others == texts


def test_nothing_takes_no_bytes() -> None:
    """Most files have no imports."""
    assert pack([np.zeros(0, np.uint32)], []) == b""
    assert unpack(b"", 2)[1] == []


def test_newlines_and_broken_characters_cost_themselves_only() -> None:
    """No text runs into the next one."""
    assert unpack(pack([np.zeros(0, np.uint32)], ["a\nb", "\udcff", "c"]), 1)[1] == ["a b", "?", "c"]


@given(NUMBERS)
def test_planes_are_the_same_numbers(numbers: list[int]) -> None:
    """The lowest bytes come first."""
    planes = planes_of(np.array(numbers, np.uint32))

    assert planes[: len(numbers)] == bytes(number & 255 for number in numbers)
    assert numbers_of(np.frombuffer(planes, np.uint8)).tolist() == numbers
