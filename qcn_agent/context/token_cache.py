"""Tokens of texts that were tokenised before, in a SQLite file, by the hash of the text."""

import itertools
import logging
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from qcn_agent.engine.generator import IntArray

logger = logging.getLogger(__name__)

VERSION = 1
_BUSY_S = 2.0
_BATCH = 500  # SQLite's old limit of variables is 999
_DAY_S = 86_400
_KEPT_SHARE = 0.8  # of the budget, after making room
_SIZE = ("page_count", "page_size")
_SELECT = "SELECT hash, tokens, used FROM pieces WHERE hash IN ({})"
_TABLE = "CREATE TABLE pieces(hash BLOB PRIMARY KEY, tokens BLOB NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID"


class TokenCache:
    """At most about `budget_bytes` of token ids in one file, readable by its owner alone; what was unused longest goes.

    Everything is a miss where the file can't be used: it is deleted when it is damaged, and left alone when another
    process holds it. One thread at a time.
    """

    def __init__(self, file: Path, budget_bytes: int, *, clock: Callable[[], float] = time.time) -> None:
        self._file = file
        self._clock = clock
        self._budget = budget_bytes
        self._connection: sqlite3.Connection | None = None

    def get(self, hashes: Sequence[bytes]) -> dict[bytes, IntArray]:
        """The tokens of those that are known."""
        found: dict[bytes, IntArray] = {}
        self._try(lambda connection: _read(connection, hashes, found, self._today))
        return found

    def put(self, pieces: Mapping[bytes, IntArray]) -> None:
        """Keep them."""
        rows = [(key, tokens.astype(np.int32, copy=False).tobytes(), self._today) for key, tokens in pieces.items()]

        def write(connection: sqlite3.Connection) -> None:
            with connection:
                connection.executemany("INSERT OR REPLACE INTO pieces VALUES (?, ?, ?)", rows)
            (num_pages,), (page_bytes,) = (connection.execute(f"PRAGMA {name}").fetchone() for name in _SIZE)
            if num_pages * page_bytes > self._budget:
                _make_room(connection, self._budget)

        self._try(write)

    def close(self) -> None:
        """End the connection; the file stays."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @property
    def _today(self) -> int:
        return int(self._clock()) // _DAY_S

    def _try(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """Do it; what goes wrong costs the cache, not the caller."""
        try:
            if self._connection is None:
                self._connection = self._opened()
            work(self._connection)
        except (sqlite3.OperationalError, OSError) as error:  # locked, no room, not ours: as if it held nothing
            logger.warning("the token cache %s can't be used: %s", self._file.name, error)
            self.close()
        except sqlite3.DatabaseError as error:
            logger.warning("the token cache %s is made anew: %s", self._file.name, error)
            self.close()
            self._file.unlink(missing_ok=True)

    def _opened(self) -> sqlite3.Connection:
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file.touch(mode=0o600)
        connection = sqlite3.connect(self._file, timeout=_BUSY_S, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = OFF")  # what a crash costs can be made again
            if connection.execute("PRAGMA user_version").fetchone()[0] != VERSION:
                with connection:
                    connection.execute("DROP TABLE IF EXISTS pieces")
                    connection.execute(_TABLE)
                    connection.execute(f"PRAGMA user_version = {VERSION}")
        except BaseException:
            connection.close()
            raise
        return connection


def forget_caches(folder: Path, name: str | None) -> int:
    """Delete the caches of what is called `name`, of everything if that is None; the number of files."""
    pattern = "*" if name is None else f"{name}-*"
    files = [file for file in folder.glob(pattern) if file.is_file()]
    for file in files:
        file.unlink(missing_ok=True)
    return len(files)


def _read(connection: sqlite3.Connection, hashes: Sequence[bytes], found: dict[bytes, IntArray], today: int) -> None:
    """Put what is known into `found`, and note that it was used today (a number of days)."""
    stale: list[tuple[int, bytes]] = []
    for begin in range(0, len(hashes), _BATCH):
        batch = list(hashes[begin : begin + _BATCH])
        marks = ",".join("?" * len(batch))
        for key, tokens, used in connection.execute(_SELECT.format(marks), batch):
            found[key] = np.frombuffer(tokens, np.int32)
            stale += [(today, key)] if used != today else []
    if stale:
        with connection:
            connection.executemany("UPDATE pieces SET used = ? WHERE hash = ?", stale)


def _make_room(connection: sqlite3.Connection, budget: int) -> None:
    """Down to a part of the budget, by whole days of last use: what was last used on the same day goes together."""
    days = connection.execute(
        "SELECT used, sum(length(tokens)) FROM pieces GROUP BY used ORDER BY used DESC"
    ).fetchall()
    kept = itertools.accumulate(size for _day, size in days)
    gone = [day for (day, _size), total in zip(days, kept, strict=True) if total > budget * _KEPT_SHARE]
    if gone:
        with connection:
            connection.execute("DELETE FROM pieces WHERE used <= ?", (gone[0],))
        connection.execute("VACUUM")
