"""The parse gate: a block must not break a file that parses."""

from qcn_agent.completion.decision import near
from qcn_agent.completion.place import Place
from qcn_agent.completion.values import is_code
from qcn_agent.index.syntax import faults, parse

_AFTER_CHARS = 4_000
_MAX_TRIES = 6
_MAX_S = 0.02


def parse_gate(text: str, place: Place) -> str:
    """A block without the last lines that bring in a fault; nothing when its first line does.

    A fault in the last line doesn't count: it may be unfinished. One line alone is not judged, nor is anything where
    there are faults around the cursor already, or where the grammar can't tell.
    """
    lines = text.split("\n")
    grammar = place.snapshot.grammar
    if len(lines) < 2 or not is_code(grammar):
        return text
    before, after = near(place.snapshot.before), place.snapshot.after[:_AFTER_CHARS]
    line = before.count("\n") + 1
    if _fault_lines(_without_line(before), "", grammar):
        return text
    known = len(lines)
    for _ in range(_MAX_TRIES):
        kept = "\n".join(lines[:known])
        bad = _fault_lines(before + kept, after, grammar)
        inside = [number for number in bad if line <= number < line + known - 1]
        if not inside:
            return kept.rstrip("\n") if known < len(lines) else text
        known = min(known - 1, inside[0] - line)
        if known < 1:
            return ""
    return ""


def _without_line(before: str) -> str:
    """Up to the start of the cursor's line."""
    return before[: before.rfind("\n") + 1]


def _fault_lines(before: str, after: str, grammar: str) -> list[int]:
    """Lines, from 1, where a fault begins."""
    tree = parse((before + after).encode("utf-8", "replace"), grammar, max_s=_MAX_S)
    return [] if tree is None or not tree.root_node.has_error else sorted(fault.line for fault in faults(tree))
