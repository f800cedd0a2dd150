"""The ledger holds exactly what was decoded, and how."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qcn_agent.engine.ledger import Ledger

CALLS = st.lists(st.lists(st.integers(0, 100), min_size=1, max_size=700), max_size=6)


def _fed(calls: list[list[int]]) -> Ledger:
    ledger = Ledger()
    for call in calls:
        ledger.append(np.array(call, np.int32))
    return ledger


@given(CALLS)
def test_holds_what_was_appended_and_where_calls_ended(calls: list[list[int]]) -> None:
    """Tokens come back in order, also past the first growth, and the splits are the lengths after each call."""
    ledger = _fed(calls)
    assert ledger.tokens.tolist() == [token for call in calls for token in call]
    assert ledger.splits == tuple(np.cumsum([len(call) for call in calls]).tolist())


@given(CALLS, st.integers(0, 5000))
def test_truncation_keeps_a_prefix(calls: list[list[int]], length: int) -> None:
    """Cutting back keeps the first tokens and their splits, and never lengthens."""
    ledger = _fed(calls)
    before, splits = ledger.tokens.tolist(), ledger.splits
    ledger.truncate(length)
    assert ledger.tokens.tolist() == before[:length]
    assert ledger.splits == tuple(split for split in splits if split <= length)


def test_a_cut_inside_a_call_is_overwritten_cleanly() -> None:
    """Appending after a cut leaves no trace of the old call's end."""
    ledger = _fed([[1, 2, 3, 4], [5, 6]])
    ledger.truncate(2)
    ledger.append(np.array([9, 9, 9, 9], np.int32))
    assert ledger.tokens.tolist() == [1, 2, 9, 9, 9, 9]
    assert ledger.splits == (6,)


def test_an_empty_append_is_no_call() -> None:
    """Nothing decoded, nothing recorded."""
    ledger = _fed([[1]])
    ledger.append(np.empty(0, np.int32))
    assert ledger.splits == (1,)


@given(st.lists(st.integers(0, 2), max_size=20), st.lists(st.integers(0, 2), max_size=20))
def test_common_prefix_is_the_longest_equal_beginning(held: list[int], prompt: list[int]) -> None:
    """Equal to a plain comparison token by token."""
    expected = 0
    while expected < min(len(held), len(prompt)) and held[expected] == prompt[expected]:
        expected += 1
    assert _fed([held] if held else []).common_prefix(np.array(prompt, np.int32)) == expected


@given(CALLS, CALLS, st.integers(0, 3000))
def test_a_copy_of_a_prefix_equals_it(calls: list[list[int]], other: list[list[int]], length: int) -> None:
    """A forked ledger is the source cut back, whatever it held before."""
    source, copy = _fed(calls), _fed(other)
    length = min(length, len(source))
    copy.extend_from(source, length)
    source.truncate(length)
    assert copy.tokens.tolist() == source.tokens.tolist()
    assert copy.splits == source.splits
