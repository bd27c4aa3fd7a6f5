"""Opening the database file."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
from pathlib import Path

from hotfolder.errors import LedgerError
from hotfolder.ledger.schema import refuse_newer
from hotfolder.ledger.trouble import passing

#: How long a statement waits for another connection, in seconds.
BUSY_TIMEOUT = 30.0


def files(path: Path) -> tuple[Path, Path, Path]:
    """The database, its log (what is committed and not yet in it), and the log's index."""
    return path, Path(f"{path}-wal"), Path(f"{path}-shm")


def open_writer(path: Path) -> sqlite3.Connection:
    """The one connection that writes: WAL, every commit on the disk before it returns.

    A new file is its owner's alone: prompts and names are private. Raises LedgerError where it cannot be opened or is
    no database, EnvironmentTrouble for what may pass.
    """
    try:
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        # In pages of 4 KiB. Each checkpoint waits for the disk a few times: not after every few hundred files.
        connection.execute("PRAGMA wal_autocheckpoint = 4000")
        connection.execute("PRAGMA foreign_keys = ON")
    except OSError as error:
        fix = "may this user write there? Is there space?"
        raise LedgerError(f"{path} cannot be made: {error.strerror}", fix) from None
    except sqlite3.Error as error:
        raise passing(error, f"{path} cannot be opened") or LedgerError(
            f"{path} cannot be opened: {error}",
            "move it away if it is damaged; a new one is made at the start",
        ) from None
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write. Raises LedgerError where there is no database that this version can read."""
    if not path.is_file() or not path.stat().st_size:
        raise LedgerError(f"{path} does not exist yet", "it is made by the first: hotfolder run")
    if not os.access(path, os.R_OK):
        raise LedgerError(f"{path} may not be read by this user", 'for your group: output.umask = "027"')
    address = f"{path.absolute().as_uri()}?mode=ro"
    try:
        try:
            return _read_only(address)
        except sqlite3.OperationalError:
            # Where nothing can be made beside it, it cannot be read as usual, unless a daemon has it open just now.
            _, wal, index = files(path)
            if wal.exists() and wal.stat().st_size:
                if index.exists() or os.access(path.parent, os.W_OK):
                    raise
                return _read_copy(path, wal)
            return _read_only(f"{address}&immutable=1")
    except OSError as error:
        raise LedgerError(
            f"{path} was left by a crash, and cannot be copied to be read: {error.strerror}",
            "start the daemon: hotfolder run; or set TMPDIR to a folder with space",
        ) from None
    except sqlite3.Error as error:
        fix = "is it a hotfolder database? If its first start was cut short, start again: hotfolder run"
        raise LedgerError(f"{path} cannot be read: {error}", fix) from None


def _read_copy(path: Path, wal: Path) -> sqlite3.Connection:
    """A copy of a database that a crash has left with a log, for who may write nothing beside it.

    Without the log's index nobody can read the log in its place, and without the log the newest rows would be missing.
    Raises OSError, sqlite3.Error.
    """
    with tempfile.TemporaryDirectory(prefix="hotfolder-") as folder:
        copy = Path(folder, path.name)
        shutil.copyfile(path, copy)
        shutil.copyfile(wal, f"{copy}-wal")
        connection = sqlite3.connect(copy, check_same_thread=False, isolation_level=None)
        try:
            connection.execute(
                "PRAGMA journal_mode = DELETE"
            )  # all in the one file, which stays open without a name
        finally:
            connection.close()
        return _read_only(f"{copy.as_uri()}?mode=ro&immutable=1")


def _read_only(address: str) -> sqlite3.Connection:
    connection = sqlite3.connect(address, uri=True, timeout=BUSY_TIMEOUT, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    try:
        refuse_newer(connection)
        connection.execute("SELECT 1 FROM jobs LIMIT 1")
    except (sqlite3.Error, LedgerError):
        connection.close()
        raise
    return connection
