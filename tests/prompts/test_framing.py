"""What stands around packed context."""

import pytest

from qcn_prompts import framing


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("src/größe.py", "src/größe.py"),
        ("a b.py", "a b.py"),
        ('q"uote.py', 'q\\"uote.py'),
        ("new\nline\tx.py", "new\\nline\\tx.py"),
        ("esc\x1b[2J\x00.py", "esc\\x1b[2J\\x00.py"),
        ("\udcff.py", "\\udcff.py"),
        ("back\\slash", "back\\\\slash"),
        ("rtl\u202e.py", "rtl\\u202e.py"),
    ],
)
def test_names_are_one_line_of_printable_text(path: str, shown: str) -> None:
    """Whatever a repository calls its files."""
    assert framing.shown_name(path) == shown
    assert framing.file(path)[0] == f'<file path="{shown}">\n'
    assert framing.instructions(path)[0].count("\n") == 1


def test_long_names_are_cut() -> None:
    """A path may have four thousand bytes."""
    assert len(framing.shown_name("x" * 4000)) == 400


@pytest.mark.parametrize(
    "pair", [framing.HEAD, framing.ISSUE_PART, framing.TREE, framing.SIGNATURES, framing.file("a")]
)
def test_what_is_opened_is_closed(pair: tuple[str, str]) -> None:
    """Each on a line of its own."""
    opening, closing = pair
    assert closing == f"</{opening[1:].split()[0].rstrip('>')}>\n"
