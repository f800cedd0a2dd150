"""Counts over days, in SQLite: numbers by language and event, no source text. Nothing is sent anywhere."""

import contextlib
import logging
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)

KEPT_DAYS = 365
_SCHEMA = """
CREATE TABLE IF NOT EXISTS counts (
    day TEXT NOT NULL, language TEXT NOT NULL, event TEXT NOT NULL, amount REAL NOT NULL,
    PRIMARY KEY (day, language, event)
) WITHOUT ROWID
"""
_ADD = """
INSERT INTO counts VALUES (?, ?, ?, ?)
ON CONFLICT (day, language, event) DO UPDATE SET amount = amount + excluded.amount
"""


@dataclass(frozen=True)
class Row:
    """What happened in a language."""

    language: str
    event: str
    amount: float


class Tally:
    """Counts in memory until `flush`, which never raises: statistics are not worth an error."""

    def __init__(self, file: Path, today: Callable[[], str] = lambda: time.strftime("%Y-%m-%d")) -> None:
        self._file = file
        self._today = today
        self._pending: Counter[tuple[str, str, str]] = Counter()

    def count(self, language: str, event: str, amount: float = 1) -> None:
        """Note it."""
        self._pending[self._today(), language, event] += amount  # type: ignore[assignment]  # a mean's sum is no int

    def flush(self) -> bool:
        """Write what is pending; whether it is written. What could not be is tried again the next time."""
        if not self._pending:
            return True
        pending = [(*key, amount) for key, amount in self._pending.items()]
        try:
            with contextlib.closing(self._open()) as database, database:
                database.executemany(_ADD, pending)
                oldest = time.strftime("%Y-%m-%d", time.localtime(time.time() - KEPT_DAYS * 86_400))
                database.execute("DELETE FROM counts WHERE day < ?", (oldest,))
        except (sqlite3.Error, OSError) as error:
            logger.info("completion statistics could not be written: %s", error)
            return False
        self._pending.clear()
        return True

    def rows(self, since: str = "") -> list[Row]:
        """Sums over the days from `since` (YYYY-MM-DD) on, pending ones included."""
        sums = Counter[tuple[str, str]]()
        for (day, language, event), amount in self._pending.items():
            if day >= since:
                sums[language, event] += amount
        sql = "SELECT language, event, SUM(amount) FROM counts WHERE day >= ? GROUP BY language, event"
        with contextlib.suppress(sqlite3.Error, OSError):
            if self._file.exists():
                with contextlib.closing(self._open()) as database:
                    for language, event, amount in database.execute(sql, (since,)):
                        sums[language, event] += amount
        return [Row(language, event, amount) for (language, event), amount in sorted(sums.items())]

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connected()
        except sqlite3.DatabaseError as error:
            logger.warning("%s is damaged, completion statistics begin anew: %s", self._file, error)
            self._file.unlink(missing_ok=True)
            return self._connected()

    def _connected(self) -> sqlite3.Connection:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(self._file, timeout=2.0)
        try:
            database.execute(_SCHEMA)
        except BaseException:
            database.close()
            raise
        return database
