"""Filters against saying what is there already: before the cursor, behind it, or in the lines around."""

from qcn_agent.completion.brackets import open_brackets
from qcn_agent.completion.likeness import is_like, is_telling
from qcn_agent.completion.place import Place
from qcn_agent.completion.values import Kind

_DUPLICATE_LINES = 3
_TRIVIAL = 2  # characters of a line that prove nothing


def typed_overlap(text: str, place: Place) -> str:
    """Without a repetition of the line's beginning: a model may start the line anew."""
    typed = place.snapshot.line_before.lstrip()
    bare = text.lstrip(" \t")
    return bare[len(typed) :] if len(typed) >= 4 and bare.startswith(typed) else text


def suffix_overlap(text: str, place: Place) -> str:
    """Without the longest ending that the cursor's line goes on with."""
    rest = place.snapshot.line_after.rstrip()
    if not rest:
        return text
    first = text.partition("\n")[0]
    for length in range(min(len(first), len(rest)), 0, -1):
        if first.rstrip().endswith(rest[:length]) and _may_cut(first.rstrip(), rest, length):
            return first.rstrip()[:-length]
    return text


def _may_cut(first: str, rest: str, length: int) -> bool:
    """Whether the overlap is the rest of the line, or ends where a word ends on both sides.

    A lone closing bracket that the text itself opens is not an overlap.
    """
    ending = first[-length:]
    if length < len(rest) and _is_word(rest[length - 1]) and _is_word(rest[length]):
        return False
    if length < len(first) and _is_word(ending[0]) and _is_word(first[-length - 1]):
        return False
    return not _is_balanced_by_itself(first, ending)


def _is_balanced_by_itself(first: str, ending: str) -> bool:
    """Whether the brackets of `ending` close what `first` opened."""
    if not ending or ending[0] not in ")]}":
        return False
    pairs = {")": "(", "]": "[", "}": "{"}
    opener = pairs[ending[0]]
    return first.count(opener) >= first.count(ending[0])


def _is_word(char: str) -> bool:
    return char.isalnum() or char == "_"


def next_lines(text: str, place: Place) -> str:
    """Nothing when the first lines are those below the cursor; cut before a later line that begins their repetition."""
    lines = text.split("\n")
    below = place.lines_below
    if not below:
        return text
    whole = [place.snapshot.line_before + lines[0], *lines[1:]]
    solid = [(number, line) for number, line in enumerate(whole) if line.strip()]
    for position, (number, _) in enumerate(solid):
        ours = [line for _, line in solid[position : position + _DUPLICATE_LINES]]
        theirs = list(below[: len(ours)])
        if len(ours) == len(theirs) and _are_alike(ours, theirs):
            return "" if position == 0 else "\n".join(lines[:number]).rstrip("\n")
    return _without_closer(text, below[0])


def _without_closer(text: str, below: str) -> str:
    """Without a last line that only closes a block, if that stands below, unless the text itself opened it."""
    kept, newline, last = text.rstrip().rpartition("\n")
    is_there = bool(newline) and last == below.rstrip() and not set(last.strip()) - set(")]};,")
    return kept if is_there and last.strip() and not open_brackets(kept) else text


def _are_alike(ours: list[str], theirs: list[str]) -> bool:
    """Line by line; at least one of them has to say something."""
    if not any(map(is_telling, ours)):
        return False
    return all(is_like(one, other) for one, other in zip(ours, theirs, strict=True))


def line_above(text: str, place: Place) -> str:
    """Nothing when the completed line is the line above once more."""
    first = text.lstrip("\n").partition("\n")[0]
    line = first if text.startswith("\n") else place.snapshot.line_before + first
    above = place.snapshot.line_before if text.startswith("\n") else place.line_above
    if len(line.strip()) <= _TRIVIAL or not first.strip():
        return text
    return "" if above.strip() and line.strip() == above.strip() else text


def mid_line(text: str, place: Place) -> str:
    """In the middle of a line only the first line counts."""
    rest = place.snapshot.line_after.strip(")]}>,;:\"'` \t")
    return text.partition("\n")[0] if rest or (place.kind is Kind.LINE and not text.startswith("\n")) else text
