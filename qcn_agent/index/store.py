"""The writer's side of the database: files put, moved and removed, in transactions."""

import logging
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from qcn_agent.index import counts as count_blobs
from qcn_agent.index import schema
from qcn_agent.index.definitions import unpack_definitions
from qcn_agent.index.files import FileStamp
from qcn_agent.index.imports import unpack_imports
from qcn_agent.index.languages import language_of
from qcn_agent.index.record import PATH_FIELD, FileRecord, field_texts
from qcn_agent.index.references import unpack_references
from qcn_agent.index.terms import TermTable
from qcn_agent.index.words import FIELDS, WordSplitter, path_words

logger = logging.getLogger(__name__)

_MARKS = ", ".join("?" * (len(FIELDS) + 1))
_INSERT_WORDS = f"INSERT INTO words(rowid, {', '.join(FIELDS)}) VALUES ({_MARKS})"
_DELETE_WORDS = f"INSERT INTO words(words, rowid, {', '.join(FIELDS)}) VALUES ('delete', {_MARKS})"
_PUT_NAMED = "INSERT INTO named VALUES (?, ?, ?, ?, ?)"


def stem_of(path: str) -> str:
    """The file's name up to its first dot; a hidden file's whole name."""
    name = path.rpartition("/")[2]
    return name.partition(".")[0] or name


def folder_of(path: str) -> str:
    """The folder a file lies in, without a slash at the end; "" at the top."""
    return path.rpartition("/")[0]


class Store:
    """The database of one workspace, open for writing. One at a time: the caller holds the lock.

    Opening makes the tables; what is damaged or of another version is deleted and made anew. Writes happen inside
    `transaction`. Raises sqlite3.Error, above all OperationalError when the disk is full, and OSError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = _opened(path)
        self._terms = TermTable(self._connection)
        self._named: list[tuple[int, ...]] = []
        self._length_changes = np.zeros(len(FIELDS), np.int64)
        self._num_files_change = 0
        self._splitter = WordSplitter()

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it or nothing; readers see it at the end."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._flush_totals()
            self._connection.execute("COMMIT")
        except BaseException:
            self._forget_totals()
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self._terms.forget()
            self._named.clear()
            raise

    def stamps(self) -> dict[str, tuple[int, FileStamp]]:
        """(file_id, stamp) of every file, by path."""
        rows = self._connection.execute("SELECT path, file_id, size, mtime_ns, inode FROM files")
        return {os.fsdecode(path): (file_id, FileStamp(*stamp)) for path, file_id, *stamp in rows}

    def identity(self, path: str) -> tuple[int, bytes] | None:
        """(file_id, content_hash) of a file; None for one that is not there."""
        sql = "SELECT file_id, content_hash FROM files WHERE path = ?"
        row = self._connection.execute(sql, (os.fsencode(path),)).fetchone()
        return (row[0], row[1]) if row else None

    def by_hash(self, file_ids: Iterable[int]) -> dict[bytes, int]:
        """file_id by content hash, of those files whose contents were read."""
        sql = "SELECT content_hash FROM files WHERE file_id = ?"
        found = ((file_id, self._connection.execute(sql, (file_id,)).fetchone()) for file_id in file_ids)
        return {row[0]: file_id for file_id, row in found if row and row[0]}

    def put(self, record: FileRecord) -> int:
        """Add a file, or replace what is stored under its path. Returns its file_id, which a replaced file keeps."""
        known = self.identity(record.path)
        if known:
            self._remove_contents(known[0])
        file_id = self._put_file(record, known[0] if known else None)
        terms = np.array(self._terms.ids_of(record.words), np.uint32)
        entries = np.frombuffer(record.entries, np.uint32)
        keys = terms[entries >> 3] * np.uint32(8) + (entries & np.uint32(7))
        counts = np.frombuffer(record.counts, np.uint8)
        blobs = (record.definitions, record.references, record.imports, count_blobs.encode(keys, counts))
        self._connection.execute("INSERT INTO contents VALUES (?, ?, ?, ?, ?)", (file_id, *blobs))
        self._connection.execute(_INSERT_WORDS, (file_id, *record.texts))
        name_ids = self._terms.ids_of([name for name, *_numbers in record.names])
        self._named += [(name_id, file_id, *row[1:]) for name_id, row in zip(name_ids, record.names, strict=True)]
        self._add_totals(1, keys, counts)
        return file_id

    def restamp(self, file_id: int, stamp: FileStamp) -> None:
        """The file was touched, its contents are the same."""
        sql = "UPDATE files SET size = ?, mtime_ns = ?, inode = ? WHERE file_id = ?"
        self._connection.execute(sql, (stamp.size, stamp.mtime_ns, stamp.inode, file_id))

    def can_move(self, file_id: int, path: str) -> bool:
        """Whether the file would be read the same way under that path: its name decides on the language."""
        row = self._connection.execute("SELECT path FROM files WHERE file_id = ?", (file_id,)).fetchone()
        return language_of(os.fsdecode(row[0])) == language_of(path)

    def move(self, file_id: int, path: str, stamp: FileStamp) -> None:
        """The same contents lie at another path now; only the words of the path change."""
        old_keys, old_counts = self._forget_words(file_id)
        kept = (old_keys & 7) != PATH_FIELD
        fresh = path_words(path, self._splitter)
        keys = np.concatenate([old_keys[kept], np.array([8 * self._terms.id_of(word) for word in fresh], np.uint32)])
        counts = np.concatenate([old_counts[kept], np.array(list(fresh.values()), np.uint8)])
        sql = "UPDATE contents SET counts = ? WHERE file_id = ?"
        self._connection.execute(sql, (count_blobs.encode(keys, counts), file_id))
        self._connection.execute(_INSERT_WORDS, (file_id, *self._texts_of(keys, counts)))
        sql = "UPDATE files SET path = ?, stem = ?, folder = ? WHERE file_id = ?"
        self._connection.execute(sql, (*_places(path), file_id))
        self.restamp(file_id, stamp)
        self._add_totals(1, keys, counts)

    def remove(self, file_id: int) -> None:
        """Forget a file."""
        self._remove_contents(file_id)
        for table in ("files", "cochange"):
            self._connection.execute(f"DELETE FROM {table} WHERE file_id = ?", (file_id,))

    def file_ids(self) -> dict[str, int]:
        """file_id of every file, by path."""
        rows = self._connection.execute("SELECT path, file_id FROM files")
        return {os.fsdecode(path): file_id for path, file_id in rows}

    def replace_cochange(self, rows: Iterable[tuple[int, int, float]]) -> None:
        """All of the co-change table: (file_id, other_id, weight)."""
        self._connection.execute("DELETE FROM cochange")
        self._connection.executemany("INSERT INTO cochange VALUES (?, ?, ?)", rows)

    def meta(self, key: str) -> str | None:
        """A remembered value."""
        row = self._connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    def set_meta(self, key: str, value: str) -> None:
        """Remember a value."""
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def checkpoint(self) -> None:
        """Fold the log into the database, so that it does not stay large."""
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _put_file(self, record: FileRecord, file_id: int | None) -> int:
        stamp = record.stamp
        cursor = self._connection.execute(
            "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                file_id,
                *_places(record.path),
                record.language,
                int(record.depth),
                stamp.size,
                stamp.mtime_ns,
                stamp.inode,
                record.content_hash,
            ),
        )
        return int(cursor.lastrowid or 0)

    def _remove_contents(self, file_id: int) -> None:
        self._forget_words(file_id)
        sql = "SELECT definitions, refs, imports FROM contents WHERE file_id = ?"
        definitions, references, imports = self._connection.execute(sql, (file_id,)).fetchone()
        names = {*unpack_definitions(definitions).names, *unpack_references(references).names}
        names.update(*(found.keys for found in unpack_imports(imports)))
        self._store_named()
        doomed = [(self._terms.id_of(name), file_id) for name in sorted(names) if name]
        self._connection.executemany("DELETE FROM named WHERE term_id = ? AND file_id = ?", doomed)
        self._connection.execute("DELETE FROM contents WHERE file_id = ?", (file_id,))

    def _store_named(self) -> None:
        """In the order of the table, which is much faster than file by file."""
        self._connection.executemany(_PUT_NAMED, sorted(self._named))
        self._named.clear()

    def _forget_words(self, file_id: int) -> tuple[count_blobs.Keys, count_blobs.Counts]:
        """Take a file's words out of the full-text table and the totals; what they were."""
        sql = "SELECT counts FROM contents WHERE file_id = ?"
        keys, counts = count_blobs.decode(self._connection.execute(sql, (file_id,)).fetchone()[0])
        self._connection.execute(_DELETE_WORDS, (file_id, *self._texts_of(keys, counts)))
        self._add_totals(-1, keys, counts)
        return keys, counts

    def _texts_of(self, keys: count_blobs.Keys, counts: count_blobs.Counts) -> tuple[str, ...]:
        """What the full-text table was given for these counts."""
        term_ids = np.unique(keys >> 3).tolist()
        words = dict(zip(term_ids, self._terms.texts(term_ids), strict=True))
        fields: list[dict[str, int]] = [{} for _ in FIELDS]
        for key, number in zip(keys.tolist(), counts.tolist(), strict=True):
            fields[key & 7][words[key >> 3]] = number
        return field_texts(fields)

    def _add_totals(self, sign: int, keys: count_blobs.Keys, counts: count_blobs.Counts) -> None:
        self._num_files_change += sign
        self._length_changes += sign * count_blobs.lengths(keys, counts)
        self._terms.count(np.unique(keys >> 3).tolist(), sign)

    def _flush_totals(self) -> None:
        self._terms.flush()
        self._store_named()
        totals = [int(self.meta("num_files") or 0) + self._num_files_change]
        totals += [
            int(self.meta(f"length_{field}") or 0) + int(change)
            for field, change in zip(FIELDS, self._length_changes, strict=True)
        ]
        for key, total in zip(("num_files", *(f"length_{field}" for field in FIELDS)), totals, strict=True):
            self.set_meta(key, str(total))
        self.set_meta("generation", str(int(self.meta("generation") or 0) + 1))
        self._forget_totals()

    def _forget_totals(self) -> None:
        self._length_changes[:] = 0
        self._num_files_change = 0


def _places(path: str) -> tuple[bytes, bytes, bytes]:
    return os.fsencode(path), os.fsencode(stem_of(path)), os.fsencode(folder_of(path))


def _opened(path: Path) -> sqlite3.Connection:
    """The database at `path`, made anew where it is of no use."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        return _checked(path)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError) and "full" in str(error):
            raise
        logger.warning("the index %s is made anew: %s", path.name, error)
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    return _checked(path)


def _checked(path: Path) -> sqlite3.Connection:
    """Raises DatabaseError where the file is damaged or of another version."""
    connection = schema.connect(path)
    try:
        connection.execute(f"PRAGMA page_size = {schema.PAGE_BYTES}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
            schema.create(connection)
        if not schema.is_current(connection):
            raise sqlite3.DatabaseError("it is of another version")
        connection.execute("SELECT count(*) FROM meta")
    except BaseException:
        connection.close()
        raise
    return connection
