"""Keys do what they did before when there is nothing to accept, and accept when there is."""

from collections.abc import Callable

import pytest

from tests.editors.neovim.nvim import Nvim

Scripted = Callable[..., Nvim]
MAPPINGS = [
    "",
    "vim.keymap.set('i', '<Tab>', 'T')",
    "vim.keymap.set('i', '<Tab>', function() return 'T' end, { expr = true })",
    "vim.keymap.set('i', '<Tab>', function() vim.api.nvim_feedkeys('T', 'n', false) end)",
    "vim.cmd [[inoremap <expr> <Tab> col('.') > 1 ? 'T' : 'U']]",
    "vim.cmd [[imap <expr> <Tab> col('.') > 1 ? \"\\<Tab>T\" : 'U']]",
    "vim.cmd [[imap <Tab> <Plug>(mine)]] vim.cmd [[inoremap <Plug>(mine) T]]",
    "vim.cmd [[imap <Tab> <Tab>T]]",
]
LATE = "vim.keymap.set('i', '<Tab>', 'L')"
LOCAL = "vim.keymap.set('i', '<Tab>', 'B', { buffer = true })"


@pytest.mark.parametrize("mapping", MAPPINGS)
def test_a_mapping_of_the_users_works_as_before(scripted: Scripted, mapping: str) -> None:
    """Functions, expressions, remapped ones, and those that begin with the key itself."""
    expected = "a" + {"": "\t"}.get(mapping, "\tT" if "<Tab>T" in mapping else "T")
    if "\\<Tab>T" in mapping:
        expected = "a\tT"
    editor = scripted({"b": "BBB"}, init=mapping)
    editor.keys("ia<Tab>")
    editor.wait_for_text(expected)
    editor.keys("<C-o>S")
    editor.wait_for_text("")
    editor.keys("b")
    editor.wait_for_ghost("BBB")
    editor.keys("<Tab>")
    editor.wait_for_text("bBBB")


def test_a_mapping_that_is_made_later_counts(scripted: Scripted) -> None:
    """As of a plugin that is loaded with the first insert."""
    editor = scripted({})
    editor.lua(LATE)
    editor.keys("ia<Tab>")
    editor.wait_for_text("aL")


def test_a_mapping_of_the_buffer_comes_before_one_for_all(scripted: Scripted) -> None:
    """As in Vim."""
    init = f"{LATE} vim.api.nvim_create_autocmd('FileType', {{ callback = function() {LOCAL} end }})"
    editor = scripted({}, init=init)
    editor.keys("ia<Tab>")
    editor.wait_for_text("aB")


def test_keys_can_be_chosen_or_left_alone(scripted: Scripted) -> None:
    """`false` binds none."""
    editor = scripted({"a": "bc d"}, settings="accept = '<C-y>', accept_word = '<C-f>', accept_line = false")
    editor.keys("ia")
    editor.wait_for_ghost("bc d")
    editor.keys("<C-f>")
    editor.wait_for_text("abc")
    editor.keys("<C-y>")
    editor.wait_for_text("abc d")
    editor.keys("<Tab>")
    editor.wait_for_text("abc d\t")
    assert editor.lua("return vim.fn.maparg('<M-l>', 'i')") == ""
