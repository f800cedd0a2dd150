"""Accepting: all, a line, a word; the text is exact, and one step to undo."""

from collections.abc import Callable

import pytest

from tests.editors.neovim.nvim import Nvim

Scripted = Callable[..., Nvim]
BODY = "):\n    total = first + second\n    return total"


def test_tab_puts_in_what_was_shown(scripted: Scripted) -> None:
    """The cursor stands behind it, the server is told, and typing goes on."""
    editor = scripted({"re": "turn x"})
    editor.keys("ire")
    editor.wait_for_ghost("turn x")
    editor.keys("<Tab>")
    editor.wait_for_text("return x")
    editor.wait_for_ghost()
    editor.keys("1")
    editor.wait_for_text("return x1")
    seen = editor.server("fake/seen")
    assert seen["accepted"] == [{"id": "re"}]
    assert seen["texts"] == ["return x1\n"]


def test_tab_puts_in_all_lines_before_what_follows(scripted: Scripted) -> None:
    """As they are, whatever Neovim's own indentation would do."""
    editor = scripted({"def add(first, second": BODY}, text="\nafter = 1\n", init="vim.o.cindent = true")
    editor.keys("idef add(first, second")
    editor.wait_for_ghost("):", "    total = first + second", "    return total")
    editor.keys("<Tab>")
    editor.wait_for_text("def add(first, second):", "    total = first + second", "    return total", "after = 1")
    assert editor.call("nvim_win_get_cursor", 0) == [3, 16]
    editor.wait(lambda: editor.server("fake/seen")["texts"] == ["\n".join([*editor.lines(), ""])])


@pytest.mark.parametrize(
    ("typed", "rest", "words"),
    [
        ("x = ", "first.second(3)", ["first", ".", "second", "(", "3", ")"]),
        ("x", " += größe", [" +=", " größe"]),
        ("if x:", "\n    return 1", ["\n    return", " 1"]),
    ],
)
def test_words(scripted: Scripted, typed: str, rest: str, words: list[str]) -> None:
    """One at a time, the rest stays to be seen, nothing is asked for in between."""
    editor = scripted({typed: rest})
    editor.keys(f"i{typed}")
    editor.wait_for_ghost(*(line for line in rest.split("\n") if line))
    taken = typed
    for word in words:
        editor.keys("<M-w>")
        taken += word
        editor.wait_for_text(*taken.split("\n"))
        editor.wait_for_ghost(*(line for line in (typed + rest).removeprefix(taken).split("\n") if line))
        if taken != typed + rest:
            assert editor.server("fake/seen")["asked"][-1] == typed
    editor.wait(lambda: editor.server("fake/seen")["accepted"] == [{"id": typed}])


def test_lines(scripted: Scripted) -> None:
    """The rest of the first, then one after the other with the line end before it."""
    editor = scripted({"def add(first, second": BODY})
    editor.keys("idef add(first, second")
    editor.wait_for_ghost("):", "    total = first + second", "    return total")
    editor.keys("<M-l>")
    editor.wait_for_text("def add(first, second):")
    editor.wait_for_ghost("    total = first + second", "    return total")
    editor.keys("<M-l>")
    editor.wait_for_text("def add(first, second):", "    total = first + second")
    assert editor.server("fake/seen")["accepted"] == []
    editor.keys("<M-l>")
    editor.wait_for_text("def add(first, second):", "    total = first + second", "    return total")


def test_a_key_that_matches_and_tab_right_behind_it_give_the_exact_text(scripted: Scripted) -> None:
    """Both come before Neovim has told anyone of the first."""
    editor = scripted({"re": "turn x"})
    editor.keys("ire")
    editor.wait_for_ghost("turn x")
    editor.keys("t<Tab>")
    editor.wait_for_text("return x")


def test_a_key_that_does_not_match_and_tab_right_behind_it_accept_nothing(scripted: Scripted) -> None:
    """The tab is a tab then."""
    editor = scripted({"re": "turn x"})
    editor.keys("ire")
    editor.wait_for_ghost("turn x")
    editor.keys("d<Tab>")
    editor.wait_for_text("red\t")


def test_an_accept_is_one_step_to_undo_and_typed_text_another(scripted: Scripted) -> None:
    """What was typed before and after stays."""
    editor = scripted({"def add(first, second": BODY})
    editor.keys("idef add(first, second")
    editor.wait_for_ghost("):", "    total = first + second", "    return total")
    editor.keys("<Tab> # sum<Esc>")
    editor.wait_for_text("def add(first, second):", "    total = first + second", "    return total # sum")
    editor.keys("u")
    editor.wait_for_text("def add(first, second):", "    total = first + second", "    return total")
    editor.keys("u")
    editor.wait_for_text("def add(first, second")


def test_a_range_that_begins_before_the_cursor(scripted: Scripted) -> None:
    """The item then holds what is typed already, in the server's own counting of characters."""
    begin, end = {"line": 0, "character": 5}, {"line": 0, "character": 7}
    item = {"insertText": "print()", "range": {"start": begin, "end": end}}
    editor = scripted({"'😀' pr": item})
    editor.keys("i'😀' pr")
    editor.wait_for_ghost("int()")
    editor.keys("<Tab>")
    editor.wait_for_text("'😀' print()")


def test_text_after_the_cursor_stays(scripted: Scripted) -> None:
    """The suggestion goes in between."""
    editor = scripted({"max(": "low, high"}, text=")\n")
    editor.keys("imax(")
    editor.wait_for_ghost("low, high")
    assert editor.screen.lines()[0] == "max(low, high)"
    editor.keys("<Tab>")
    editor.wait_for_text("max(low, high)")
