"""What counts as found in a pack."""

from collections.abc import Sequence

import numpy as np
import pytest

from qcn_agent.context.pack import Pack, Part, Tier
from tests.bench.localise_pack import EvenVocabulary, Found, Span, by_project, row_of, share_shown


def _pack(*lines: tuple[int, int]) -> Pack:
    part = Part(Tier.BEST, "a.py", (np.zeros(4, np.int32),), lines, 0)
    return Pack(100, (), (part,))


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([("a.py", 2, 9)], 1.0),
        ([("a.py", 2, 11)], 0.0),
        ([("a.py", 2, 9), ("b.py", 2, 9)], 0.5),
        ([("a.py", 8, 13)], 1.0),
    ],
)
def test_a_function_counts_when_all_its_lines_are_there(spans: Sequence[Span], expected: float) -> None:
    """From however many stretches of its file."""
    lines = ((1, 10),) if expected < 1 or spans[0][2] < 10 else ((1, 10), (11, 20))

    assert share_shown(_pack(*lines), spans) == expected


def test_any_or_all_of_the_functions() -> None:
    """1 for a hit, 9 for a miss, by project."""
    found = [Found("p", 0.5, 1.0, False), Found("p", 1.0, 1.0, False), Found("q", 0.0, 1.0, True)]

    assert by_project(found, is_all=False) == {"p": [1, 1], "q": [9]}
    assert by_project(found, is_all=True) == {"p": [9, 1], "q": [9]}
    assert row_of("64K", found)[:2] == ["64K", "3"]


def test_tokens_are_counted_by_bytes() -> None:
    """Rounded up, text by text."""
    vocabulary = EvenVocabulary()

    assert len(vocabulary.encode([("x" * 36, False)])) == 10
    assert len(vocabulary.encode([("x", False)])) == 1
    assert len(vocabulary.encode([])) == 0
