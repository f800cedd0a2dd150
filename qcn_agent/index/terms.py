"""Words and names as numbers, and in how many files each word occurs."""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence

_MAX_KNOWN = 2_000_000


class TermTable:
    """The table `terms`, written behind: what is new or has changed is stored by `flush`, inside a transaction.

    While the table was empty at the start (a cold build), every term in it is known here, and none is looked up.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._ids: dict[str, int] = {}
        self._new: list[tuple[int, str]] = []
        self._changes: Counter[int] = Counter()
        self.forget()

    def id_of(self, text: str) -> int:
        """The number of a term, a new one if need be."""
        term_id = self._ids.get(text)
        return self._learnt(text) if term_id is None else term_id

    def ids_of(self, texts: Sequence[str]) -> list[int]:
        """The numbers of several terms."""
        known = map(self._ids.get, texts)
        return [self._learnt(text) if found is None else found for text, found in zip(texts, known, strict=True)]

    def texts(self, term_ids: Iterable[int]) -> list[str]:
        """The terms with these numbers."""
        self._store_new()
        sql = "SELECT text FROM terms WHERE term_id = ?"
        return [self._connection.execute(sql, (term_id,)).fetchone()[0] for term_id in term_ids]

    def count(self, term_ids: Iterable[int], sign: int) -> None:
        """One file more (sign 1) or less (-1) holds each of these words."""
        if sign > 0:
            self._changes.update(term_ids)
        else:
            self._changes.subtract(term_ids)

    def flush(self) -> None:
        """Store what is new."""
        self._store_new()
        changes = sorted(item for item in self._changes.items() if item[1])
        sql = "UPDATE terms SET num_files = num_files + ? WHERE term_id = ?"
        self._connection.executemany(sql, ((number, term_id) for term_id, number in changes))
        self._changes.clear()

    def forget(self) -> None:
        """After a rollback: only what is stored counts."""
        self._ids.clear()
        self._new.clear()
        self._changes.clear()
        last = self._connection.execute("SELECT max(term_id) FROM terms").fetchone()[0]
        self._next_id, self._knows_all = int(last or 0) + 1, last is None

    def _learnt(self, text: str) -> int:
        if len(self._ids) >= _MAX_KNOWN:
            self._store_new()
            self._ids.clear()
            self._knows_all = False
        if text in self._ids:
            return self._ids[text]
        row = None
        if not self._knows_all:
            row = self._connection.execute("SELECT term_id FROM terms WHERE text = ?", (text,)).fetchone()
        if row is None:
            self._new.append((self._next_id, text))
            row = (self._next_id,)
            self._next_id += 1
        term_id = self._ids[text] = int(row[0])
        return term_id

    def _store_new(self) -> None:
        if self._new:
            self._connection.executemany("INSERT INTO terms(term_id, text) VALUES (?, ?)", self._new)
            self._new.clear()
