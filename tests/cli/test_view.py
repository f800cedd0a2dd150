"""What a person sees: plain lines without a terminal, JSON lines for programs."""

import io
import json
import os
from typing import Any

import pytest
from rich.console import Console

from qcn_agent.agent.outcome import Outcome, Totals
from qcn_agent.cli.view import JsonView, LineView, LiveLine, PipeConsole

FAILED = {
    "ran": True,
    "green": False,
    "num_passed": 2,
    "num_failed": 1,
    "num_errors": 0,
    "timed_out": False,
    "failures": [["tests/test_a.py::test_x", "assert 1 == 2\n+  where 1 = f()"]],
}
EDIT = {"path": "a.py", "old_string": "x", "new_string": "y"}
EVENTS: list[dict[str, Any]] = [
    {"kind": "phase", "data": {"text": "running the tests as they are"}},
    {"kind": "tests", "data": FAILED},
    {"kind": "attempt", "data": {"number": 1, "of": 8}},
    {"kind": "text", "data": {"text": "I look [at] "}},
    {"kind": "text", "data": {"text": "it."}},
    {
        "kind": "usage",
        "data": {"num_reused_tokens": 5, "num_generated_tokens": 7, "decode_tokens_per_s": 900.0},
    },
    {
        "kind": "call",
        "data": {"tool": "edit_file", "arguments": {"path": "a.py", "old_string": "x", "new_string": "y"}},
    },
    {"kind": "observation", "data": {"kind": "edit_not_found", "ok": False, "text": "\nnot found\nmore"}},
    {"kind": "restored", "data": {"paths": ["a.py"], "left_alone": []}},
    {"kind": "warning", "data": {"text": "look [here]"}},
    {"kind": "no such kind", "data": {}},
]


def shown(events: list[dict[str, Any]], outcome: Outcome | None = None, **console: Any) -> str:
    """The view's text for these events."""
    stream = io.StringIO()
    view_console = Console(file=stream, width=100, highlight=False, **console)
    with LiveLine(view_console) as line:
        view = LineView(view_console, line)
        for event in events:
            view.show(event)
    if outcome:
        view.finish(outcome.to_json())
    return stream.getvalue()


def test_every_event_is_a_line() -> None:
    """Tests, calls, edits and failures are readable without a terminal; markup in text is text."""
    text = shown(EVENTS)

    for part in (
        "1 red, 2 green",
        "tests/test_a.py::test_x",
        "I look [at] it.",
        "edit_file a.py",
        "- x",
        "+ y",
        "not found",
        "restored a.py",
        "warning  look [here]",
    ):
        assert part in text
    assert text.count("running the tests") == 1


def test_terminal_gets_a_live_line_and_no_phase_lines() -> None:
    """In a terminal the phase is shown on the live line."""
    text = shown(EVENTS, force_terminal=True)

    assert "900 tokens/s" in text or "1 red" in text


@pytest.mark.parametrize(
    ("ending", "word"),
    [
        ("fixed", "FIXED"),
        ("unproven", "UNPROVEN"),
        ("red", "NOT FIXED"),
        ("no_patch", "NO PATCH"),
        ("budget", "BUDGET USED UP"),
    ],
)
def test_outcome_says_verdict_patch_and_cost(ending: Any, word: str) -> None:
    """The last lines: the diff, the verdict with its reason, where the patch is, what it cost."""
    diff = "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-1\n+2\n" if ending != "no_patch" else ""
    totals = Totals(num_attempts=1, num_steps=4)
    outcome = Outcome(ending, "because", diff, ending == "fixed", "r", ("b.py",), ("b.py was saved by [you]",), totals)

    text = shown([], outcome)

    assert f"{word}  because" in text
    assert ("in your tree; qcn-agent undo" in text) == (ending == "fixed")
    assert ("but not the files of the warnings" in text) == (ending == "fixed")
    assert "warning  b.py was saved by [you]" in text
    assert "1 attempt, 4 turns" in text


def test_json_view_speaks_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Events are lines on stderr, the outcome is the whole of stdout."""
    view = JsonView()
    view.say("connecting")
    view.show(EVENTS[1])
    view.finish(Outcome("fixed", "because").to_json())

    captured = capsys.readouterr()

    assert [json.loads(line)["kind"] for line in captured.err.splitlines()] == ["phase", "tests"]
    assert json.loads(captured.out)["exit_code"] == 0


HOSTILE = "a\x1b[2J\x07b\x9b31mc\rd\x7f\ttab\r\nnext"


@pytest.mark.parametrize("terminal", [False, True])
def test_nothing_from_the_repository_acts_on_the_terminal(terminal: bool) -> None:
    """Escapes in tests, diffs, prose, calls, answers and reasons reach the screen as text only."""
    events: list[dict[str, Any]] = [
        {"kind": "phase", "data": {"text": HOSTILE}},
        {"kind": "tests", "data": FAILED | {"failures": [[HOSTILE, HOSTILE]]}},
        {"kind": "text", "data": {"text": HOSTILE}},
        {"kind": "usage", "data": {"num_reused_tokens": 5, "num_generated_tokens": 7, "decode_tokens_per_s": 9.0}},
        {"kind": "call", "data": {"tool": HOSTILE, "arguments": dict.fromkeys(EDIT, HOSTILE)}},
        {"kind": "observation", "data": {"kind": "error", "ok": False, "text": HOSTILE}},
        {"kind": "restored", "data": {"paths": [HOSTILE], "left_alone": []}},
        {"kind": "warning", "data": {"text": HOSTILE}},
    ]
    diff = f"--- a/{HOSTILE}\n+++ b/x\n@@ -1 +1 @@\n-{HOSTILE}\n+{HOSTILE}\n"
    outcome = Outcome("fixed", HOSTILE, diff, True, "r", (HOSTILE,), (HOSTILE,), Totals())

    text = shown(events, outcome, force_terminal=terminal, color_system="standard" if terminal else None)

    assert not any(control in text for control in ("\x1b[2J", "\x07", "\x9b", "\x7f", "c\rd"))
    assert text.count("^G") >= 10


def test_reader_that_goes_away_is_an_error() -> None:
    """`| head` has read enough: the caller hears of it and can end the run in an orderly way."""
    reader, writer = os.pipe()
    os.close(reader)
    with pytest.raises(BrokenPipeError), os.fdopen(writer, "w") as stream:  # closing it fails, too
        PipeConsole(file=stream).print("x")
        pytest.fail("nothing was raised")
