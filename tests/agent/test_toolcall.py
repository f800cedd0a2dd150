"""The tool-call reader against the faults seen in the wild (numbers are those of public issue trackers)."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qcn_agent.agent.toolcall import CallShape, ProseStream, ToolCall, parse
from qcn_prompts.chatml import tool_call


def shape(*required: str, optional: tuple[str, ...] = ()) -> CallShape:
    """A tool's parameters."""
    return CallShape(frozenset(required + optional), frozenset(required))


SHAPES = {
    "read_file": shape("path", optional=("first_line", "last_line")),
    "edit_file": shape("path", "old_string", "new_string"),
    "write_file": shape("path", "content"),
    "run_tests": shape(optional=("paths",)),
}
READ = tool_call("read_file", {"path": "a.py"})
EDIT = tool_call("edit_file", {"path": "a.py", "old_string": "    x = 1", "new_string": "    x = 2"})
READ_CALL = ToolCall("read_file", {"path": "a.py"})
EDIT_CALL = ToolCall("edit_file", {"path": "a.py", "old_string": "    x = 1", "new_string": "    x = 2"})


def write(content: str) -> str:
    """A write_file call with this content."""
    return tool_call("write_file", {"path": "t.py", "content": content})


def read_back(content: str) -> str:
    """What the reader makes of that content."""
    turn = parse(write(content), SHAPES)
    assert turn.problem == ""
    assert [call.name for call in turn.calls] == ["write_file"]
    return turn.calls[0].arguments["content"]


GOOD = {
    "plain": (READ, (READ_CALL,)),
    "prose before": (f"I read it first.\n\n{READ}", (READ_CALL,)),
    "two calls": (f"{READ}\n{EDIT}", (READ_CALL, EDIT_CALL)),
    "no parameters": (tool_call("run_tests", {}), (ToolCall("run_tests", {}),)),
    "opener missing (ollama 16686)": (READ.removeprefix("<tool_call>\n"), (READ_CALL,)),
    "opener missing after prose (ollama 18530)": (f"Now.\n\n{READ.removeprefix('<tool_call>')}", (READ_CALL,)),
    "orphan close (llama.cpp 16755)": (f"{READ.removeprefix('<tool_call>')}\n</tool_call>", (READ_CALL,)),
    "close of the parameter lost (ollama 17914)": (
        EDIT.replace("a.py\n</parameter>\n", "a.py\n"),
        (EDIT_CALL,),
    ),
    "last close of a parameter lost": (EDIT.replace("x = 2\n</parameter>", "x = 2"), (EDIT_CALL,)),
    "newline before a close lost (llama.cpp 26763)": (READ.replace("a.py\n", "a.py"), (READ_CALL,)),
    "newline after an opener lost": (READ.replace("<parameter=path>\n", "<parameter=path>"), (READ_CALL,)),
    "name without its bracket (vllm 39771)": (READ.replace("<parameter=path>", "<parameter=path"), (READ_CALL,)),
    "text behind the call": (f"{READ}\nThat is all.", (READ_CALL,)),
    "blank lines between elements": (READ.replace("</parameter>\n", "</parameter>\n\n"), (READ_CALL,)),
    "outer close lost": (READ.removesuffix("\n</tool_call>"), (READ_CALL,)),
    "both closes lost": (READ.removesuffix("\n</function>\n</tool_call>"), (READ_CALL,)),
    "unknown tool": (tool_call("rm", {"x": "1"}), (ToolCall("rm", {"x": "1"}),)),
    "missing argument": (tool_call("edit_file", {"path": "a"}), (ToolCall("edit_file", {"path": "a"}),)),
    "unknown argument": (tool_call("read_file", {"file": "a"}), (ToolCall("read_file", {"file": "a"}),)),
    "doubled argument, the last wins (opencode 6918)": (
        READ.replace("</function>", "<parameter=path>\nb.py\n</parameter>\n</function>"),
        (ToolCall("read_file", {"path": "b.py"}),),
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_call_with_a_plain_meaning_is_read(name: str) -> None:
    """Faults whose meaning is plain don't cost a turn."""
    text, calls = GOOD[name]

    turn = parse(text, SHAPES)

    assert (turn.calls, turn.problem) == (calls, "")


BAD = {
    "parameter without a call": "Here: <parameter=path>\na.py\n</parameter>",
    "close without a call": "done </function>",
    "opener alone": "<tool_call>",
    "nameless function": "<tool_call>\n<function=>\n</function>\n</tool_call>",
    "JSON instead of XML": '<tool_call>\n{"name": "read_file", "arguments": {"path": "a.py"}}\n</tool_call>',
    "unknown function without an opener": "<function=rm>\n<parameter=path>\n/\n</parameter>\n</function>",
}


@pytest.mark.parametrize("name", BAD)
def test_call_that_makes_no_sense_is_a_problem_and_never_prose(name: str) -> None:
    """Leftovers of a call are an error turn, not an answer (ollama 16686, llama.cpp 15012)."""
    turn = parse(BAD[name], SHAPES)

    assert turn.problem
    assert not turn.calls
    assert "<" not in turn.prose


def test_call_that_was_cut_off_says_so() -> None:
    """The token limit in the middle of a value is told apart from a missing close tag."""
    turn = parse(EDIT[:-60], SHAPES, cut=True)

    assert not turn.calls
    assert "cut off" in turn.problem


def test_valid_calls_before_a_broken_one_are_kept() -> None:
    """The second call is cut, the first one still counts (vllm 39771)."""
    turn = parse(f"{READ}\n{EDIT[:-50]}", SHAPES)

    assert turn.calls == (READ_CALL,)
    assert "edit_file" in turn.problem


def test_prose_alone_is_prose() -> None:
    """A turn without markup is an answer."""
    turn = parse("  a < b and c > d; see `#include <functional>`\n", SHAPES)

    assert turn.prose == "a < b and c > d; see `#include <functional>`"
    assert (turn.calls, turn.problem) == ((), "")


def test_call_inside_a_code_fence_is_prose() -> None:
    """Explaining the format is not calling."""
    text = f"You could say:\n```\n{READ}\n```\n"

    turn = parse(text, SHAPES)

    assert (turn.calls, turn.problem) == ((), "")
    assert "read_file" in turn.prose


@pytest.mark.parametrize(
    "content",
    [
        "</parameter>",
        "a\n</parameter>\nb",
        "</function>",
        "print('</tool_call>')",
        EDIT,
        f"x = '''\n{EDIT}\n'''\n",
        f"{READ}\n{EDIT}",
        "<parameter=path>",
        "<tool_call>",
        "",
        "\n",
        "\n\nx\n\n",
        "  indented",
        '{"json": [1, 2]}',
        "a\n</parameter>\n<parameter=other>\nb",
    ],
)
def test_markup_inside_a_value_stays_in_it(content: str) -> None:
    """Code that spells our own tags can be written (llama.cpp 15162, vllm 34919, AReaL 1458)."""
    assert read_back(content) == content


def test_one_newline_at_each_end_belongs_to_the_tags() -> None:
    """Leading indentation and inner newlines are the value's own."""
    turn = parse(EDIT.replace("    x = 2", "\n    x = 2\n"), SHAPES)

    assert turn.calls[0].arguments["new_string"] == "\n    x = 2\n"


@given(st.text(max_size=200).filter(lambda text: "\r" not in text))
def test_any_text_survives_as_a_value(content: str) -> None:
    """What is written as a value is read as that value."""
    assert read_back(content) == content


@given(st.randoms(use_true_random=False), st.integers(1, 8))
@settings(max_examples=300, deadline=None)
def test_damaged_turns_never_raise_and_never_leak(rng: random.Random, num_damages: int) -> None:
    """Whatever is cut out or doubled: no exception, and no markup in what is shown as prose."""
    text = f"Let me see.\n{READ}\n{EDIT}"
    for _ in range(num_damages):
        start = rng.randrange(len(text) or 1)
        stop = start + rng.randrange(12)
        text = text[:start] + (text[start:stop] * 2 if rng.random() < 0.3 else "") + text[stop:]

    turn = parse(text, SHAPES, cut=rng.random() < 0.2)

    assert not any(mark in turn.prose for mark in ("<tool_call>", "<function=edit_file>", "</tool_call>"))


def test_hostile_nesting_ends_quickly() -> None:
    """Backing up is bounded: a turn of nothing but close tags is a problem, not a hang."""
    text = "<tool_call>\n<function=read_file>\n" + "<parameter=path>\n</parameter>\n" * 400 + "</function> x"

    assert parse(text, SHAPES).problem or parse(text, SHAPES).calls


@given(st.integers(1, 9))
def test_prose_is_streamed_and_a_call_is_not(step: int) -> None:
    """Whatever the pieces, prose is shown once and nothing of a call is."""
    text = f"a < b, so <b>bold</b>.\n{READ}\nmore"
    stream = ProseStream()

    shown = "".join(stream.feed(text[i : i + step]) for i in range(0, len(text), step))

    assert shown == "a < b, so <b>bold</b>.\n"
