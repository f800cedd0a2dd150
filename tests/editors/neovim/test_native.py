"""The thin layer over Neovim's own inline completion (0.12), before a stand-in: we can install no 0.12 yet."""

from collections.abc import Callable

import pytest

from tests.editors.neovim.nvim import Nvim

Scripted = Callable[..., Nvim]
# What 0.12 documents: `enable(on, filter)`; `get(options)` is false with nothing to accept, else it calls `on_accept`
# with the item a moment later, or puts the item in by itself.
STUB = """
_G.enabled, _G.item = {}, nil
vim.lsp.inline_completion = {
  enable = function(on, filter) table.insert(_G.enabled, { on = on, bufnr = filter.bufnr }) end,
  get = function(options)
    local item = _G.item
    if not item then
      return false
    end
    vim.schedule(function()
      if options.on_accept then
        options.on_accept(item)
      else
        vim.api.nvim_put(vim.split(item.insert_text, '\\n'), 'c', false, true)
      end
    end)
    return true
  end,
}
"""
RANGES = ["{ start_row = 0, start_col = 0, end_row = 0, end_col = 1 }", "{ start = { row = 0, col = 0 } }"]


def test_it_is_used_where_it_is_and_ours_stays_quiet(scripted: Scripted) -> None:
    """Enabled for the buffer; no second request for the same cursor."""
    editor = scripted({"a": "AAA"}, init=STUB)
    assert editor.lua("return _G.enabled") == [
        {"on": True, "bufnr": editor.lua("return vim.api.nvim_get_current_buf()")}
    ]
    editor.keys("iab")
    editor.wait_for_text("ab")
    assert editor.server("fake/seen")["asked"] == []


def test_it_can_be_declined(scripted: Scripted) -> None:
    """With `native = false`."""
    editor = scripted({"a": "AAA"}, init=STUB, settings="native = false")
    editor.keys("ia")
    editor.wait_for_ghost("AAA")


@pytest.mark.parametrize("range_", RANGES)
def test_words_and_lines_are_taken_of_what_is_not_typed_yet(scripted: Scripted, range_: str) -> None:
    """In both forms that a range has had."""
    editor = scripted({}, init=STUB)
    editor.lua(f"_G.item = {{ insert_text = 'return x\\n  more', range = {range_} }}")
    editor.keys("ire<M-w>")
    editor.wait_for_text("return")
    editor.keys("<M-l>")
    editor.wait_for_text("return x")


def test_tab_accepts_all_or_is_a_tab(scripted: Scripted) -> None:
    """The item is Neovim's to put in."""
    editor = scripted({}, init=STUB)
    editor.keys("ia<Tab>")
    editor.wait_for_text("a\t")
    editor.lua("_G.item = { insert_text = 'b' }")
    editor.keys("<Tab>")
    editor.wait_for_text("a\tb")


def test_toggle_turns_it_off(scripted: Scripted) -> None:
    """For each buffer that has our server."""
    editor = scripted({}, init=STUB)
    editor.call("nvim_command", "QcnToggle")
    assert [call["on"] for call in editor.lua("return _G.enabled")] == [True, False]
