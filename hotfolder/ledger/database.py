"""Named queries on the one connection that writes."""

from __future__ import annotations

import contextlib
import ctypes
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from hotfolder.errors import EnvironmentTrouble
from hotfolder.ledger.queries import queries
from hotfolder.ledger.trouble import told


@dataclass(frozen=True, slots=True)
class Answer:
    """The rows of a statement, and how many it changed."""

    rows: list[sqlite3.Row]
    changed: int

    @property
    def first(self) -> sqlite3.Row | None:
        return self.rows[0] if self.rows else None


class Database:
    """Runs named queries. Raises EnvironmentTrouble for what may pass: disk, permission, another program's lock;

    LedgerError for what does not: a damaged database, or one with another schema.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._queries = queries()

    @property
    def changes(self) -> int:
        """How many rows this connection has changed so far."""
        return self._connection.total_changes

    def close(self) -> None:
        self._connection.close()

    def to_one_file(self) -> None:
        """Everything stands in the database file from now on, which needs no log any more."""
        if self.execute("PRAGMA journal_mode = DELETE").rows[0][0] != "delete":
            raise EnvironmentTrouble("another program holds the new database", "end it, and start hotfolder again")

    def write_back(self) -> None:
        """What is committed stands in the database file itself from now on, as far as that can be done."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(FULL)").fetchall()

    def abandon(self) -> None:
        """Leaves the database as a crash would.

        A close writes the log into the database and deletes what lies under the log's name. Neither may happen
        where that is not ours any more, or where the database is damaged.
        """
        with contextlib.suppress(sqlite3.Error):
            self._connection.rollback()
        if sys.version_info >= (3, 12):
            self._connection.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE)
            self._connection.close()
        else:
            # Nothing else keeps SQLite from it: the connection is never closed, and ends with the process.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._connection))

    def run(self, name: str, /, **values: Any) -> Answer:
        return self.execute(self._queries[name], values)

    def one(self, name: str, /, **values: Any) -> sqlite3.Row | None:
        return self.run(name, **values).first

    def execute(self, sql: str, values: Mapping[str, Any] | None = None) -> Answer:
        """Runs one statement and fetches all of it: with RETURNING, the commit happens in the fetching."""
        with told("written"):
            cursor = self._connection.execute(sql, values or {})
            return Answer(cursor.fetchall(), cursor.rowcount)

    @contextmanager
    def unhurried(self) -> Iterator[None]:
        """What is written here does not wait for the disk: a power cut may undo it, nothing else."""
        self.execute("PRAGMA synchronous = NORMAL")
        try:
            yield
        finally:
            self.execute("PRAGMA synchronous = FULL")

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
            with contextlib.suppress(sqlite3.Error):  # of a damaged database; what happened first is told
                self._connection.rollback()
            raise
