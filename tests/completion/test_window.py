"""Where a window may start."""

from hypothesis import given
from hypothesis import strategies as st

from qcn_agent.completion.window import blocks

FUNCTIONS = "".join(f"def name_{n}(x):\n    y = x + {n}\n    return y * {n}\n\n\n" for n in range(60))


def test_joined_blocks_are_the_end_of_the_text() -> None:
    """All of it where it is short."""
    assert "".join(blocks("a\nb\n", 100, 4)) == "a\nb\n"
    assert FUNCTIONS.endswith("".join(blocks(FUNCTIONS, 200, 4)))


def test_blocks_begin_where_definitions_do() -> None:
    """At the least indented line after a blank one."""
    assert all(block.startswith("def ") for block in blocks(FUNCTIONS, 300, 6))


def test_only_the_last_block_changes_while_lines_are_added() -> None:
    """The window's start does not slide."""
    before = blocks(FUNCTIONS, 256, 50)
    typed = ["def more():\n", "    pass\n", "    pass\n\n"]
    for number in range(len(typed) + 1):
        after = blocks(FUNCTIONS + "".join(typed[:number]), 256, 50)
        assert after[: len(before) - 1] == before[:-1]


def test_an_empty_text_has_no_blocks() -> None:
    """The top of a file."""
    assert blocks("", 64, 4) == []


def test_a_line_that_closes_something_is_no_start() -> None:
    """A window must not begin with the end of a call."""
    text = "".join(f"call_{n}(\n    argument_number_{n},\n)\n" for n in range(40))

    assert not any(block.startswith(")") for block in blocks(text, 100, 20))


@given(st.text(alphabet="ab \n\t)x:", max_size=900), st.integers(16, 200), st.integers(1, 20))
def test_blocks_are_a_partition_of_the_end(text: str, grain: int, marks: int) -> None:
    """Whatever the text is: nothing lost between blocks, none empty, starts at line starts."""
    made = blocks(text, grain, marks)

    assert text.endswith("".join(made))
    assert all(made)
    begin = len(text) - len("".join(made))
    assert begin == 0 or text[begin - 1] == "\n"


@given(st.text(alphabet="ab \n:", min_size=300, max_size=600), st.text(alphabet="ab \n:", max_size=60))
def test_typing_keeps_all_earlier_blocks(text: str, typed: str) -> None:
    """With marks for the whole text, each block but the last survives any addition."""
    before, after = blocks(text + "\n", 50, 100), blocks(f"{text}\n{typed}\n", 50, 100)

    assert after[: max(0, len(before) - 1)] == before[:-1]
