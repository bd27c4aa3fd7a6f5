"""What SQLite's errors mean."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from hotfolder.errors import DiskFull, EnvironmentTrouble, HotfolderError, LedgerError, LedgerMismatch

#: The machine's, which may pass: the queue waits, nothing is spent.
_PASSING = {
    sqlite3.SQLITE_FULL: (DiskFull, "free some space; the queue goes on by itself"),
    sqlite3.SQLITE_IOERR: (EnvironmentTrouble, "look at the disk (space, file size limit, health)"),
    sqlite3.SQLITE_READONLY: (EnvironmentTrouble, "make the database and its folder writable"),
    sqlite3.SQLITE_CANTOPEN: (
        EnvironmentTrouble, "make the database and its folder writable; are there files left on the disk (df -i)?",
    ),
    sqlite3.SQLITE_PROTOCOL: (EnvironmentTrouble, "look at the disk; the queue goes on by itself"),
    sqlite3.SQLITE_NOMEM: (EnvironmentTrouble, "free some memory; the queue goes on by itself"),
    sqlite3.SQLITE_BUSY: (EnvironmentTrouble, "another program holds the database: end its transaction"),
    sqlite3.SQLITE_LOCKED: (EnvironmentTrouble, "another program holds the database: end its transaction"),
}  # fmt: skip
#: A statement that does not fit what is there. Python alone raises OperationalError without a code: for text that is
#: no UTF-8.
_UNFITTING = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_SCHEMA)


@contextmanager
def told(done: Literal["written", "read"]) -> Iterator[None]:
    """Errors of SQLite become EnvironmentTrouble, for what may pass, or LedgerError; `done` is what was tried."""
    try:
        yield
    except (sqlite3.ProgrammingError, sqlite3.NotSupportedError):
        raise  # a mistake of our own
    except sqlite3.DatabaseError as error:
        raise explain(error, done) from error


def passing(error: sqlite3.Error, told: str) -> EnvironmentTrouble | None:
    """What may pass: disk, permission, another program's lock, told so. None for all else."""
    code = getattr(error, "sqlite_errorcode", None)
    kind, fix = _PASSING.get(code & 0xFF if code is not None else -1, (None, ""))
    return kind(f"{told}: {error}", fix) if kind is not None else None


def explain(error: sqlite3.DatabaseError, done: Literal["written", "read"]) -> HotfolderError:
    trouble = passing(error, f"the database cannot be {done}")
    if trouble is not None:
        return trouble
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None and code & 0xFF in _UNFITTING:
        return LedgerMismatch(
            f"the database is not as this version of hotfolder expects it: {error}",
            "start hotfolder again: that brings an older one up to date; what else may be wrong: hotfolder doctor",
        )
    return LedgerError(
        f"the database is damaged: {error}",
        "start hotfolder again, as systemd does by itself: it mends the database, or makes a new one of what lies in "
        "the folders and of what can still be read",
    )
