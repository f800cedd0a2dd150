"""The database's tables, and opening a connection to them.

One file's row in `files` is what is scanned often; `contents` holds the rest of it, compressed. `words` is a
contentless full-text table (rowid = file_id): which files hold a word. `named` says which files define, reference or
import a name. Paths are bytes (`os.fsencode`), because a name need not be UTF-8.
"""

import sqlite3
from pathlib import Path

SCHEMA_VERSION = 2
PAGE_BYTES = 4096  # larger ones hold contents more tightly, but a build took 1.4 times as long with 16,384
_CACHE_KIB = 32 * 1024
_BUSY_S = 5.0

_TABLES = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE files(
    file_id INTEGER PRIMARY KEY,
    path BLOB NOT NULL UNIQUE,
    stem BLOB NOT NULL,
    folder BLOB NOT NULL,
    language TEXT NOT NULL,
    depth INTEGER NOT NULL,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    content_hash BLOB NOT NULL
);
CREATE INDEX files_by_stem ON files(stem);
CREATE INDEX files_by_folder ON files(folder);
CREATE TABLE contents(
    file_id INTEGER PRIMARY KEY,
    definitions BLOB NOT NULL,
    refs BLOB NOT NULL,
    imports BLOB NOT NULL,
    counts BLOB NOT NULL
);
CREATE TABLE terms(term_id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE, num_files INTEGER NOT NULL DEFAULT 0);
CREATE TABLE named(
    term_id INTEGER NOT NULL,
    file_id INTEGER NOT NULL,
    num_definitions INTEGER NOT NULL,
    num_references INTEGER NOT NULL,
    num_imports INTEGER NOT NULL,
    PRIMARY KEY(term_id, file_id)
) WITHOUT ROWID;
CREATE INDEX definers ON named(term_id, num_definitions) WHERE num_definitions > 0;
CREATE TABLE cochange(file_id INTEGER, other_id INTEGER, weight REAL, PRIMARY KEY(file_id, other_id)) WITHOUT ROWID;
CREATE VIRTUAL TABLE words USING fts5(
    path, definitions, docs, body, strings, content='', tokenize="ascii tokenchars '_'"
);
"""


def connect(path: Path | str, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection that may be used from several threads, one at a time. Raises sqlite3.Error."""
    place = f"{Path(path).absolute().as_uri()}?mode=ro" if read_only else str(path)
    connection = sqlite3.connect(
        place, uri=read_only, timeout=_BUSY_S, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def create(connection: sqlite3.Connection) -> None:
    """Make the tables in an empty database."""
    connection.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")


def is_current(connection: sqlite3.Connection) -> bool:
    """Whether the tables are those of this version. Raises sqlite3.DatabaseError for what is no database."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0]) == SCHEMA_VERSION
