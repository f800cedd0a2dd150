"""Counts survive the daemon, and nothing that happens to their file is an error."""

import sqlite3
from pathlib import Path

import pytest

from qcn_agent.completion.tally import Row, Tally


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where they are kept."""
    return tmp_path / "state" / "completions.db"


def test_counts_add_up_over_flushes_and_lives(file: Path) -> None:
    """Pending ones are seen at once."""
    for _ in range(2):
        tally = Tally(file)
        tally.count("python", "shown")
        tally.count("python", "kept_30s", 0.5)
        assert tally.flush()
        tally.count("rust", "shown", 3)
        assert tally.flush()
    tally.count("python", "shown")
    assert tally.rows() == [Row("python", "kept_30s", 1.0), Row("python", "shown", 3), Row("rust", "shown", 6)]


def test_a_span_of_days(file: Path) -> None:
    """Days are those of the count, not of the flush."""
    day = "2026-01-01"
    tally = Tally(file, lambda: day)
    tally.count("c", "shown")
    tally.flush()
    day = "2026-01-02"
    tally.count("c", "shown")
    assert tally.rows("2026-01-02") == [Row("c", "shown", 1)]
    assert tally.rows("2026-01-01") == [Row("c", "shown", 2)]


def test_old_days_are_forgotten(file: Path) -> None:
    """After a year."""
    old = Tally(file, lambda: "2001-01-01")
    old.count("c", "shown")
    old.flush()
    new = Tally(file)
    new.count("c", "shown")
    new.flush()
    assert new.rows() == [Row("c", "shown", 1)]


def test_a_damaged_file_begins_anew(file: Path) -> None:
    """With a line in the log."""
    file.parent.mkdir()
    file.write_bytes(b"not a database" * 100)
    tally = Tally(file)
    tally.count("c", "shown")
    assert tally.flush()
    assert tally.rows() == [Row("c", "shown", 1)]


def test_what_can_not_be_written_is_tried_again(file: Path) -> None:
    """Nothing is raised, and nothing is counted twice."""
    tally = Tally(file)
    tally.count("c", "shown")
    file.parent.write_text("in the way")
    assert not tally.flush()
    file.parent.unlink()
    assert tally.flush()
    assert tally.flush()
    assert tally.rows() == [Row("c", "shown", 1)]


def test_no_source_text_has_a_place_in_it(file: Path) -> None:
    """Four columns: a day, a language, an event, a number."""
    tally = Tally(file)
    tally.count("c", "shown")
    tally.flush()
    with sqlite3.connect(file) as database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(counts)")]
    database.close()
    assert columns == ["day", "language", "event", "amount"]
