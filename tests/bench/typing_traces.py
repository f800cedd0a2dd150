"""Fill-in-the-middle over real text, typed key by key: each key tokenises the current line anew.

The text is this repository's own source. Token ids come from the vocabulary that the caller passes in.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from qcn_agent.benchmark.traces import Step, Tokens, Trace, ideal_of_neighbours

Encode = Callable[[str, bool], Tokens]  # (text, whether control tokens may come of it)
Order = Literal["psm", "spm"]
SOURCES = Path(__file__).parents[2] / "qcn_agent"
MIN_KEYS, MAX_KEYS, SUFFIX_TOKENS = 20, 40, 150


@dataclass(frozen=True)
class Cursor:
    """A place in a file: the text before its line, the line to type, the text after it."""

    before: str
    line: str
    after: str


def cursors(text: str) -> list[Cursor]:
    """Every line that is long enough to type and has text enough around it."""
    lines = text.splitlines(keepends=True)
    places = (Cursor("".join(lines[:n]), lines[n].rstrip("\n"), "".join(lines[n + 1 :])) for n in range(len(lines)))
    return [
        place
        for place in places
        if len(place.line.strip()) >= MIN_KEYS and len(place.before) > 1500 and len(place.after) > 1000
    ]


def pick(seed: int) -> Cursor:
    """A cursor in one of our own files."""
    choices = random.Random(f"{seed}/typing")
    texts = [path.read_text(encoding="utf-8") for path in sorted(SOURCES.rglob("*.py"))]
    return choices.choice(cursors(choices.choice([text for text in texts if cursors(text)])))


def typed(cursor: Cursor) -> list[str]:
    """What stands in the line after each key; the indentation is there from the start."""
    begin = len(cursor.line) - len(cursor.line.lstrip())
    return [cursor.line[: begin + key] for key in range(1, min(len(cursor.line) - begin, MAX_KEYS) + 1)]


def typing_trace(order: Order, seed: int, encode: Encode) -> Trace:
    """One line typed, its text tokenised as a whole at each key, with a suffix of 150 tokens at most."""
    cursor = pick(seed)
    markers = {name: encode(f"<|fim_{name}|>", True) for name in ("prefix", "suffix", "middle")}
    suffix = (*markers["suffix"], *encode("\n" + cursor.after, False)[:SUFFIX_TOKENS])
    steps = []
    for line in typed(cursor):
        above, current = _split(encode(cursor.before + line, False), encode(cursor.before, False))
        prefix = ((*markers["prefix"], *above), current)
        pieces = (*prefix, (*suffix, *markers["middle"])) if order == "psm" else (suffix, *prefix, markers["middle"])
        steps.append(Step("fim", pieces, 8, "fim", is_completion=True))
    return Trace(f"typing-{order}", tuple(steps), ideal_of_neighbours)


def _split(tokens: Tokens, above: Tokens) -> tuple[Tokens, Tokens]:
    """Tokens up to the start of the line, and the line; the last one above may merge into the line."""
    end = max(0, min(len(above), len(tokens)) - 1)
    return tokens[:end], tokens[end:]
