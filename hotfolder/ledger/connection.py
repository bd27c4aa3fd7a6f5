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
        _clear_away(path)
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        # In pages of 4 KiB. Each checkpoint waits for the disk a few times: not after every few hundred files.
        connection.execute("PRAGMA wal_autocheckpoint = 4000")
        connection.execute("PRAGMA foreign_keys = ON")
        # In KiB. SQLite's 2 MB hold the inner pages of the indexes of some 10,000 files, and no more.
        connection.execute("PRAGMA cache_size = -32768")
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
    try:
        connection = look_at(path)
        try:
            refuse_newer(connection)
            connection.execute("SELECT 1 FROM jobs LIMIT 1")
        except (sqlite3.Error, LedgerError):
            connection.close()
            raise
    except OSError as error:
        raise LedgerError(
            f"{path} was left by a crash, and cannot be copied to be read: {error.strerror}",
            "start the daemon: hotfolder run; or set TMPDIR to a folder with space",
        ) from None
    except sqlite3.Error as error:
        fix = "start the daemon, which mends it, or makes a new one of what lies in the folders: hotfolder run"
        raise LedgerError(f"{path} cannot be read: {error}", fix) from None
    return connection


def look_at(path: Path) -> sqlite3.Connection:
    """A connection that changes nothing, and leaves nothing behind that would keep the owner from writing.

    SQLite makes a log and its index even for who only reads. Those of another user could not be written by the daemon:
    so a database of somebody else is read as it lies there, unless both are there. Raises sqlite3.Error, OSError.
    """
    address = f"{path.absolute().as_uri()}?mode=ro"
    _, wal, index = files(path)
    if index.exists() or os.geteuid() in (0, path.stat().st_uid):
        try:
            return _connected(address)
        except sqlite3.OperationalError:  # also where nothing can be made beside it
            if index.exists() and _has_content(wal):
                raise
    return _connected_to_copy(path, wal) if _has_content(wal) else _connected(f"{address}&immutable=1")


def _has_content(file: Path) -> bool:
    return file.exists() and file.stat().st_size > 0


def _connected_to_copy(path: Path, wal: Path) -> sqlite3.Connection:
    """To a copy of a database that a crash has left with a log.

    Without the log's index nobody can read the log in its place, and without the log the newest rows would be missing.
    Raises OSError, sqlite3.Error.
    """
    with tempfile.TemporaryDirectory(prefix="hotfolder-") as folder:
        copy = Path(folder, path.name)
        shutil.copyfile(path, copy)
        shutil.copyfile(wal, f"{copy}-wal")
        with contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as connection:
            # All of it in one file, which stays open when its name is gone.
            connection.execute("PRAGMA journal_mode = DELETE")
        return _connected(f"{copy.as_uri()}?mode=ro&immutable=1")


def _connected(address: str) -> sqlite3.Connection:
    connection = sqlite3.connect(address, uri=True, timeout=BUSY_TIMEOUT, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    try:
        connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _clear_away(path: Path) -> None:
    """A log without content, or an index, that another user's look has left, and that this user may not write."""
    _, wal, index = files(path)
    for file in (index, wal):
        if file.exists() and not os.access(file, os.W_OK) and not _has_content(wal):
            file.unlink()
