"""Where an answer ends before the model ends it, seen from the text so far. No marker text is a stop."""

from qcn_agent.completion.brackets import underflow
from qcn_agent.completion.likeness import is_like
from qcn_agent.completion.place import Place
from qcn_agent.completion.values import Kind, indent_of

_REPEATS = 3
_MAX_BLANK_LINES = 2
_ENDED = frozenset(")]}\"'`;")
_GOES_ON = tuple(",([{")  # unless a blank follows


def engine_stops(place: Place) -> tuple[str, ...]:
    """Stop strings that the engine itself looks for, at no token too many: the end of a line that isn't complete."""
    return ("\n",) if place.kind is Kind.LINE and not may_go_below(place) else ()


def may_go_below(place: Place) -> bool:
    """Whether the cursor's line may be complete, so that the next one is what is wanted."""
    line = place.snapshot.line_before.rstrip()
    if not line or place.snapshot.line_after.strip():
        return False
    is_open = place.opens_block or place.snapshot.line_before.endswith(_GOES_ON)
    return is_open or line[-1] in _ENDED or line[-1].isalnum() or line[-1] == "_"


def cut(text: str, place: Place) -> int | None:
    """The number of characters of `text` at which it ends; None: it may go on.

    `text` is all that was generated so far. Its last line, which may be unfinished, is judged for brackets only.
    """
    found = (_line_end(text, place) if place.kind is Kind.LINE else _block_end(text, place), _underflow(text, place))
    ends = [end for end in found if end is not None]
    return min(ends) if ends else None


def _line_end(text: str, place: Place) -> int | None:
    """The end of the first line that holds something."""
    skipped = len(text) - len(text.lstrip("\n")) if may_go_below(place) or place.is_fresh_line else 0
    end = text.find("\n", skipped)
    while end >= 0 and not text[:end].strip() and skipped:
        end = text.find("\n", end + 1)
    return None if end < 0 else end


def _underflow(text: str, place: Place) -> int | None:
    """A bracket is closed that nobody opened. Only counted where the text before the cursor can be trusted."""
    return underflow(text, place.open_before) if place.counts_brackets else None


def _block_end(text: str, place: Place) -> int | None:
    """The first line that is below the cursor already, leaves the scope, or says the same for the third time."""
    start, number, num_blank, repeats, previous = 0, 0, 0, 1, None
    while (end := text.find("\n", start)) >= 0:
        line = text[start:end]
        if line.strip():
            if number and _leaves_scope(line, place):
                return _scope_end(text, start, end, line, place)
            if _is_below(line if number else place.snapshot.line_before + line, place):
                return _before_line(text, start)
            repeats = repeats + 1 if line.strip() == previous else 1
            if repeats == _REPEATS:
                return _before_line(text, start)
            previous, num_blank = line.strip(), 0
        else:
            num_blank += 1
            if num_blank > _MAX_BLANK_LINES:
                return len(text[:start].rstrip("\n"))
        start, number = end + 1, number + 1
    # An unfinished last line that already stands too far left ends the scope as well.
    rest = text[start:]
    if number and rest.strip() and _leaves_scope(rest, place) and rest.strip()[0] not in ")]}":
        return _before_line(text, start)
    return None


def _is_below(line: str, place: Place) -> bool:
    return len(line.strip()) > 2 and bool(place.lines_below) and is_like(line, place.lines_below[0])


def _leaves_scope(line: str, place: Place) -> bool:
    """Whether a line stands left of the block: not deeper than its opener, or less deep than the cursor's line."""
    depth, base = len(indent_of(line)), len(place.indent)
    return depth <= base if place.opens_block else depth < base


def _scope_end(text: str, start: int, end: int, line: str, place: Place) -> int:
    """A bracket that closes the block belongs to it, unless it is there already."""
    closes = line.strip()[0] in ")]}" and len(indent_of(line)) == len(place.indent) and place.opens_block
    is_there = bool(place.lines_below) and place.lines_below[0].strip() == line.strip()
    return end if closes and not is_there else _before_line(text, start)


def _before_line(text: str, start: int) -> int:
    """Behind the last line that stays; blank lines before the one that goes, go too."""
    return len(text[:start].rstrip("\n"))
