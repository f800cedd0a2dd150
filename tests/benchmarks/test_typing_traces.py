"""Real text, typed key by key."""

import pytest

from qcn_agent.benchmark.traces import Tokens, num_common
from tests.bench.typing_traces import MAX_KEYS, MIN_KEYS, Cursor, Order, cursors, pick, typed, typing_trace

MARKERS = {"<|fim_prefix|>": 1001, "<|fim_suffix|>": 1002, "<|fim_middle|>": 1003}


def encode(text: str, special: bool) -> Tokens:
    """One token a character."""
    return (MARKERS[text],) if special else tuple(map(ord, text))


def test_typed_adds_a_key_at_a_time_behind_the_indentation() -> None:
    """The first prompt has one key, the last the whole line."""
    assert typed(Cursor("", "  ab", "")) == ["  a", "  ab"]


def test_long_lines_are_cut() -> None:
    """At most so many keys."""
    assert len(typed(Cursor("", "x" * 100, ""))) == MAX_KEYS


def test_cursors_have_text_around_them() -> None:
    """Short lines, and those at either end of a file, are left out."""
    text = "a" * 40 + "\n" + ("b" * 60 + "\n") * 60 + "short\n" + ("c" * 60 + "\n") * 30
    lines = {place.line[0] for place in cursors(text)}
    assert lines == {"b", "c"}
    assert all(place.before + place.line + "\n" + place.after == text for place in cursors(text))


def test_pick_is_by_seed() -> None:
    """Some line of our own source."""
    assert pick(1) == pick(1)
    assert pick(1) != pick(2)
    assert len(pick(1).line.strip()) >= MIN_KEYS


@pytest.mark.parametrize("order", ["psm", "spm"])
def test_prompt_is_in_its_order(order: Order) -> None:
    """Markers stand where the order wants them, and the text around the cursor between them."""
    trace, cursor = typing_trace(order, 4, encode), pick(4)
    prompt = trace.steps[-1].prompt([])
    expected = {"psm": [1001, 1002, 1003], "spm": [1002, 1001, 1003]}[order]
    assert [token for token in prompt if token in MARKERS.values()] == expected
    before = tuple(map(ord, cursor.before + typed(cursor)[-1]))
    begin = prompt.index(1001) + 1
    assert prompt[begin : begin + len(before)] == before


def test_suffix_first_leaves_little_to_do() -> None:
    """Beyond the common prefix: the suffix in one order, nothing but the key and the marker in the other."""
    new = {}
    for order in ("psm", "spm"):
        prompts = [step.prompt([]) for step in typing_trace(order, 4, encode).steps]
        new[order] = len(prompts[1]) - num_common(prompts[0], prompts[1])
    assert new["spm"] == 2
    assert new["psm"] == 1 + 1 + 150 + 1


def test_boundary_lies_at_the_line_start() -> None:
    """A key changes nothing before it, whatever the tokenizer does with the line."""
    steps = typing_trace("spm", 4, encode).steps
    line_starts = {step.boundaries([])[1] for step in steps}
    assert len(line_starts) == 1
    assert all(num_common(step.prompt([]), steps[0].prompt([])) >= max(line_starts) for step in steps)
