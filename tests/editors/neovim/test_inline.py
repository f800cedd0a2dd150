"""Ghost text of our own, in real Neovim: what is seen, and when it is asked for."""

from collections.abc import Callable

import pytest

from tests.editors.neovim.conftest import keep_screen
from tests.editors.neovim.nvim import Nvim

Scripted = Callable[..., Nvim]
DEF = "add(first, second):"
BODY = "):\n    total = first + second\n    return total"


def test_ghost_text_is_seen_where_the_cursor_is_and_is_not_in_the_buffer(
    scripted: Scripted, request: pytest.FixtureRequest
) -> None:
    """An extended mark with inline text; the screen shows line and suggestion as one."""
    editor = scripted({"def ": DEF})
    editor.keys("idef ")
    editor.wait_for_ghost(DEF)
    (mark,) = editor.marks()
    assert mark["at"] == (0, 4)
    assert mark["virt_text"] == [[DEF, "QcnGhost"]]
    assert editor.screen.lines()[0] == f"def {DEF}"
    assert editor.lines() == ["def "]
    keep_screen(editor, request.node.name)


def test_all_lines_of_a_suggestion_are_seen(scripted: Scripted, request: pytest.FixtureRequest) -> None:
    """The first after the cursor, the others below, before the text that follows."""
    editor = scripted({"def add(first, second": BODY}, text="\nafter = 1\n")
    editor.keys("idef add(first, second")
    editor.wait_for_ghost("):", "    total = first + second", "    return total")
    assert editor.screen.lines()[:4] == [
        "def add(first, second):",
        "    total = first + second",
        "    return total",
        "after = 1",
    ]
    keep_screen(editor, request.node.name)


def test_tabs_in_ghost_text_are_as_wide_as_they_will_be(scripted: Scripted) -> None:
    """Neovim would show them as ^I."""
    editor = scripted(
        {"\tif": " x:\n\t\treturn\ty"}, init="vim.o.tabstop, vim.o.shiftwidth = 4, 4", settings="accept = false"
    )
    editor.keys("i<Tab>if")
    editor.wait_for_ghost(" x:", "        return  y")


def test_text_typed_through_stays_and_costs_no_request(scripted: Scripted) -> None:
    """It shrinks from the left, never gone in between; the last character asks for what is next."""
    editor = scripted({"re": "turn", "return": " x"})
    editor.keys("ire")
    editor.wait_for_ghost("turn")
    editor.keys("t")
    editor.wait_for_ghost("urn")
    editor.keys("ur")
    editor.wait_for_ghost("n")
    assert editor.server("fake/seen")["asked"][-1] == "re"
    editor.keys("n")
    editor.wait_for_ghost(" x")
    assert editor.server("fake/seen")["asked"][-1] == "return"


def test_a_new_line_is_typed_through_with_its_indentation(scripted: Scripted) -> None:
    """The rest of a multi-line suggestion is on the new line."""
    editor = scripted({"if x:": "\n    return 1"}, init="vim.o.shiftwidth, vim.o.expandtab = 4, true")
    editor.keys("iif x:")
    editor.wait_for_ghost("    return 1")
    editor.keys("<CR>")
    editor.wait_for_ghost("return 1")
    assert editor.server("fake/seen")["asked"][-1] == "if x:"


def test_a_key_that_does_not_match_hides_at_once(scripted: Scripted) -> None:
    """Although the answer to the new text is still awaited."""
    editor = scripted({"re": "turn"}, held=["rex"])
    editor.keys("ire")
    editor.wait_for_ghost("turn")
    editor.keys("x")
    editor.wait(lambda: editor.server("fake/seen")["held"] == 1)
    assert editor.marks() == []
    assert editor.screen.ghost() == []


@pytest.mark.parametrize("away", ["<Left>", "<Esc>"])
def test_moving_away_hides(scripted: Scripted, away: str) -> None:
    """Within the line, and out of insert mode."""
    editor = scripted({"re": "turn"})
    editor.keys("ire")
    editor.wait_for_ghost("turn")
    editor.keys(away)
    editor.wait_for_ghost()
    assert editor.marks() == []


def test_late_answers_are_ignored_and_at_most_one_request_lives(scripted: Scripted) -> None:
    """A superseded request is cancelled; its answer, should one come, is not shown."""
    editor = scripted({"a": "AAA", "ab": "BBB"}, held=["a", "ab"])
    editor.keys("ia")
    editor.wait(lambda: editor.server("fake/seen")["held"] == 1)
    editor.keys("b")
    editor.wait(lambda: editor.server("fake/seen")["held"] == 2)
    editor.server("fake/release")
    editor.wait_for_ghost("BBB")
    seen = editor.server("fake/seen")
    assert seen["cancelled"] >= 1
    assert seen["most_alive"] == 1


def test_an_answer_after_insert_mode_shows_nothing(scripted: Scripted) -> None:
    """It was cancelled, and is not wanted any more."""
    editor = scripted({"a": "AAA"}, held=["a"])
    editor.keys("ia")
    editor.wait(lambda: editor.server("fake/seen")["held"] == 1)
    editor.keys("<Esc>")
    editor.wait(lambda: editor.call("nvim_get_mode")["mode"] == "n")
    editor.server("fake/release")
    assert editor.server("fake/seen")["cancelled"] == 1
    assert editor.marks() == []


def test_nothing_is_asked_for_outside_insert_mode(scripted: Scripted) -> None:
    """Moving, deleting and pasting are no typing."""
    editor = scripted({}, text="one\ntwo\n")
    editor.keys("jxyyp")
    editor.wait_for_text("one", "wo", "wo")
    assert editor.server("fake/seen")["asked"] == []


def test_the_server_has_the_text_that_it_is_asked_about(scripted: Scripted) -> None:
    """Each request comes after the change before it; positions hold beside characters of any width."""
    editor = scripted({"é = '😀' ": "# ok"})
    editor.keys("ié = '😀' ")
    editor.wait_for_ghost("# ok")
    seen = editor.server("fake/seen")
    assert seen["texts"] == ["é = '😀' \n"]
    assert seen["versions"] == sorted(set(seen["versions"]))


def test_no_suggestion_while_the_popup_menu_is_open(scripted: Scripted) -> None:
    """Two offers for one key would be one too many."""
    editor = scripted({"word wo": "rld"}, text="word\n")
    editor.keys("A wo")
    editor.wait_for_ghost("rld")
    editor.keys("<C-n>")
    editor.wait(lambda: editor.call("nvim_call_function", "pumvisible", []) or editor.lines() != ["word wo"])
    editor.wait_for_ghost()


def test_toggle_hides_and_stops_asking(scripted: Scripted) -> None:
    """And brings it back."""
    editor = scripted({"a": "AAA", "ab": "BBB"})
    editor.keys("ia")
    editor.wait_for_ghost("AAA")
    editor.call("nvim_command", "QcnToggle")
    editor.wait_for_ghost()
    editor.keys("b")
    editor.wait_for_text("ab")
    assert "ab" not in editor.server("fake/seen")["asked"]
    assert editor.lua("return require('qcn').statusline()") == "qcn off"
    editor.call("nvim_command", "QcnToggle")
    editor.wait_for_ghost("BBB")
    assert editor.lua("return require('qcn').statusline()") == "qcn"


def test_complete_asks_as_invoked(scripted: Scripted) -> None:
    """For a key of the user's."""
    editor = scripted({"": "import os"}, settings="enabled = false")
    editor.keys("i<Cmd>lua require('qcn').complete()<CR>")
    editor.wait_for_ghost("import os")
    assert editor.server("fake/seen")["triggers"] == [1]
