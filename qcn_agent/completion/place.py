"""Where a completion is to stand: what the stops and the filters look at."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from qcn_agent.completion.brackets import open_brackets
from qcn_agent.completion.values import Kind, Snapshot, indent_of, is_code

_LONE_CLOSERS = ("bash",)
_SCOPE_CHARS = 4_000
_LINES_BELOW = 20


@dataclass(frozen=True)
class Place:
    """A snapshot's surroundings. `kind` is what was decided; `mean_logprob` of the first line, None if unknown."""

    snapshot: Snapshot
    kind: Kind
    mean_logprob: float | None = None
    min_logprob: float = -100.0

    @functools.cached_property
    def lines_below(self) -> Sequence[str]:
        """The next lines that hold something, without the cursor's own."""
        _, _, below = self.snapshot.after.partition("\n")
        return [line for line in below[:_SCOPE_CHARS].split("\n")[:_LINES_BELOW] if line.strip()]

    @functools.cached_property
    def line_above(self) -> str:
        """The nearest line above that holds something; empty at the top."""
        above = self.snapshot.before[: self.snapshot.line_start][-_SCOPE_CHARS:]
        return next((line for line in reversed(above.split("\n")) if line.strip()), "")

    @functools.cached_property
    def is_fresh_line(self) -> bool:
        """Whether nothing but blanks stands before the cursor on its line."""
        return not self.snapshot.line_before.strip()

    @functools.cached_property
    def opens_block(self) -> bool:
        """Whether the line before the cursor opens a block, whose lines are to be indented deeper."""
        return self.snapshot.line_before.rstrip().endswith((":", "{"))

    @functools.cached_property
    def counts_brackets(self) -> bool:
        """Whether a bracket that closes nothing is a fault here: in prose, and in a shell's `case`, it is none."""
        return is_code(self.snapshot.grammar) and self.snapshot.grammar not in _LONE_CLOSERS

    @functools.cached_property
    def indent(self) -> str:
        """Of the cursor's line: with lesser indentation the scope ends."""
        return indent_of(self.snapshot.line_before)

    @functools.cached_property
    def open_before(self) -> list[str]:
        """Brackets that are open at the cursor, outermost first, seen from the start of the enclosing stretch."""
        return open_brackets(_scope(self.snapshot.before))

    @functools.cached_property
    def credit(self) -> list[str]:
        """Those of them that the text behind the cursor does not close: what a completion may close."""
        num_closed = len(_leading_closers(self.snapshot.after))
        return self.open_before[: max(0, len(self.open_before) - num_closed)]


def _scope(before: str) -> str:
    """From the last line that is not indented on."""
    tail = before[-_SCOPE_CHARS:]
    start = len(tail)
    while (start := tail.rfind("\n", 0, start)) >= 0:
        if tail[start + 1 : start + 2] not in ("", " ", "\t", "\n", "}", ")", "]"):
            return tail[start + 1 :]
    return tail


def _leading_closers(after: str) -> str:
    """The closing brackets that the cursor's line goes on with, before anything else."""
    line = after.partition("\n")[0]
    found = ""
    for char in line:
        if char in ")]}":
            found += char
        elif char not in " \t,;:":
            break
    return found
