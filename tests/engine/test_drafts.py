"""What is proposed is what followed the latest occurrence of the longest match."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qcn_agent.engine.drafts import PromptLookup

PATHS = st.lists(st.integers(0, 3), max_size=120)


def _expected(path: list[int], max_tokens: int) -> list[int] | None:
    """The same, slowly: tries each place for each length."""
    for width in (5, 4, 3):
        for end in range(len(path) - 1, width - 1, -1):
            if len(path) > width and path[end - width : end] == path[-width:]:
                known = path[end : end + max_tokens]
                return [known[index % len(known)] for index in range(max_tokens)]
    return None


def _proposed(lookup: PromptLookup, max_tokens: int) -> list[int] | None:
    draft = lookup.propose(max_tokens)
    return None if draft is None else draft.tokens.tolist()


@given(st.lists(st.integers(0, 2), max_size=34), st.integers(1, 20))
def test_the_draft_follows_the_latest_of_the_longest_matches(path: list[int], max_tokens: int) -> None:
    """Five tokens before four before three; what overlaps the end goes round."""
    lookup = PromptLookup(np.array(path, np.int32))
    assert _proposed(lookup, max_tokens) == _expected(path, max_tokens)


@given(PATHS, st.lists(st.integers(0, 120), max_size=6), st.integers(1, 20))
def test_it_grows_piece_by_piece(path: list[int], cuts: list[int], max_tokens: int) -> None:
    """However a path comes, the draft is the same."""
    bounds = sorted({0, *(min(cut, len(path)) for cut in cuts), len(path)})
    lookup = PromptLookup(np.empty(0, np.int32))
    for begin, end in itertools.pairwise(bounds):
        lookup.extend(np.array(path[begin:end], np.int32))
    assert len(lookup) == len(path)
    assert _proposed(lookup, max_tokens) == _proposed(PromptLookup(np.array(path, np.int32)), max_tokens)


@pytest.mark.parametrize("distance", [10, 300, 5000, 20_000])
def test_a_copy_is_found_however_far_back(distance: int) -> None:
    """Through the sorted part and the tail, with tokens as large as a vocabulary has."""
    path = np.random.default_rng(0).permutation(1 << 21)[:distance].astype(np.int32)
    copied = path[:9].tolist()
    lookup = PromptLookup(path)
    for token in copied[:4]:
        assert lookup.propose(5) is None or token != copied[0]
        lookup.extend(np.array([token], np.int32))
    draft = lookup.propose(5)
    assert draft is not None
    assert (draft.tokens.tolist(), draft.num_matched) == (copied[4:9], 4)


def test_a_loop_is_drafted_for_as_long_as_one_likes() -> None:
    """Seven tokens that repeat, asked for twenty."""
    lookup = PromptLookup(np.array(list(range(7)) * 3, np.int32))
    draft = lookup.propose(20)
    assert draft is not None
    assert draft.tokens.tolist() == (list(range(7)) * 3)[:20]
    assert draft.num_matched == 14


def test_long_matches_are_not_told_apart() -> None:
    """Sixteen tokens are the most that are compared."""
    path = np.tile(np.arange(50, dtype=np.int32), 2)
    draft = PromptLookup(path).propose(1)
    assert draft is not None
    assert draft.num_matched == 16


@pytest.mark.parametrize("path", [[], [1], [1, 2, 3], [1, 2, 1, 2], [5, 1, 2, 3, 4]])
def test_nothing_is_proposed_without_a_match(path: list[int]) -> None:
    """Two equal tokens in a row are not enough."""
    assert PromptLookup(np.array(path, np.int32)).propose(4) is None


def test_of_many_occurrences_the_latest_are_looked_at() -> None:
    """A longer match before 32 shorter ones is too far back."""
    path = [7, 8, 1, 2, 3, 99, *[1, 2, 3, 50] * 32, 7, 8, 1, 2, 3]
    lookup = PromptLookup(np.array(path, np.int32))
    assert _proposed(lookup, 1) == [50]
    assert _proposed(PromptLookup(np.array(path[:6] + path[10:], np.int32)), 1) == [99]


def test_zero_is_a_token_like_others() -> None:
    """Unused places of the buffers are no text."""
    lookup = PromptLookup(np.zeros(3, np.int32))
    assert lookup.propose(2) is None
    lookup.extend(np.zeros(1, np.int32))
    assert _proposed(lookup, 2) == [0, 0]
