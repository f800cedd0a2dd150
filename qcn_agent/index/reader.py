"""The readers' side of the database: all queries, each from one snapshot, each deterministic."""

import heapq
import logging
import os
import sqlite3
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from qcn_agent.index import counts as count_blobs
from qcn_agent.index import schema
from qcn_agent.index.imports import Import
from qcn_agent.index.record import Depth, unpacked, unpacked_definitions, unpacked_imports
from qcn_agent.index.rows import CorpusStats, FieldCounts, FoundDefinition, FoundReferences, IndexedFile
from qcn_agent.index.tags import Definition
from qcn_agent.index.words import FIELDS

logger = logging.getLogger(__name__)

_FILE_COLUMNS = "files.file_id, path, language, size, depth, content_hash"
FIELD_WEIGHTS = (4.0, 3.0, 1.5, 1.0, 1.2)
_MATCHES = f"SELECT rowid, bm25(words, {', '.join(map(str, FIELD_WEIGHTS))}) FROM words WHERE words MATCH ?"
_COMMON_SHARE = 0.25
_MIN_COMMON = 1000
_BATCH = 500  # values in one statement


class IndexReader:
    """Queries. May be called from several threads; each waits for the one before.

    Where there is no database (yet), there are no files. A database that was made anew is opened again by itself.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None

    def close(self) -> None:
        """End the connection; a later query opens a new one."""
        self._disconnect()

    def _disconnect(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = self._identity = None

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All queries inside see the same state of the index."""
        with self._lock, self._reading():
            yield

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            connection = self._open()
            if connection.in_transaction:
                yield connection
                return
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("COMMIT")

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None and self._connection.in_transaction:
            return self._connection
        try:
            status = self._database.stat()
            identity: tuple[int, int] | None = (status.st_dev, status.st_ino)
        except OSError:
            identity = None
        if self._connection is None or identity != self._identity or identity is None:
            self._disconnect()
            connection = _connected(self._database) if identity else None
            self._connection, self._identity = connection or _empty(), identity if connection else None
        return self._connection

    def _rows(self, sql: str, *values: object) -> list[Any]:
        with self._reading() as connection:
            try:
                return connection.execute(sql, values).fetchall()
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError as error:  # damaged: the indexer makes it anew
                logger.warning("the index %s can't be read: %s", self._database.name, error)
                return []

    def _rows_of(self, sql: str, values: Collection[object]) -> list[Any]:
        """Rows of a statement whose last condition is `IN`, which gets the values, many at once."""
        listed, rows = list(values), []
        with self._reading():
            for start in range(0, len(listed), _BATCH):
                part = listed[start : start + _BATCH]
                rows += self._rows(f"{sql} ({', '.join('?' * len(part))})", *part)
        return rows

    # Files

    def generation(self) -> int:
        """A number that grows with each change of the index; 0 for an empty one."""
        rows = self._rows("SELECT value FROM meta WHERE key = 'generation'")
        return int(rows[0][0]) if rows else 0

    def files(self) -> list[IndexedFile]:
        """Every file, sorted by the bytes of its path."""
        return [_file(row) for row in self._rows(f"SELECT {_FILE_COLUMNS} FROM files ORDER BY path")]

    def file(self, file_id: int) -> IndexedFile | None:
        """One file."""
        rows = self._rows(f"SELECT {_FILE_COLUMNS} FROM files WHERE file_id = ?", file_id)
        return _file(rows[0]) if rows else None

    def files_by_id(self, file_ids: Collection[int]) -> dict[int, IndexedFile]:
        """Those of the files that exist."""
        rows = self._rows_of(f"SELECT {_FILE_COLUMNS} FROM files WHERE file_id IN", file_ids)
        return {row[0]: _file(row) for row in rows}

    def file_at(self, path: str) -> IndexedFile | None:
        """The file at a path relative to the workspace."""
        rows = self._rows(f"SELECT {_FILE_COLUMNS} FROM files WHERE path = ?", os.fsencode(path))
        return _file(rows[0]) if rows else None

    def files_with_stem(self, stem: str) -> list[IndexedFile]:
        """Files whose name up to its first dot is `stem`, sorted by path."""
        sql = f"SELECT {_FILE_COLUMNS} FROM files WHERE stem = ? ORDER BY path"
        return [_file(row) for row in self._rows(sql, os.fsencode(stem))]

    def files_with_stems(self, stems: Collection[str], limit: int) -> list[IndexedFile]:
        """As files_with_stem for several stems, the first `limit` by path."""
        sql = f"SELECT {_FILE_COLUMNS} FROM files WHERE stem IN"
        rows = self._rows_of(sql, {os.fsencode(stem) for stem in stems})
        return [_file(row) for row in sorted(rows, key=lambda row: row[1])[:limit]]

    def files_ending(self, ending: str) -> list[IndexedFile]:
        """Files whose path, up to the first dot of the name, is or ends with `/` and `ending`, sorted by path."""
        folder, _, stem = os.fsencode(ending).rpartition(b"/")
        if not folder:
            return self.files_with_stem(ending)
        sql = (
            f"SELECT {_FILE_COLUMNS} FROM files WHERE stem = ?1 "
            "AND (folder = ?2 OR substr(folder, -length(?3)) = ?3) ORDER BY path"
        )
        return [_file(row) for row in self._rows(sql, stem, folder, b"/" + folder)]

    def files_in(self, folder: str) -> list[IndexedFile]:
        """Files right in a folder ("" is the workspace), sorted by path."""
        sql = f"SELECT {_FILE_COLUMNS} FROM files WHERE folder = ? ORDER BY path"
        return [_file(row) for row in self._rows(sql, os.fsencode(folder))]

    # Words

    def candidates(self, words_by_weight: Mapping[str, float], limit: int) -> list[tuple[int, float]]:
        """(file_id, score), best first, ties by path: a weighted BM25 over the fields, to be scored exactly afterwards.

        Words are lower-case, as words.py makes them. A word that occurs in over a quarter of many files is passed over,
        as long as rarer ones find enough.
        """
        with self._reading():
            frequencies = self.corpus_stats(list(words_by_weight)).document_frequencies
            common = max(_MIN_COMMON, int(self._num_files() * _COMMON_SHARE))
            order = sorted((count, word) for word, count in frequencies.items() if count)
            scores: dict[int, float] = {}
            for count, word in order:
                if count > common and len(scores) >= limit:
                    break
                for file_id, score in self._matches(word):
                    scores[file_id] = scores.get(file_id, 0.0) - score * words_by_weight[word]
            return self._best(scores, limit)

    def _matches(self, word: str) -> list[tuple[int, float]]:
        """(file_id, FTS5's bm25, which is negative) of the files that hold a word."""
        return self._rows(_MATCHES, '"' + word.replace('"', '""') + '"')

    def _best(self, scores: Mapping[int, float], limit: int) -> list[tuple[int, float]]:
        """File ids differ from build to build, so it is the path that decides between equals."""
        if limit <= 0 or not scores:
            return []
        lowest = heapq.nlargest(limit, scores.values())[-1]
        kept = [(file_id, score) for file_id, score in scores.items() if score >= lowest]
        sql = "SELECT file_id, path FROM files WHERE file_id IN"
        paths = dict(self._rows_of(sql, [file_id for file_id, _score in kept]))
        return sorted(kept, key=lambda item: (-item[1], paths.get(item[0], b"")))[:limit]

    def field_counts(self, file_ids: Sequence[int], words: Sequence[str]) -> FieldCounts:
        """How often each word occurs in each field of each file; zeros for a file that is not there (any more)."""
        with self._reading():
            terms = self._terms(words)
            term_ids = np.array([terms.get(word, (-1, 0))[0] for word in words], np.int64)
            blobs = dict(self._rows_of("SELECT file_id, counts FROM contents WHERE file_id IN", file_ids))
        table = count_blobs.CountTable([blobs.get(file_id, b"") for file_id in file_ids])
        return FieldCounts(table.counts_of(term_ids), table.lengths())

    def corpus_stats(self, words: Sequence[str] = ()) -> CorpusStats:
        """Of all files; document frequencies of the words asked for, 0 for one that never occurs."""
        with self._reading():
            meta = dict(self._rows("SELECT key, value FROM meta"))
            terms = self._terms(words)
        num_files = int(meta.get("num_files", 0))
        averages = tuple(int(meta.get(f"length_{field}", 0)) / max(1, num_files) for field in FIELDS)
        return CorpusStats(num_files, averages, {word: terms.get(word, (-1, 0))[1] for word in words})

    def _num_files(self) -> int:
        return self.corpus_stats().num_files

    def _terms(self, texts: Sequence[str]) -> dict[str, tuple[int, int]]:
        """(term_id, number of files) of those texts that are known."""
        rows = self._rows_of("SELECT text, term_id, num_files FROM terms WHERE text IN", texts)
        return {text: (term_id, num_files) for text, term_id, num_files in rows}

    # Names

    def definitions_of(self, file_id: int) -> tuple[Definition, ...]:
        """What a file defines, in the order of the text."""
        rows = self._rows("SELECT definitions FROM contents WHERE file_id = ?", file_id)
        return unpacked_definitions(rows[0][0]) if rows else ()

    def definitions_by_id(self, file_ids: Collection[int]) -> dict[int, tuple[Definition, ...]]:
        """definitions_of several files."""
        rows = self._rows_of("SELECT file_id, definitions FROM contents WHERE file_id IN", file_ids)
        return {file_id: unpacked_definitions(blob) for file_id, blob in rows}

    def imports_in(self, file_id: int) -> tuple[Import, ...]:
        """What a file imports, as it is written."""
        rows = self._rows("SELECT imports FROM contents WHERE file_id = ?", file_id)
        return unpacked_imports(rows[0][0]) if rows else ()

    def definitions_named(self, name: str, limit: int = 100) -> list[FoundDefinition]:
        """Where a name is defined: by path, then position; from at most `limit` files."""
        found: list[FoundDefinition] = []
        for file_id, path, _count in self._named(name, "num_definitions", limit):
            own = (definition for definition in self.definitions_of(file_id) if definition.name == name)
            found.extend(FoundDefinition(file_id, path, definition) for definition in own)
        return found

    def references_to(self, name: str, limit: int = 100) -> list[FoundReferences]:
        """Which files call, access or inherit from a name; those that do it most first, then by path."""
        found: list[FoundReferences] = []
        for file_id, path, count in self._named(name, "num_references", limit):
            blob = self._rows("SELECT refs FROM contents WHERE file_id = ?", file_id)[0][0]
            lines = unpacked(blob)[name][1:]
            found.append(FoundReferences(file_id, path, count, tuple(lines)))
        return found

    def reference_counts(self, name: str) -> list[tuple[int, int]]:
        """(file_id, count) of every file that refers to a name; cheap, without lines."""
        return [(file_id, count) for file_id, _path, count in self._named(name, "num_references", -1)]

    def definition_counts(self, name: str, limit: int = -1) -> list[tuple[int, int]]:
        """(file_id, count) of the files that define a name, at most `limit`; cheap, without positions."""
        return [(file_id, count) for file_id, _path, count in self._named(name, "num_definitions", limit)]

    def few_definers(self, name: str, limit: int) -> list[int]:
        """The files that define a name, in no order; none where more than `limit` do."""
        sql = (
            "SELECT file_id FROM named WHERE term_id = (SELECT term_id FROM terms WHERE text = ?) "
            "AND num_definitions > 0 LIMIT ?"
        )
        found = [file_id for (file_id,) in self._rows(sql, name, limit + 1)]
        return found if len(found) <= limit else []

    def references_in(self, file_id: int) -> dict[str, tuple[int, ...]]:
        """The names that a file calls, accesses or inherits from, each with its (first) lines."""
        rows = self._rows("SELECT refs FROM contents WHERE file_id = ?", file_id)
        return {name: tuple(lines) for name, (_count, *lines) in dict(unpacked(rows[0][0]) if rows else {}).items()}

    def importing_key(self, key: str, limit: int = 2000) -> list[int]:
        """Files with an import whose key (record.import_key) or imported name is `key`."""
        return [file_id for file_id, _path, _count in self._named(key, "num_imports", limit)]

    def _named(self, name: str, column: str, limit: int) -> list[tuple[int, str, int]]:
        """(file_id, path, count) of the files with a name in this role."""
        sql = (
            f"SELECT named.file_id, path, {column} FROM terms JOIN named USING (term_id) JOIN files USING (file_id) "
            f"WHERE text = ? AND {column} > 0 ORDER BY {column} DESC, path LIMIT ?"
        )
        return [(file_id, os.fsdecode(path), count) for file_id, path, count in self._rows(sql, name, limit)]

    # Neighbours that the history knows

    def cochanged_ids(self, file_id: int) -> list[tuple[int, float]]:
        """(file_id, weight) of files that commits changed together with this one, strongest first."""
        sql = "SELECT other_id, weight FROM cochange WHERE file_id = ? ORDER BY weight DESC, other_id"
        return [(other_id, weight) for other_id, weight in self._rows(sql, file_id)]


def _file(row: tuple[int, bytes, str, int, int, bytes]) -> IndexedFile:
    file_id, path, language, size, depth, content_hash = row
    return IndexedFile(file_id, os.fsdecode(path), language, size, Depth(depth), content_hash)


def _connected(database: Path) -> sqlite3.Connection | None:
    """The database; None where it is damaged, of another version, or not ready yet."""
    try:
        connection = schema.connect(database, read_only=True)
        if schema.is_current(connection):
            return connection
        connection.close()
    except sqlite3.DatabaseError:
        pass
    return None


def _empty() -> sqlite3.Connection:
    connection = schema.connect(":memory:")
    schema.create(connection)
    return connection
