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
    """Cutting back keeps the first tokens and their splits, the cut being one, and never lengthens."""
    ledger = _fed(calls)
    before, splits = ledger.tokens.tolist(), ledger.splits
    ledger.truncate(length)
    assert ledger.tokens.tolist() == before[:length]
    kept = min(length, len(before))
    assert ledger.splits == tuple(sorted({split for split in splits if split < kept} | ({kept} - {0})))


def test_a_cut_inside_a_call_is_overwritten_cleanly() -> None:
    """Appending after a cut leaves no trace of the old call's end; the part that stays counts as a call."""
    ledger = _fed([[1, 2, 3, 4], [5, 6]])
    ledger.truncate(2)
    ledger.append(np.array([9, 9, 9, 9], np.int32))
    assert ledger.tokens.tolist() == [1, 2, 9, 9, 9, 9]
    assert ledger.splits == (2, 6)


def test_an_empty_append_is_no_call() -> None:
    """Nothing decoded, nothing recorded."""
    ledger = _fed([[1]])
    ledger.append(np.empty(0, np.int32))
    assert ledger.splits == (1,)


@given(CALLS)
def test_a_ledger_made_of_tokens_and_ends_equals_its_source(calls: list[list[int]]) -> None:
    """Tokens and call ends come back, and it can be extended."""
    source = _fed(calls)
    copy = Ledger.of(source.tokens, source.ends.tobytes())
    assert copy.tokens.tolist() == source.tokens.tolist()
    assert copy.splits == source.splits
    copy.append(np.arange(5000, dtype=np.int32))
    assert len(copy) == len(source) + 5000
