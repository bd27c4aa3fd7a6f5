"""Opening the database file."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from hotfolder.errors import LedgerError

#: How long a statement waits for another connection, in seconds.
BUSY_TIMEOUT = 30.0


def open_writer(path: Path) -> sqlite3.Connection:
    """The one connection that writes: WAL, every commit on the disk before it returns.

    The file is writable by its owner alone, readable by others as the umask says. Raises
    LedgerError where it cannot be opened or is no database.
    """
    fresh = not path.exists()
    try:
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        # In pages of 4 KiB. Each checkpoint waits for the disk a few times: not after every few hundred files.
        connection.execute("PRAGMA wal_autocheckpoint = 4000")
        connection.execute("PRAGMA foreign_keys = ON")
    except sqlite3.Error as error:
        raise LedgerError(
            f"{path} cannot be opened: {error}",
            "move it away if it is damaged; a new one is made at the start",
        ) from None
    if fresh:
        path.chmod(path.stat().st_mode & ~0o133)  # never writable by others
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write. Raises LedgerError where there is no database."""
    if not path.is_file():
        raise LedgerError(f"{path} does not exist yet", "it is made by the first: hotfolder run")
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT, check_same_thread=False
        )
        connection.row_factory = sqlite3.Row
        connection.execute("SELECT 1 FROM jobs LIMIT 1")
    except sqlite3.Error as error:
        raise LedgerError(f"{path} cannot be read: {error}", "is it a hotfolder database?") from None
    return connection
