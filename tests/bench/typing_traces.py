"""Real text, typed key by key: a line as token prompts, where each key tokenises it anew, or a passage as keys in time.

The text is this repository's own source. Token ids come from the vocabulary that the caller passes in.
"""

import functools
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from qcn_agent.benchmark.traces import Step, Tokens, Trace, ideal_of_neighbours

Encode = Callable[[str, bool], Tokens]  # (text, whether control tokens may come of it)
Order = Literal["psm", "spm"]
SOURCES = Path(__file__).parents[2] / "qcn_agent"
MIN_KEYS, MAX_KEYS, SUFFIX_TOKENS = 20, 40, 150
PAUSE_MS, SLIP = 1000.0, 0.02


@dataclass(frozen=True)
class Cursor:
    """A place in a file: the text before its line, the line to type, the text after it."""

    before: str
    line: str
    after: str


@dataclass(frozen=True)
class Passage:
    """Some lines of a file that are to be typed, the first one's indentation apart, and the text around them."""

    before: str
    text: str
    after: str


@dataclass(frozen=True)
class Press:
    """One key: when it is pressed, and what stands before the cursor then. `is_slip`: not what the passage says."""

    at_ms: float
    before: str
    is_slip: bool = False


def cursors(text: str) -> list[Cursor]:
    """Every line that is long enough to type and has text enough around it."""
    lines = text.splitlines(keepends=True)
    places = (Cursor("".join(lines[:n]), lines[n].rstrip("\n"), "".join(lines[n + 1 :])) for n in range(len(lines)))
    return [
        place
        for place in places
        if len(place.line.strip()) >= MIN_KEYS and len(place.before) > 1500 and len(place.after) > 1000
    ]


@functools.cache
def _files() -> list[list[Cursor]]:
    """The cursors of each of our files that has any."""
    texts = (path.read_text(encoding="utf-8") for path in sorted(SOURCES.rglob("*.py")))
    return [found for text in texts if (found := cursors(text))]


def pick(seed: int) -> Cursor:
    """A cursor in one of our own files."""
    choices = random.Random(f"{seed}/typing")
    return choices.choice(choices.choice(_files()))


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


def passage(seed: int, num_lines: int) -> Passage:
    """So many lines from a cursor of `pick` on."""
    cursor = pick(seed)
    begin = len(cursor.line) - len(cursor.line.lstrip())
    lines = (cursor.line + "\n" + cursor.after).splitlines(keepends=True)
    text = "".join(lines[:num_lines])[begin:].rstrip("\n")
    return Passage(cursor.before + cursor.line[:begin], text, "\n" + "".join(lines[num_lines:]))


def presses(passage: Passage, gap_ms: float, seed: int) -> list[Press]:
    """The passage typed with gaps of 0.6 to 1.4 times `gap_ms`.

    There is a pause before each third word, and a slip, taken back at once, at one letter in fifty. The editor indents
    a new line by itself.
    """
    chance = random.Random(f"{seed}/{gap_ms}/presses")
    at_ms, num_words, found = 0.0, 0, list[Press]()
    for key in re.finditer(r"\n[ \t]*|[^\n]", passage.text):
        before, char = passage.before + passage.text[: key.start()], key.group()
        begins = char.isalpha() and not passage.text[key.start() - 1 : key.start()].isalpha()
        num_words += begins
        at_ms += PAUSE_MS if begins and num_words % 3 == 2 else gap_ms * chance.uniform(0.6, 1.4)
        if char.isalpha() and chance.random() < SLIP:
            found.append(Press(at_ms, before + chance.choice("qxz"), is_slip=True))
            found.append(Press(at_ms + 2 * gap_ms, before))
            at_ms += 3 * gap_ms
        found.append(Press(at_ms, before + char))
    return found
