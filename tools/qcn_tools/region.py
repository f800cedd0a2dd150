"""Finds the part of a file that a text which is not in it most likely meant."""

import difflib
import heapq
import itertools
import re
from collections import defaultdict
from dataclasses import dataclass

_WORD = re.compile(r"\w+|[^\w\s]")
_MAX_LINES = 40
_MAX_VOTES = 20_000  # frequent words come last and say little
_MAX_WORDS = 250
_NUM_CANDIDATES = 3


@dataclass(frozen=True)
class Region:
    """Lines `first_line` .. `last_line` (from 1, inclusive), verbatim; `differing_lines` are those not in the text."""

    first_line: int
    last_line: int
    text: str
    differing_lines: tuple[int, ...]


def nearest_region(text: str, wanted: str) -> Region | None:
    """The window of `text`, as high as `wanted` (at most 40 lines), that resembles it most; None if nothing does.

    Words vote for where the window starts, rare words more; only the best few windows are compared word by word.
    """
    lines, wanted_lines = text.split("\n"), wanted.strip("\n").split("\n")[:_MAX_LINES]
    starts = _voted_starts(lines, wanted_lines)
    if not starts:
        return None
    height = len(wanted_lines)
    windows = {start: lines[start : start + height] for start in starts}
    best = max(windows, key=lambda start: (_similarity(windows[start], wanted_lines), -start))
    window = windows[best]
    given = set(wanted_lines)
    differing = tuple(best + 1 + index for index, line in enumerate(window) if line not in given)
    return Region(best + 1, best + len(window), "\n".join(window), differing)


def _voted_starts(lines: list[str], wanted: list[str]) -> list[int]:
    given = _lines_by_word(wanted)
    found = _lines_by_word(lines, frozenset(given))
    votes: defaultdict[int, float] = defaultdict(float)
    num_votes = 0
    for word in sorted(found, key=lambda word: len(found[word]) * len(given[word])):
        if num_votes > _MAX_VOTES:
            break
        pairs = itertools.product(found[word], given[word])
        weight = 1 / (len(found[word]) * len(given[word]))
        for number, index in itertools.islice(pairs, _MAX_VOTES):
            votes[max(number - index, 0)] += weight
            num_votes += 1
    return heapq.nlargest(_NUM_CANDIDATES, votes, key=lambda start: (votes[start], -start))


def _lines_by_word(lines: list[str], only: frozenset[str] | None = None) -> dict[str, list[int]]:
    places: dict[str, list[int]] = defaultdict(list)
    for number, line in enumerate(lines):
        words = set(_WORD.findall(line))
        for word in words if only is None else words & only:
            places[word].append(number)
    return places


def _similarity(window: list[str], wanted: list[str]) -> float:
    words = [_WORD.findall("\n".join(part))[:_MAX_WORDS] for part in (window, wanted)]
    return difflib.SequenceMatcher(None, words[0], words[1], autojunk=False).ratio()
