"""Lines to be filled in, of code that the embedded model was not trained on.

*textbook*: functions that the hash rule of `training/textbook.py` held out, of templates that training knew.
*template*: of templates held out whole. *library*: functions of the standard library that the hash rule of
`training/source_file.py` held out. *own*: this repository, of which nothing was in the corpus.
"""

import functools
import random
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from qcn_agent.engine.generator import Vocabulary
from qcn_agent.training.source_file import SourceFile, scan
from qcn_agent.training.stream import Sources
from tests.bench.typing_traces import SOURCES

MIN_TOKENS = 3
_MAX_DRAWS = 400  # for each hole
_NUM_FILES = 60  # of the library

Draw = Callable[[random.Random], tuple[str, int, int]]  # a text, and the span of its held-out part


@dataclass(frozen=True)
class Hole:
    """What stands before the cursor, the rest of its line, and what follows that."""

    before: str
    rest: str
    after: str


def hole_at(rng: random.Random, text: str, begin: int, end: int, vocabulary: Vocabulary) -> Hole | None:
    """A cursor in a random line of [begin, end) with at least three tokens from there on; None without such a line."""
    starts = [at for at in range(begin, end) if at == 0 or text[at - 1] == "\n"]
    rng.shuffle(starts)
    for start in starts:
        stop = text.find("\n", start)
        line = text[start : stop if stop >= 0 else len(text)]
        first = len(line) - len(line.lstrip())
        cursors = [at for at in range(first, len(line)) if _num_tokens(line[at:], vocabulary) >= MIN_TOKENS]
        if cursors:
            at = rng.choice(cursors)
            return Hole(text[: start + at], line[at:], text[start + len(line) :])
    return None


def _num_tokens(text: str, vocabulary: Vocabulary) -> int:
    return len(vocabulary.encode([(text, False)])) if text.strip() else 0


def holes(name: str, count: int, vocabulary: Vocabulary) -> list[Hole]:
    """`count` of a source; always the same ones. Raises LookupError when there are too few."""
    found = []
    for index in range(_MAX_DRAWS * count):
        rng = random.Random(f"fim/{name}/{index}")
        try:
            hole = hole_at(rng, *DRAWS[name](rng), vocabulary)
        except LookupError:
            continue
        if hole is not None:
            found.append(hole)
        if len(found) == count:
            return found
    raise LookupError(f"too few holes of {name}")


def _module(rng: random.Random, *, unknown_templates: bool) -> tuple[str, int, int]:
    module = Sources.for_validation((), unknown_templates=unknown_templates).module(rng)
    lines = module.text.split("\n")
    begin = sum(len(line) + 1 for line in lines[: module.first_line - 1])
    return module.text, begin, begin + sum(len(line) + 1 for line in lines[module.first_line - 1 : module.last_line])


@cache
def library() -> tuple[tuple[SourceFile, int], ...]:
    """Held-out functions of the standard library: the file, and which of its functions."""
    root = Path(sysconfig.get_paths()["stdlib"])
    scanned = (scan("stdlib", path, path.name) for path in sorted(root.glob("*.py"))[: 4 * _NUM_FILES])
    return tuple(
        (file, number) for file in scanned if file for number, one in enumerate(file.functions) if one.held_out
    )


def _library(rng: random.Random) -> tuple[str, int, int]:
    file, number = rng.choice(library())
    lines, function = file.text.split("\n"), file.functions[number]
    begin = sum(len(line) + 1 for line in lines[: function.first_line - 1])
    return file.text, begin, begin + sum(len(line) + 1 for line in lines[function.first_line - 1 : function.last_line])


def _own(rng: random.Random) -> tuple[str, int, int]:
    path = rng.choice(sorted(SOURCES.rglob("*.py")))
    text = path.read_text(encoding="utf-8")
    return text, 0, len(text)


DRAWS: dict[str, Draw] = {
    "textbook": functools.partial(_module, unknown_templates=False),
    "template": functools.partial(_module, unknown_templates=True),
    "library": _library,
    "own": _own,
}
