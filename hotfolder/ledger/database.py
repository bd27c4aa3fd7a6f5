"""Named queries on the one connection that writes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from hotfolder.errors import DiskFull, EnvironmentTrouble
from hotfolder.ledger.queries import queries

#: Errors of SQLite that are the machine's and may pass: the queue waits, nothing is spent.
_PASSING = {
    sqlite3.SQLITE_FULL: (DiskFull, "free some space; the queue goes on by itself"),
    sqlite3.SQLITE_IOERR: (EnvironmentTrouble, "look at the disk (space, file size limit, health)"),
    sqlite3.SQLITE_READONLY: (EnvironmentTrouble, "make the database and its folder writable"),
    sqlite3.SQLITE_CANTOPEN: (EnvironmentTrouble, "make the database and its folder writable"),
    sqlite3.SQLITE_BUSY: (EnvironmentTrouble, "another program holds the database: end its transaction"),
    sqlite3.SQLITE_LOCKED: (EnvironmentTrouble, "another program holds the database: end its transaction"),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """The rows of a statement, and how many it changed."""

    rows: list[sqlite3.Row]
    changed: int

    @property
    def first(self) -> sqlite3.Row | None:
        return self.rows[0] if self.rows else None


class Database:
    """Runs named queries. Raises EnvironmentTrouble for what may pass: disk, permission, another program's lock."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._queries = queries()

    @property
    def changes(self) -> int:
        """How many rows this connection has changed so far."""
        return self._connection.total_changes

    def close(self) -> None:
        self._connection.close()

    def run(self, name: str, /, **values: Any) -> Answer:
        return self.execute(self._queries[name], values)

    def one(self, name: str, /, **values: Any) -> sqlite3.Row | None:
        return self.run(name, **values).first

    def execute(self, sql: str, values: Mapping[str, Any] | None = None) -> Answer:
        """Runs one statement and fetches all of it: with RETURNING, the commit happens in the fetching."""
        try:
            cursor = self._connection.execute(sql, values or {})
            return Answer(cursor.fetchall(), cursor.rowcount)
        except sqlite3.OperationalError as error:
            passing = _PASSING.get(error.sqlite_errorcode & 0xFF)
            if passing is None:
                raise
            raise passing[0](f"the database cannot be written: {error}", passing[1]) from error

    @contextmanager
    def unhurried(self) -> Iterator[None]:
        """What is written here does not wait for the disk: a power cut may undo it, nothing else."""
        self._connection.execute("PRAGMA synchronous = NORMAL")
        try:
            yield
        finally:
            self._connection.execute("PRAGMA synchronous = FULL")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it or nothing. Within another transaction it is a part of that one."""
        if self._connection.in_transaction:
            yield
            return
        # IMMEDIATE: a deferred transaction that reads first and writes later fails with 'database is locked'.
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
