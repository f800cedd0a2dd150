"""The load of worker processes does an indexer's work."""

import sqlite3
from pathlib import Path

import pytest

from tests.bench.index_load import index


@pytest.fixture
def database() -> sqlite3.Connection:
    """Empty."""
    opened = sqlite3.connect(":memory:")
    opened.execute("CREATE TABLE words (path, word)")
    return opened


def test_words_and_definitions_are_stored_once(database: sqlite3.Connection, tmp_path: Path) -> None:
    """Indexing a file again replaces what was there."""
    path = tmp_path / "m.py"
    path.write_text("def total(values):\n    return sum(values)\n")
    assert index(database, path) == index(database, path) == 7
    assert database.execute("SELECT count(*) FROM words WHERE word = 'total'").fetchone() == (2,)
    database.close()


def test_broken_source_has_words_all_the_same(database: sqlite3.Connection, tmp_path: Path) -> None:
    """No definitions, no failure."""
    path = tmp_path / "m.py"
    path.write_text("def broken(:\n")
    assert index(database, path) == 2
    database.close()
