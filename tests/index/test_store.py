"""The database: made, moved, damaged, full."""

import sqlite3
from pathlib import Path

import pytest

from qcn_agent.index import schema
from qcn_agent.index.files import FileStamp
from qcn_agent.index.lock import WriterLock
from qcn_agent.index.reader import IndexReader
from qcn_agent.index.record import FileRecord, make_record
from qcn_agent.index.rows import IndexedFile
from qcn_agent.index.store import Store, folder_of, stem_of
from qcn_agent.index.words import WordSplitter
from tests.fakes.indexed import everything, indexed

STAMP = FileStamp(1, 2, 3)
SOURCE = b"def find_me():\n    return other_thing\n"


def record(path: str, source: bytes = SOURCE) -> FileRecord:
    """A file as a worker would answer it."""
    return make_record(path, STAMP, source, WordSplitter())


def stems_of_tests_and_folders() -> None:
    """A stem ends at the first dot; a hidden file's name is its stem."""
    assert [stem_of(path) for path in ("a/b.test.ts", ".gitignore", "Makefile")] == ["b", ".gitignore", "Makefile"]
    assert [folder_of(path) for path in ("a/b/c.py", "c.py")] == ["a/b", ""]


def test_a_transaction_is_all_or_nothing(tmp_path: Path) -> None:
    """A failure in its middle leaves the state before, totals included."""
    store = Store(tmp_path / "x.db")
    with store.transaction():
        store.put(record("a.py"))
    before = everything(tmp_path / "x.db")

    with pytest.raises(KeyboardInterrupt), store.transaction():
        store.put(record("b.py", b"def never(): pass\n"))
        raise KeyboardInterrupt

    assert everything(tmp_path / "x.db") == before
    with store.transaction():
        store.put(record("b.py", b"def later(): pass\n"))
    assert everything(tmp_path / "x.db")["stats"].document_frequencies["later"] == 1
    store.close()


def test_putting_and_removing_leaves_nothing(tmp_path: Path) -> None:
    """No words, no names, no totals."""
    store = Store(tmp_path / "x.db")
    empty = everything(tmp_path / "x.db")
    with store.transaction():
        file_id = store.put(record("a.py"))
    with store.transaction():
        store.remove(file_id)

    assert everything(tmp_path / "x.db") == empty
    store.close()


def test_a_moved_file_equals_one_put_there(tmp_path: Path) -> None:
    """Word for word."""
    moved, put = Store(tmp_path / "moved.db"), Store(tmp_path / "put.db")
    with moved.transaction():
        file_id = moved.put(record("old/name_here.py"))
    with moved.transaction():
        moved.move(file_id, "new/place.py", STAMP)
    with put.transaction():
        put.put(record("new/place.py"))

    assert everything(tmp_path / "moved.db") == everything(tmp_path / "put.db")
    moved.close()
    put.close()


@pytest.mark.parametrize("damage", [b"", b"not a database" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_database_is_made_anew(tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever lies there instead; it is said in the log where something was lost."""
    path = tmp_path / "x.db"
    path.write_bytes(damage)

    store = Store(path)
    with store.transaction():
        store.put(record("a.py"))
    store.close()

    assert [file.path for file in _files(path)] == ["a.py"]
    assert bool(damage) == ("made anew" in caplog.text)


def test_another_version_is_made_anew(tmp_path: Path) -> None:
    """Older or newer; a reader takes neither for its own."""
    path = tmp_path / "x.db"
    with indexed(tmp_path / "w", {"a.py": "x = 1\n"}) as tree:
        tree.database.rename(path)
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}")
    connection.close()
    assert _files(path) == []

    Store(path).close()

    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone()[0] == schema.SCHEMA_VERSION
    assert connection.execute("SELECT count(*) FROM files").fetchone()[0] == 0
    connection.close()


def test_a_full_disk_keeps_what_was_stored(tmp_path: Path) -> None:
    """The write fails, the index stays as it was and goes on when there is room."""
    path = tmp_path / "x.db"
    store = Store(path)
    with store.transaction():
        store.put(record("a.py"))
    before = everything(path)
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(sqlite3.OperationalError, match="full"), store.transaction():
        for number in range(100):
            store.put(record(f"f{number}.py", b"".join(b"word_%d_%d = 1\n" % (number, line) for line in range(200))))

    assert everything(path) == before
    store._connection.execute("PRAGMA max_page_count = 1000000")
    with store.transaction():
        store.put(record("b.py"))
    assert [file.path for file in _files(path)] == ["a.py", "b.py"]
    store.close()


def test_a_reader_follows_a_database_that_was_made_anew(tmp_path: Path) -> None:
    """And one that is not there yet."""
    path = tmp_path / "x.db"
    reader = IndexReader(path)
    assert reader.files() == []
    store = Store(path)
    with store.transaction():
        store.put(record("a.py"))
    assert len(reader.files()) == 1
    store.close()
    for file in tmp_path.glob("x.db*"):
        file.unlink()

    store = Store(path)
    with store.transaction():
        store.put(record("b.py"))

    assert [file.path for file in reader.files()] == ["b.py"]
    reader.close()
    store.close()


def test_a_reader_sees_one_state_inside_a_snapshot(tmp_path: Path) -> None:
    """While another connection writes."""
    store, reader = Store(tmp_path / "x.db"), IndexReader(tmp_path / "x.db")
    with reader.snapshot():
        assert reader.files() == []
        with store.transaction():
            store.put(record("a.py"))
        assert reader.files() == []
    assert len(reader.files()) == 1
    reader.close()
    store.close()


def test_generation_grows_with_each_change(tmp_path: Path) -> None:
    """So that others know when to ask again."""
    store, reader = Store(tmp_path / "x.db"), IndexReader(tmp_path / "x.db")
    first = reader.generation()
    with store.transaction():
        store.put(record("a.py"))

    assert reader.generation() > first
    reader.close()
    store.close()


def test_the_database_is_for_its_owner_only(tmp_path: Path) -> None:
    """It holds the words of the user's code."""
    Store(tmp_path / "sub" / "x.db").close()

    assert (tmp_path / "sub").stat().st_mode & 0o077 == 0


def test_one_lock_one_writer(tmp_path: Path) -> None:
    """Taken once; free again when it is given back."""
    first, second = WriterLock(tmp_path / "a" / "l"), WriterLock(tmp_path / "a" / "l")

    assert (first.acquire(), first.acquire(), second.acquire()) == (True, True, False)
    first.release()
    assert second.acquire()
    second.release()


def _files(path: Path) -> list[IndexedFile]:
    reader = IndexReader(path)
    try:
        return reader.files()
    finally:
        reader.close()
