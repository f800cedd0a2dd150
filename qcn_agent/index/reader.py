"""The readers' side of the database: all queries, each from one snapshot, each deterministic."""

import logging
import os
import sqlite3
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qcn_agent.index import counts as count_blobs
from qcn_agent.index import schema
from qcn_agent.index.definitions import DefinitionTable, unpack_definitions
from qcn_agent.index.files import FileStamp
from qcn_agent.index.imports import Import, unpack_imports
from qcn_agent.index.kept import Kept
from qcn_agent.index.postings import Postings
from qcn_agent.index.record import Depth
from qcn_agent.index.references import ReferenceTable, unpack_references
from qcn_agent.index.rows import CorpusStats, FieldCounts, FoundDefinition, FoundReferences, IndexedFile
from qcn_agent.index.tags import Definition
from qcn_agent.index.words import FIELDS

logger = logging.getLogger(__name__)

FileIds = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]

_FILE_COLUMNS = "files.file_id, path, language, size, depth, content_hash"
FIELD_WEIGHTS = (4.0, 3.0, 1.5, 1.0, 1.2)
_MATCHES = f"SELECT rowid, bm25(words, {', '.join(map(str, FIELD_WEIGHTS))}) FROM words WHERE words MATCH ?"
_DEPTHS = tuple(Depth)
_COMMON_SHARE = 0.25
_MIN_COMMON = 1000
_KEPT_POSTINGS, _KEPT_COUNTS, _KEPT_DEFINITIONS = 1 << 20, 1 << 23, 1 << 16  # of 16, 5 and about 400 bytes
_BATCH = 500  # values in one statement
_ASKED = "(?*)"  # stands for as many question marks as there are values
_FEW_DEFINERS = f"""
SELECT text, file_id FROM terms JOIN named INDEXED BY definers USING (term_id)
WHERE num_definitions > 0 AND text IN {_ASKED} AND (
    SELECT count(*) FROM (
        SELECT 1 FROM named AS own INDEXED BY definers
        WHERE own.term_id = terms.term_id AND own.num_definitions > 0 LIMIT {{most}} + 1
    )
) <= {{most}}
"""


class IndexReader:
    """Queries. May be called from several threads; each waits for the one before.

    Where there is no database (yet), there are no files. A database that was made anew is opened again by itself.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._num_opened = 0
        self._postings: Kept[str, Postings] = Kept(_KEPT_POSTINGS)
        self._tables: Kept[int, DefinitionTable] = Kept(_KEPT_DEFINITIONS)
        self._counts: Kept[int, tuple[count_blobs.Keys, count_blobs.Counts]] = Kept(_KEPT_COUNTS)

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
                self._end(connection)

    def _end(self, connection: sqlite3.Connection) -> None:
        try:
            connection.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            logger.warning("the index is damaged, and is made anew: %s", error)
            self._disconnect()

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
            self._num_opened += 1
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
        """Rows of a statement with one _ASKED, which gets the values, many at once."""
        listed, rows = list(values), []
        with self._reading():
            for start in range(0, len(listed), _BATCH):
                part = listed[start : start + _BATCH]
                rows += self._rows(sql.replace(_ASKED, f"({', '.join('?' * len(part))})"), *part)
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
        rows = self._rows_of(f"SELECT {_FILE_COLUMNS} FROM files WHERE file_id IN {_ASKED}", file_ids)
        return {row[0]: _file(row) for row in rows}

    def stamps(self) -> dict[str, FileStamp]:
        """What told each file from others when it was read, by path."""
        rows = self._rows("SELECT path, size, mtime_ns, inode FROM files")
        return {os.fsdecode(path): FileStamp(*stamp) for path, *stamp in rows}

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
        sql = f"SELECT {_FILE_COLUMNS} FROM files WHERE stem IN {_ASKED}"
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
            self._postings.keep_to(self._state())
            stats = self.corpus_stats(list(words_by_weight))
            common = max(_MIN_COMMON, int(stats.num_files * _COMMON_SHARE))
            order = sorted((count, word) for word, count in stats.document_frequencies.items() if count)
            size = 1 + (self._rows("SELECT max(file_id) FROM files")[0][0] or 0) if order else 0
            scores, is_found = np.zeros(size), np.zeros(size, bool)
            for count, word in order:
                if count > common and np.count_nonzero(is_found) >= limit:
                    break
                found = self._matches(word)
                scores[found.file_ids] -= found.scores * words_by_weight[word]
                is_found[found.file_ids] = True
            return self._best(np.flatnonzero(is_found), scores, limit)

    def _matches(self, word: str) -> Postings:
        """The files that hold a word, with FTS5's bm25, which is negative."""
        postings = self._postings.get(word)
        if postings is None:
            postings = Postings.of(self._rows(_MATCHES, '"' + word.replace('"', '""') + '"'))
            self._postings.put(word, postings, len(postings.file_ids))
        return postings

    def _best(self, file_ids: FileIds, scores: Scores, limit: int) -> list[tuple[int, float]]:
        """File ids differ from build to build, so it is the path that decides between equals."""
        if limit <= 0 or not len(file_ids):
            return []
        own = scores[file_ids]
        if len(own) > limit:
            file_ids = file_ids[own >= np.partition(own, -limit)[-limit]]
        sql = f"SELECT file_id, path FROM files WHERE file_id IN {_ASKED}"
        paths = dict(self._rows_of(sql, file_ids.tolist()))
        kept = zip(file_ids.tolist(), scores[file_ids].tolist(), strict=True)
        return sorted(kept, key=lambda item: (-item[1], paths.get(item[0], b"")))[:limit]

    def field_counts(self, file_ids: Sequence[int], words: Sequence[str]) -> FieldCounts:
        """How often each word occurs in each field of each file; zeros for a file that is not there (any more)."""
        with self._reading():
            terms = self._terms(words)
            term_ids = np.array([terms.get(word, (-1, 0))[0] for word in words], np.int64)
            table = count_blobs.CountTable(self._counts_of(file_ids))
        return FieldCounts(table.counts_of(term_ids), table.lengths())

    def _counts_of(self, file_ids: Sequence[int]) -> list[tuple[count_blobs.Keys, count_blobs.Counts]]:
        self._counts.keep_to(self._state())
        found = {file_id: known for file_id in file_ids if (known := self._counts.get(file_id)) is not None}
        sql = f"SELECT file_id, counts FROM contents WHERE file_id IN {_ASKED}"
        for file_id, blob in self._rows_of(sql, [file_id for file_id in file_ids if file_id not in found]):
            found[file_id] = decoded = count_blobs.decode(blob)
            self._counts.put(file_id, decoded, len(decoded[0]))
        return [found.get(file_id, count_blobs.NOTHING) for file_id in file_ids]

    def _state(self) -> object:
        """What changes whenever the index does."""
        return self._num_opened, self.generation()

    def corpus_stats(self, words: Sequence[str] = ()) -> CorpusStats:
        """Of all files; document frequencies of the words asked for, 0 for one that never occurs."""
        with self._reading():
            meta = dict(self._rows("SELECT key, value FROM meta"))
            terms = self._terms(words)
        num_files = int(meta.get("num_files", 0))
        averages = tuple(int(meta.get(f"length_{field}", 0)) / max(1, num_files) for field in FIELDS)
        return CorpusStats(num_files, averages, {word: terms.get(word, (-1, 0))[1] for word in words})

    def _terms(self, texts: Sequence[str]) -> dict[str, tuple[int, int]]:
        """(term_id, number of files) of those texts that are known."""
        rows = self._rows_of(f"SELECT text, term_id, num_files FROM terms WHERE text IN {_ASKED}", texts)
        return {text: (term_id, num_files) for text, term_id, num_files in rows}

    # Names

    def definitions_of(self, file_id: int) -> tuple[Definition, ...]:
        """What a file defines, in the order of the text."""
        rows = self._rows("SELECT definitions FROM contents WHERE file_id = ?", file_id)
        return unpack_definitions(rows[0][0]).all() if rows else ()

    def definition_tables(self, file_ids: Collection[int]) -> dict[int, DefinitionTable]:
        """definitions_of several files as columns; what is not there (any more) is left out."""
        with self._reading():
            self._tables.keep_to(self._state())
            found = {file_id: known for file_id in file_ids if (known := self._tables.get(file_id)) is not None}
            sql = f"SELECT file_id, definitions FROM contents WHERE file_id IN {_ASKED}"
            for file_id, blob in self._rows_of(sql, [file_id for file_id in file_ids if file_id not in found]):
                found[file_id] = table = unpack_definitions(blob)
                self._tables.put(file_id, table, 1 + len(table))
        return found

    def imports_in(self, file_id: int) -> tuple[Import, ...]:
        """What a file imports, as it is written."""
        rows = self._rows("SELECT imports FROM contents WHERE file_id = ?", file_id)
        return unpack_imports(rows[0][0]) if rows else ()

    def definitions_named(self, name: str, limit: int = 100) -> list[FoundDefinition]:
        """Where a name is defined: by path, then position; from at most `limit` files."""
        with self._reading():
            files = self._named(name, "num_definitions", limit)
            tables = self.definition_tables([file_id for file_id, _path, _count in files])
        return [
            FoundDefinition(file_id, path, definition)
            for file_id, path, _count in files
            if file_id in tables  # else what was found about it is damaged
            for definition in tables[file_id].named(name)
        ]

    def references_to(self, name: str, limit: int = 100) -> list[FoundReferences]:
        """Which files call, access or inherit from a name; those that do it most first, then by path."""
        files = self._named(name, "num_references", limit)
        return [
            FoundReferences(file_id, path, count, self.references_in(file_id).lines_of(name))
            for file_id, path, count in files
        ]

    def reference_counts(self, name: str) -> list[tuple[int, int]]:
        """(file_id, count) of every file that refers to a name; cheap, without lines."""
        return [(file_id, count) for file_id, _path, count in self._named(name, "num_references", -1)]

    def definition_counts(self, name: str, limit: int = -1) -> list[tuple[int, int]]:
        """(file_id, count) of the files that define a name, at most `limit`; cheap, without positions."""
        return [(file_id, count) for file_id, _path, count in self._named(name, "num_definitions", limit)]

    def few_definers(self, names: Collection[str], limit: int) -> dict[str, list[int]]:
        """The files that define each name, ascending; without names that none or more than `limit` define."""
        found: dict[str, list[int]] = {}
        for name, file_id in sorted(self._rows_of(_FEW_DEFINERS.format(most=int(limit)), names)):
            found.setdefault(name, []).append(file_id)
        return found

    def references_in(self, file_id: int) -> ReferenceTable:
        """The names that a file calls, accesses or inherits from, each with its (first) lines."""
        rows = self._rows("SELECT refs FROM contents WHERE file_id = ?", file_id)
        return unpack_references(rows[0][0] if rows else b"")

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
    return IndexedFile(file_id, os.fsdecode(path), language, size, _DEPTHS[depth], content_hash)


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
