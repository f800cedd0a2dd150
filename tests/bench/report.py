"""How a benchmark reports: tables, targets as lines, a verdict as the last line, and JSON."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Target:
    """Something that should hold, what was measured, and whether it holds."""

    text: str
    measured: str
    is_met: bool

    def __str__(self) -> str:
        return f"{'ok  ' if self.is_met else 'MISS'}  {self.text}: {self.measured}"


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """An aligned Markdown table; all columns but the first are set flush right."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rule = ["-" * widths[0], *["-" * (width - 1) + ":" for width in widths[1:]]]
    return "\n".join(_line(row, widths) for row in (cells[0], rule, *cells[1:]))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = (
        cell.rjust(width) if column else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "| " + " | ".join([first, *rest]) + " |"


def conclude(targets: Sequence[Target], results: Mapping[str, Any], json_file: Path | None) -> None:
    """Print the targets and the verdict, and write `results` with them where a file is given."""
    num_met = sum(target.is_met for target in targets)
    for target in targets:
        print(target)
    if json_file is not None:
        listed = [asdict(target) for target in targets]
        text = json.dumps({**results, "targets": listed}, indent=1, ensure_ascii=False)
        json_file.write_text(text + "\n", encoding="utf-8")
    print(f"VERDICT: {num_met} of {len(targets)}")


def progress(line: str) -> None:
    """One line on stderr, at once."""
    print(line, file=sys.stderr, flush=True)
