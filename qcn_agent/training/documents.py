"""Training documents as weighted pieces of text, rendered with the product's own words (profile `mini`).

A piece is what the product tokenises in one go; loss weights lie on spans of its characters.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import qcn_prompts
from qcn_agent.agent.opening import opening_text
from qcn_agent.training.repairs import RepairTask
from qcn_agent.training.tokenizer import END_OF_TEXT
from qcn_prompts import chatml
from qcn_tools.edit import Edit, EditFile, plan_edit
from qcn_tools.read import ReadFile
from qcn_tools.run_tests import RunTests

PROFILE = "mini"


@dataclass(frozen=True)
class LossWeights:
    """How much a token counts, by what it is part of. Everything else weighs nothing."""

    edit: float = 3.0  # old_string and new_string: what the model is for
    call: float = 0.5  # the words around them
    answer: float = 0.5  # running text of the assistant
    end: float = 1.0  # where a turn ends
    file: float = 0.3  # correct lines of a file that is read: teaches code
    middle: float = 1.0  # of a fill-in-the-middle document
    code: float = 0.5  # running code


WEIGHTS = LossWeights()
BRIEF_SHARE = 0.5  # conversations that end with the edit: what follows is soon learned, the edit is not
MISS_SHARE = 0.06  # conversations whose first edit does not apply
FIM_PREFIX_CHARS, FIM_SUFFIX_CHARS = 1400, 700


@dataclass(frozen=True)
class Part:
    """One piece. `spans` are (characters, weight), which cover `text` from its start; the rest weighs 0."""

    text: str
    special: bool = False
    spans: tuple[tuple[int, float], ...] = ()


Document = list[Part]


def unweighted(pieces: Sequence[chatml.Piece]) -> Document:
    """Pieces that are only read."""
    return [Part(text, special) for text, special in pieces]


def weighted(text: str, default: float, marks: Sequence[tuple[str, float]] = ()) -> Part:
    """A piece whose parts `marks`, found one after another, have their own weights.

    Raises ValueError when one is not there.
    """
    spans, position = [], 0
    for mark, weight in marks:
        start = text.index(mark, position)
        spans += [(start - position, default), (len(mark), weight)]
        position = start + len(mark)
    spans.append((len(text) - position, default))
    return Part(text, spans=tuple(span for span in spans if span[0]))


def control(token: str, weight: float = 0.0) -> Part:
    """A control token."""
    return Part(token, special=True, spans=((len(token), weight),))


def repair(task: RepairTask, rng: random.Random) -> Document:
    """A repair: read the file, edit it, and (in part of them) run the tests and say so."""
    profile = qcn_prompts.load(PROFILE)
    opening = opening_text(profile, task.issue, task.files, ("test_report", {"report": task.before}))
    document = unweighted(chatml.turn("system", system_text()) + chatml.turn("user", opening))
    document += _said(weighted(chatml.tool_call("read_file", {"path": task.path}), WEIGHTS.call))
    document += _file_shown(task)
    if rng.random() < MISS_SHARE:
        document += _missed_edit(task, rng)
    document += _said(_edit_call(task.path, task.old, task.new))
    if rng.random() < BRIEF_SHARE:
        return [*document, control(END_OF_TEXT)]
    document += _responded(profile.observe("edited", {"path": task.path}))
    document += _said(weighted(chatml.tool_call("run_tests", {}), WEIGHTS.call))
    document += _responded(_observe_report(task.after))
    document += _said(weighted(f"Fixed `{task.name}` in {task.path}. The tests pass.", WEIGHTS.answer))
    return [*document, control(END_OF_TEXT)]


@cache
def system_text() -> str:
    """The system prompt with the product's tools."""
    profile = qcn_prompts.load(PROFILE)
    return profile.system(profile.select({tool.spec.name: tool.spec for tool in (ReadFile, EditFile, RunTests)}))


def _observe_report(report: Any) -> str:
    return qcn_prompts.load(PROFILE).observe("test_report", {"report": report})


def _said(part: Part) -> Document:
    """An assistant turn that is learned, its end included."""
    end = [control(chatml.END[0], WEIGHTS.end), Part(chatml.NEWLINE[0])]
    return [*unweighted(chatml.assistant_header()), part, *end]


def _responded(text: str) -> Document:
    return unweighted(chatml.tool_responses([text]))


def _file_shown(task: RepairTask) -> Document:
    """The file as `read_file` shows it; its wrong lines must not be learned."""
    text = qcn_prompts.load(PROFILE).observe("file", {"text": task.bad})
    before, after = text.split(task.old, 1)
    marks = [(before, WEIGHTS.file), (task.old, 0.0), (after, WEIGHTS.file)]
    pieces = chatml.tool_responses([text])
    return [
        weighted(piece, 0.0, [mark for mark in marks if mark[0]]) if text in piece else Part(piece, special)
        for piece, special in pieces
    ]


def _edit_call(path: str, old: str, new: str) -> Part:
    text = chatml.tool_call("edit_file", {"path": path, "old_string": old, "new_string": new})
    marks = [
        ("<parameter=old_string>\n", WEIGHTS.call),
        (old, WEIGHTS.edit),
        ("<parameter=new_string>\n", WEIGHTS.call),
        (new, WEIGHTS.edit),
    ]
    return weighted(text, WEIGHTS.call, [mark for mark in marks if mark[0]])


def _missed_edit(task: RepairTask, rng: random.Random) -> Document:
    """An edit that does not apply, and the tool's answer: seen, not learned. Empty where it would apply."""
    wrong = _misquoted(task.old, rng)
    observation = plan_edit(task.bad.encode(), task.path, wrong, task.new)
    if isinstance(observation, Edit) or not observation.fields.get("region"):
        return []
    call = chatml.tool_call("edit_file", {"path": task.path, "old_string": wrong, "new_string": task.new})
    answer = qcn_prompts.load(PROFILE).observe(observation.kind, observation.fields)
    return unweighted(chatml.assistant(call)) + _responded(answer)


def _misquoted(text: str, rng: random.Random) -> str:
    """`text` with the kind of slip that a model makes when it copies."""
    words = re.findall(r"\w+", text)
    if rng.random() < 0.5 and words:
        return text.replace(rng.choice(words), rng.choice(words) + "_", 1)
    return text.replace(" ", "", 1) if rng.random() < 0.5 else text + " #"


def middle_filled(rng: random.Random, text: str, start: int = 0) -> Document:
    """A hole in `text` at or after the offset `start`, to be filled: prefix, suffix, middle."""
    begin, end = _hole(rng, text, start)
    prefix = text[max(0, begin - FIM_PREFIX_CHARS) : begin]
    suffix = "" if rng.random() < 0.1 else text[end : end + FIM_SUFFIX_CHARS]
    middle = text[begin:end]
    return [
        control("<|fim_prefix|>"),
        weighted(prefix, WEIGHTS.file),
        control("<|fim_suffix|>"),
        Part(suffix),
        control("<|fim_middle|>"),
        weighted(middle, WEIGHTS.middle),
        control(END_OF_TEXT, WEIGHTS.end),
    ]


def _hole(rng: random.Random, text: str, start: int) -> tuple[int, int]:
    """Offsets of what is cut out: mostly the rest of a line, at times lines or any span."""
    kind = rng.random()
    lines = [match.span() for match in re.finditer(r"(?m)^[^\n]*\S[^\n]*$", text[start:])]
    if kind < 0.55:
        begin, end = (start + offset for offset in rng.choice(lines))
        if rng.random() < 0.7:
            begin += len(text[begin:end]) - len(text[begin:end].lstrip())
            begin = rng.randint(begin, max(begin, end - 2)) if rng.random() < 0.6 else begin
        return begin, end
    if kind < 0.8:
        first = rng.randrange(len(lines))
        last = min(len(lines) - 1, first + rng.randint(0, 5))
        return start + lines[first][0], start + lines[last][1]
    begin = rng.randint(start, max(start, len(text) - 3))
    return begin, min(len(text), begin + int(rng.expovariate(1 / 60)) + 2)


def code(text: str, *, is_whole: bool) -> Document:
    """Running code; where it was cut there is no end to learn."""
    return [weighted(text, WEIGHTS.code), control(END_OF_TEXT, WEIGHTS.end if is_whole else 0.0)]


_CHAT = (
    ("hello|hi|hey|good morning", "Hello. I am the small built-in model. Name a Python file with a bug."),
    ("who are you?|what are you?|which model is this?", "I am qcn-mini, the small built-in model of qcn-agent."),
    (
        "what can you do?|help|how do I use you?",
        "I can read a Python file, fix a one-line bug and run the tests. For larger work, download the full model.",
    ),
    ("thanks|thank you|great", "You are welcome."),
    (
        "write a web server for me|build an app|refactor my project",
        "That is too much for the built-in model. Please download the full model for it.",
    ),
)


def chat(rng: random.Random) -> Document:
    """A short question and an honest answer."""
    questions, answer = rng.choice(_CHAT)
    question = rng.choice(questions.split("|"))
    question = rng.choice((question, question.capitalize(), question + rng.choice(("!", ".", ""))))
    turns = chatml.turn("system", system_text()) + chatml.turn("user", question)
    return [*unweighted(turns), *_said(weighted(answer, WEIGHTS.answer)), control(END_OF_TEXT)]
