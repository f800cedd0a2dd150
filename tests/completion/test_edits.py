"""Recent edits as diffs."""

from qcn_agent.completion.edits import MAX_EDITS, EditLog, diff_of

OLD = "".join(f"line {n}\n" for n in range(40))


def test_a_diff_shows_the_change_with_two_lines_around() -> None:
    """No head."""
    new = OLD.replace("line 20\n", "line twenty\n")

    assert diff_of(OLD, new) == " line 18\n line 19\n-line 20\n+line twenty\n line 21\n line 22\n"


def test_diffs_of_equal_texts_and_of_ends() -> None:
    """Nothing; an addition at the end; a file without a last line end."""
    assert diff_of(OLD, OLD) == ""
    assert diff_of("a\n", "a\nb\n") == " a\n+b\n"
    assert diff_of("a", "b") == "-a\n+b\n"
    assert diff_of("", "a\n") == "+a\n"
    assert diff_of("a\na\n", "a\n") in ("-a\n a\n", " a\n-a\n")


def test_keys_near_each_other_are_one_edit() -> None:
    """The text before the first and after the last is what counts."""
    log = EditLog()
    texts = [OLD, OLD.replace("line 5\n", "l\n"), OLD.replace("line 5\n", "lo\n")]
    log.note("a.py", texts[0], texts[1], 5, 0.0)
    log.note("a.py", texts[1], texts[2], 5, 0.3)
    assert [edit.age for edit in log.edits] == []

    log.settle(2.0)
    assert [edit.diff for edit in log.edits] == [diff_of(texts[0], texts[2])]


def test_a_jump_a_pause_and_another_file_end_a_group() -> None:
    """Each begins a new one."""
    log = EditLog()
    log.note("a.py", "x\n", "y\n", 0, 0.0)
    log.note("a.py", "y\n", "z\n", 20, 0.1)
    log.note("a.py", "z\n", "w\n", 20, 5.0)
    log.note("b.py", "1\n", "2\n", 20, 5.1)
    log.settle(9.0)

    assert [(edit.path, edit.age) for edit in log.edits] == [("a.py", 0), ("a.py", 1), ("a.py", 2), ("b.py", 3)]


def test_an_edit_that_was_taken_back_is_none() -> None:
    """Typed and deleted within a group."""
    log = EditLog()
    log.note("a.py", "x\n", "xy\n", 0, 0.0)
    log.note("a.py", "xy\n", "x\n", 0, 0.1)
    log.settle(3.0)

    assert log.edits == ()


def test_only_the_latest_are_kept() -> None:
    """The oldest go."""
    log = EditLog()
    for number in range(10):
        log.note("a.py", f"{number}\n", f"{number + 1}\n", 100 * number, float(number))
    log.settle(100.0)

    assert [edit.age for edit in log.edits] == list(range(10 - MAX_EDITS, 10))


def test_a_group_that_goes_on_is_not_settled() -> None:
    """Its diff would change with the next key."""
    log = EditLog()
    log.note("a.py", "x\n", "y\n", 0, 0.0)
    log.settle(0.5)

    assert log.edits == ()
