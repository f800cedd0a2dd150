"""Which brackets of a text are open, by characters: strings are skipped as far as their quotes tell."""

from collections.abc import Iterator

OPENERS = {"(": ")", "[": "]", "{": "}"}
CLOSERS = {closer: opener for opener, closer in OPENERS.items()}
_QUOTES = "\"'`"


def brackets(text: str) -> Iterator[tuple[int, str]]:
    """(index, bracket) of a text that begins outside a string. A quote that is not closed on its line is no string."""
    at = 0
    while at < len(text):
        char = text[at]
        if char in _QUOTES:
            at = _string_end(text, at)
            continue
        if char in OPENERS or char in CLOSERS:
            yield at, char
        at += 1


def _string_end(text: str, begin: int) -> int:
    """Behind the string that begins at `begin`; behind its quote when it does not end on the line."""
    at = begin + 1
    while at < len(text) and text[at] != "\n":
        if text[at] == "\\":
            at += 1
        elif text[at] == text[begin]:
            return at + 1
        at += 1
    return begin + 1


def open_brackets(text: str) -> list[str]:
    """The brackets that `text` opens and does not close, outermost first."""
    stack: list[str] = []
    for _, char in brackets(text):
        if char in OPENERS:
            stack.append(char)
        elif stack and stack[-1] == CLOSERS[char]:
            stack.pop()
    return stack


def underflow(text: str, credit: list[str]) -> int | None:
    """Where `text` closes a bracket that is open neither in it nor in `credit` (innermost last); None: nowhere."""
    stack = list(credit)
    for at, char in brackets(text):
        if char in OPENERS:
            stack.append(char)
        elif stack and stack[-1] == CLOSERS[char]:
            stack.pop()
        else:
            return at
    return None
