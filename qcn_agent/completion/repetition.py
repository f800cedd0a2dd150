"""Filters against text that goes round in circles. The numbers are Tabby's."""

import itertools
import re

from qcn_agent.completion.likeness import is_like
from qcn_agent.completion.place import Place

_TAIL = re.compile(r"(.{3,}?)\1{4,}\s*$|(.{10,}?)\2{2,}\s*$", re.DOTALL)
_MAX_SIMILAR_LINES = 5
_SIMILAR = 0.1
_TAIL_CHARS = 400
_RULERS = frozenset("-=#*_~+ ")


def repetition(text: str, place: Place) -> str:
    """Nothing when the last line repeats a piece of it, or when lines or blocks of lines are alike."""
    lines = [line for line in text.split("\n") if line.strip()]
    if not lines:
        return text
    last = lines[-1][-_TAIL_CHARS:]
    if _TAIL.search(last) and not set(last) <= _RULERS:
        return ""
    return "" if _has_similar_run(lines) or _has_repeated_block(lines) else text


def _has_similar_run(lines: list[str]) -> bool:
    """Five lines in a row, each like the one before."""
    run = 1
    for one, other in itertools.pairwise(lines):
        run = run + 1 if is_like(one, other, _SIMILAR) else 1
        if run >= _MAX_SIMILAR_LINES:
            return True
    return False


def _has_repeated_block(lines: list[str]) -> bool:
    """The text is one block of two lines or more, said twice or oftener."""
    for size in range(2, len(lines) // 2 + 1):
        first, second = lines[:size], lines[size : 2 * size]
        if all(is_like(one, other, _SIMILAR) for one, other in zip(first, second, strict=True)):
            return True
    return False
