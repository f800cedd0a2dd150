"""Texts for a terminal: nothing in them acts on it."""

from qcn_agent.cli.text import first_line, visible

HOSTILE = "a\x1b[2J\x07b\x9b31mc\rd\x7f\ttab\r\nnext"


def test_visible() -> None:
    """Control characters in texts at any depth are shown, not obeyed; newlines, tabs and numbers stay."""
    shown_text = "a^[[2J^Gb\ufffd31mc^Md^?\ttab\nnext"
    assert visible({HOSTILE: [(HOSTILE, 1), None, True]}) == {shown_text: [[shown_text, 1], None, True]}


def test_all_control_characters() -> None:
    """Of all C0 and C1 characters only newline and tab pass."""
    every = "".join(map(chr, (*range(0x20), *range(0x7F, 0xA0))))
    assert [c for c in visible(every) if ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0] == ["\t", "\n"]
    assert visible("é 日本 🙂") == "é 日本 🙂"


def test_first_line_is_short() -> None:
    """Blank lines are passed over, long ones are cut."""
    assert first_line("\n  hello \nmore") == "hello"
    assert len(first_line("x" * 500)) == 100
    assert first_line("") == ""


def test_the_bytes_of_a_name_that_is_not_utf8_can_be_printed() -> None:
    """They come as surrogates, which no terminal takes."""
    visible("a\udcff\ud800b").encode()

    assert visible("a\udcffb") == "a\ufffdb"
