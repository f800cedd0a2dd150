"""The latest edits as small diffs: what the user is about."""

import difflib
from collections import deque
from dataclasses import dataclass

MAX_EDITS = 6
NEAR_LINES = 8
PAUSE_S = 1.0
_CONTEXT_LINES = 2
_MAX_DIFF_LINES = 40


@dataclass(frozen=True)
class Edit:
    """A group of changes in one file: a unified diff without its head, and its number in time."""

    path: str
    diff: str
    age: int


@dataclass
class _Group:
    """Changes near each other that go on: the text before the first, the latest text, line and time."""

    path: str
    old: str
    new: str
    line: int
    at_s: float


class EditLog:
    """The last MAX_EDITS groups of changes. A group ends with a pause, a jump of lines, or a change elsewhere."""

    def __init__(self) -> None:
        self._edits: deque[Edit] = deque(maxlen=MAX_EDITS)
        self._open: _Group | None = None
        self._count = 0

    def note(self, path: str, old: str, new: str, line: int, now_s: float) -> None:
        """A change at `line`: the whole text before and after. Cheap; diffs are made when a group is closed."""
        group = self._open
        if group and group.path == path and now_s - group.at_s < PAUSE_S and abs(line - group.line) <= NEAR_LINES:
            group.new, group.line, group.at_s = new, line, now_s
            return
        self._close()
        self._open = _Group(path, old, new, line, now_s)

    def settle(self, now_s: float) -> None:
        """Close the group that has come to a pause."""
        if self._open and now_s - self._open.at_s >= PAUSE_S:
            self._close()

    @property
    def edits(self) -> tuple[Edit, ...]:
        """Oldest first, without the group that goes on."""
        return tuple(self._edits)

    def _close(self) -> None:
        group, self._open = self._open, None
        diff = diff_of(group.old, group.new) if group else ""
        if group and diff:
            self._edits.append(Edit(group.path, diff, self._count))
            self._count += 1


def diff_of(old: str, new: str) -> str:
    """A unified diff without head, of at most _MAX_DIFF_LINES lines; empty for equal texts.

    Equal lines at both ends are cut off first, so a small change of a large file is cheap.
    """
    before, after = old.splitlines(keepends=True), new.splitlines(keepends=True)
    head = _common(before, after)
    limit = min(len(before), len(after)) - head
    tail = min(limit, _common(before[::-1], after[::-1]))
    first = max(0, head - _CONTEXT_LINES)
    ours = before[first : len(before) - tail + _CONTEXT_LINES if tail > _CONTEXT_LINES else None]
    theirs = after[first : len(after) - tail + _CONTEXT_LINES if tail > _CONTEXT_LINES else None]
    lines = list(difflib.unified_diff(ours, theirs, n=_CONTEXT_LINES))[3:]
    return "".join(line if line.endswith("\n") else line + "\n" for line in lines[:_MAX_DIFF_LINES])


def _common(one: list[str], other: list[str]) -> int:
    """Number of equal lines at the start."""
    for number, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return number
    return min(len(one), len(other))
