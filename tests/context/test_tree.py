"""The tree as lines."""

from qcn_agent.context.tree import MAX_ENTRIES, tree_lines


def test_a_line_for_each_folder_near_the_root_first() -> None:
    """Sorted inside a depth; folders have a slash."""
    lines = tree_lines(["z.py", "b/c/d.py", "b/a.py", "a/x.py", "b/c/e.py"])

    assert lines == ["./: a/ b/ z.py\n", "a/: x.py\n", "b/: a.py c/\n", "b/c/: d.py e.py\n"]


def test_crowded_folder_says_how_many_more() -> None:
    """A hundred thousand files are one line."""
    (line,) = tree_lines(f"f{number:06}.txt" for number in range(100_000))

    assert line.endswith(f" … {100_000 - MAX_ENTRIES} more\n")
    assert line.count(" ") == MAX_ENTRIES + 3


def test_names_stay_on_their_line() -> None:
    """A newline, an escape or a byte that is no UTF-8 in a name is shown escaped."""
    assert tree_lines(["a\nb\x1b[2J\udcff.py"]) == ["./: a\\nb\\x1b[2J\\udcff.py\n"]
    assert tree_lines([]) == []
