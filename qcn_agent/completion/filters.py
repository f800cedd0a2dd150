"""The pipeline from what the model said to what is shown. Each filter gives the text, a shorter one, or none.

Filters are pure. None of them knows marker texts: "/src/" or a diff's head are code like any other.
"""

import re
from collections.abc import Callable

from qcn_agent.completion import overlap
from qcn_agent.completion.brackets import brackets, underflow
from qcn_agent.completion.parse_gate import parse_gate
from qcn_agent.completion.place import Place
from qcn_agent.completion.repetition import repetition
from qcn_agent.completion.secret_text import has_secret
from qcn_agent.completion.values import Kind, indent_of

Filter = Callable[[str, Place], str]
_CONTROL = re.compile(r"<\|(?:fim_\w+|endoftext|im_start|im_end|repo_name|file_sep)\|>")
_MIN_VISIBLE = 3
_WORD_END = re.compile(r"\w+$")


def special_tokens(text: str, place: Place) -> str:
    """Up to a control token spelt out, unless the file itself speaks of such tokens."""
    found = _CONTROL.search(text)
    return text if found is None or "<|" in place.snapshot.before[-4000:] else text[: found.start()]


def bracket_balance(text: str, place: Place) -> str:
    """Up to the first bracket that closes nothing, or what the text behind the cursor closes itself."""
    if not place.counts_brackets:
        return text
    if place.kind is Kind.LINE and place.snapshot.line_after.strip():
        at = underflow(text, place.credit)
        return text if at is None or not place.open_before else text[:at]
    at = underflow(text, place.open_before)
    return text if at is None or not _is_certain(place) else text[:at].rstrip()


def _is_certain(place: Place) -> bool:
    """Whether counting brackets by characters can be trusted here: an apostrophe in a comment upsets it."""
    return not any(mark in place.snapshot.line_before for mark in ("//", "#", "'", '"', "`"))


def indentation(text: str, place: Place) -> str:
    """With the file's own kind of indentation, and none of it twice."""
    line_before = place.snapshot.line_before
    if place.is_fresh_line and line_before and text[:1] in (" ", "\t"):
        first, newline, rest = text.partition("\n")
        bare = first.lstrip(" \t")
        if indent_of(first) == line_before:
            text = bare + newline + rest
    uses_tabs = line_before.startswith("\t") or (not line_before[:1].strip() and "\n\t" in place.snapshot.before)
    uses_blanks = "\n  " in place.snapshot.before
    if uses_tabs and not uses_blanks:
        return re.sub(r"\n( {4})+", lambda found: "\n" + "\t" * (len(found.group()) // 4), text)
    if uses_blanks and not uses_tabs and "\n\t" not in place.snapshot.before:
        return re.sub(r"\n(\t)+", lambda found: "\n" + "    " * (len(found.group()) - 1), text)
    return text


def trailing_blanks(text: str, place: Place) -> str:
    """Without blanks and empty lines at the end."""
    return text.rstrip()


def minimum(text: str, place: Place) -> str:
    """Nothing below three visible characters, unless they close what is open before the cursor."""
    visible = "".join(text.split())
    if len(visible) >= _MIN_VISIBLE:
        return text
    closes = [char for _, char in brackets(visible)]
    is_closing = bool(visible) and len(closes) == len(visible.rstrip(":;,")) and bool(place.credit)
    return text if is_closing and underflow(visible, place.credit) is None else ""


def secret_scan(text: str, place: Place) -> str:
    """Nothing that looks like a key."""
    return "" if has_secret(place.snapshot.line_before + text) else text


def confidence(text: str, place: Place) -> str:
    """Nothing that the model itself doubts."""
    known = place.mean_logprob
    return "" if known is not None and known < place.min_logprob else text


PIPELINE: tuple[tuple[str, Filter], ...] = (
    ("special_tokens", special_tokens),
    ("typed_overlap", overlap.typed_overlap),
    ("mid_line", overlap.mid_line),
    ("suffix_overlap", overlap.suffix_overlap),
    ("next_lines", overlap.next_lines),
    ("line_above", overlap.line_above),
    ("repetition", repetition),
    ("bracket_balance", bracket_balance),
    ("indentation", indentation),
    ("parse_gate", parse_gate),
    ("trailing_blanks", trailing_blanks),
    ("minimum", minimum),
    ("secret_scan", secret_scan),
    ("confidence", confidence),
)


def run(text: str, place: Place) -> tuple[str, str]:
    """The text to show, and the name of the filter that left nothing of it; ("", "empty") for no text at all."""
    if not text.strip():
        return "", "empty"
    for name, step in PIPELINE:
        text = step(text, place)
        if not text.strip():
            return "", name
    return text, ""


def whole_words(text: str) -> str:
    """An unfinished text without the name it ends in, which may be half of one."""
    return _WORD_END.sub("", text).rstrip(" \t")


def whole_lines(text: str) -> str:
    """The lines of an unfinished text that are complete; its whole words when not even one is."""
    lines, newline, _ = text.rpartition("\n")
    return lines if newline and lines.strip() else whole_words(text)
