"""Reads Qwen3-Coder's XML tool calls from sampled text, and never lets one leak as prose.

    <tool_call>
    <function=edit_file>
    <parameter=path>
    calc.py
    </parameter>
    </function>
    </tool_call>

Values are raw text, so they may themselves hold `</parameter>` or a whole call. A close tag counts only if what
follows it makes the rest of the turn a sequence of calls with the parameters their tools have: the reader tries the
earliest close first and backs up from dead ends. Faults seen in the wild (a missing opener, a lost close tag, text
behind the call, a call cut short) are read where the meaning is plain and named where it is not.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

MARKUP = re.compile(r"</?tool_call>|<function=|</function>|<parameter=|</parameter>")
_OPENER = re.compile(r"\s*(?:<tool_call>\s*)?<function=([^\s<>]*)>?[ \t]*")
_PARAMETER = re.compile(r"\s*<parameter=([^\n<>]*)>?[ \t]*\n?")
_END = re.compile(r"\s*(?:</function>(?:\s*</tool_call>)*|</tool_call>)")
_AFTER_VALUE = re.compile(r"\s*(?:<parameter=|</function>|</tool_call>|$)")
_NEXT_ELEMENT = re.compile(r"\n(?=<parameter=|</function>)")
_FENCE = re.compile(r"^[ \t]*```", re.MULTILINE)
_MAX_STEPS = 4000  # backing up is exponential only for hostile text; past this the call is called ambiguous


@dataclass(frozen=True)
class ToolCall:
    """One call as the model wrote it. Argument values are text; their types are the tool's business."""

    name: str
    arguments: Mapping[str, str]


@dataclass(frozen=True)
class CallShape:
    """The parameters of one tool: what tells a close tag from the same characters inside a value."""

    parameters: frozenset[str]
    required: frozenset[str]


Shapes = Mapping[str, CallShape]


@dataclass(frozen=True)
class ParsedTurn:
    """An assistant turn: prose, then calls. `problem` says what could not be read; the calls before it are valid."""

    prose: str
    calls: tuple[ToolCall, ...] = ()
    problem: str = ""


def parse(text: str, shapes: Shapes, *, cut: bool = False) -> ParsedTurn:
    """Split a finished turn into prose and calls.

    `shapes` are the known tools; `cut` says that the token limit ended the turn. Never raises.
    """
    start = find_call(text, shapes)
    if start is None:
        if problem := _residue(text):
            return ParsedTurn("", problem=problem)
        return ParsedTurn(text.strip())
    prose = _without_residue(text[:start]).strip()
    for tolerance in (BALANCED, STRICT, LOST_CLOSE, *(() if cut else (ANYTHING,))):
        calls = _Reader(text, shapes, tolerance).read_all(start)
        if calls is not None:
            return ParsedTurn(prose, calls)
    if cut:
        return ParsedTurn(prose, problem="it was cut off by the length limit; write a shorter one")
    calls, stop = _Reader(text, shapes, LOST_CLOSE).read_prefix(start)
    if calls and not MARKUP.search(text, stop):
        return ParsedTurn(prose, calls)
    return ParsedTurn(prose, calls, _describe(text[stop:]))


def find_call(text: str, shapes: Shapes) -> int | None:
    """Where the first call begins: `<tool_call>`, or `<function=KNOWN>` at a line's start; code fences don't count."""
    for match in re.finditer(r"<tool_call>|^[ \t]*<function=([^\s<>]+)>", text, re.MULTILINE):
        if (match[1] is None or match[1] in shapes) and not _in_fence(text, match.start()):
            return match.start()
    return None


def _in_fence(text: str, position: int) -> bool:
    return len(_FENCE.findall(text, 0, position)) % 2 == 1


def _residue(text: str) -> str:
    for match in MARKUP.finditer(text):
        if not _in_fence(text, match.start()):
            return f"{match[0]!r} without a call around it"
    return ""


def _without_residue(prose: str) -> str:
    """What stands before the first leftover of a call."""
    leftovers = (match.start() for match in MARKUP.finditer(prose) if not _in_fence(prose, match.start()))
    return prose[: next(leftovers, len(prose))]


def _describe(rest: str) -> str:
    if not rest.strip():
        return "the call is empty"
    opener = _OPENER.match(rest)
    if opener is None:
        return f"expected <tool_call> and <function=NAME>, found {rest.strip()[:40]!r}"
    return f"the call of {opener[1] or 'a nameless function'} does not end with </function> and </tool_call>"


class _TooManyStepsError(Exception):
    pass


BALANCED, STRICT, LOST_CLOSE, ANYTHING = range(4)


class _Reader:
    """Backtracking reader over one turn, at one of four tolerances. A doubled parameter: the last one wins.

    BALANCED: a known tool gets its own parameters, none of the required ones missing, and markup inside a value is
    closed there. STRICT: values may hold any markup. LOST_CLOSE: a value may also end where the next element begins.
    ANYTHING: unknown and missing parameters too, and an end without close tags; the tool's own check names what is
    wrong with such a call.
    """

    def __init__(self, text: str, shapes: Shapes, tolerance: int) -> None:
        self._text = text
        self._shapes = shapes
        self._tolerance = tolerance
        self._steps = 0

    def read_all(self, position: int) -> tuple[ToolCall, ...] | None:
        """All calls from `position` to the end of the text, or None when they don't reach it."""
        try:
            return self._calls(position)
        except (_TooManyStepsError, RecursionError):
            return None

    def read_prefix(self, position: int) -> tuple[tuple[ToolCall, ...], int]:
        """As many calls as can be read one after another, and where the rest begins."""
        calls: list[ToolCall] = []
        try:
            while (opener := _OPENER.match(self._text, position)) is not None:
                body = next(self._bodies(opener[1], opener.end(), {}), None)
                if body is None or not opener[1]:
                    break
                calls.append(ToolCall(opener[1], body[0]))
                position = body[1]
        except (_TooManyStepsError, RecursionError):
            pass
        return tuple(calls), position

    def _calls(self, position: int) -> tuple[ToolCall, ...] | None:
        if not self._text[position:].strip():
            return ()
        opener = _OPENER.match(self._text, position)
        if opener is None or not opener[1]:
            return None
        for arguments, after in self._bodies(opener[1], opener.end(), {}):
            rest = self._calls(after)
            if rest is not None:
                return (ToolCall(opener[1], arguments), *rest)
        return None

    def _bodies(self, name: str, position: int, arguments: dict[str, str]) -> Iterator[tuple[dict[str, str], int]]:
        self._steps += 1
        if self._steps > _MAX_STEPS:
            raise _TooManyStepsError
        if end := _END.match(self._text, position):
            if self._complete(name, arguments):
                yield arguments, end.end()
        elif parameter := _PARAMETER.match(self._text, position):
            key = parameter[1].strip()
            if self._allowed(name, key):
                for value, after in self._values(parameter.end()):
                    yield from self._bodies(name, after, {**arguments, key: value})
        elif self._tolerance == ANYTHING and not self._text[position:].strip():
            yield arguments, len(self._text)

    def _allowed(self, name: str, key: str) -> bool:
        if self._tolerance == ANYTHING or name not in self._shapes:
            return True
        return key in self._shapes[name].parameters

    def _complete(self, name: str, arguments: dict[str, str]) -> bool:
        if self._tolerance == ANYTHING or name not in self._shapes:
            return True
        return self._shapes[name].required <= arguments.keys()

    def _values(self, start: int) -> Iterator[tuple[str, int]]:
        close = self._text.find("</parameter>", start)
        while close >= 0:
            after = close + len("</parameter>")
            if _AFTER_VALUE.match(self._text, after) and self._fits(start, close):
                yield self._value(start, close), after
            close = self._text.find("</parameter>", after)
        if self._tolerance >= LOST_CLOSE:
            for match in _NEXT_ELEMENT.finditer(self._text, start - 1):
                yield self._value(start, match.start() + 1), match.start() + 1

    def _fits(self, start: int, end: int) -> bool:
        if self._tolerance > BALANCED:
            return True
        count = self._text.count
        pairs = (("<parameter=", "</parameter>"), ("<tool_call>", "</tool_call>"), ("<function=", "</function>"))
        return all(count(opener, start, end) == count(close, start, end) for opener, close in pairs)

    def _value(self, start: int, end: int) -> str:
        """The text between the tags less the one newline that belongs to the closing tag."""
        return self._text[start:end].removesuffix("\n") if end > start else ""


class ProseStream:
    """Passes on what is certainly prose while a turn is being sampled; from the first sign of a call on, nothing."""

    _STARTS = ("<tool_call>", "</tool_call>", "<function=", "</function>", "<parameter=", "</parameter>")

    def __init__(self) -> None:
        self._text = ""
        self._shown = 0
        self._closed = False

    def feed(self, delta: str) -> str:
        """Add sampled text; return the prose that may be shown now."""
        self._text += delta
        if self._closed:
            return ""
        until = len(self._text)
        position = self._text.find("<", self._shown)
        while position >= 0:
            tail = self._text[position : position + 12]
            complete = MARKUP.match(tail)
            if (complete or any(start.startswith(tail) for start in self._STARTS)) and not _in_fence(
                self._text, position
            ):
                self._closed = complete is not None
                until = position
                break
            position = self._text.find("<", position + 1)
        shown, self._shown = self._text[self._shown : until], until
        return shown
