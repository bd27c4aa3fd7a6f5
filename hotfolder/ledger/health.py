"""Whether the database is whole; copying it while it is used; and what can be read of a damaged one."""

from __future__ import annotations

import base64
import contextlib
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hotfolder.errors import LedgerError
from hotfolder.ledger.connection import open_reader
from hotfolder.types import Embedding, Score

log = logging.getLogger(__name__)
#: Pages copied at a time: a daemon that writes waits no longer than for these.
_PAGES = 512


def problem(path: Path) -> str | None:
    """What is wrong with the file: not there, empty, or what SQLite says (PRAGMA quick_check); None when it is whole.

    What passes (a lock, a full disk) is no damage.
    """
    try:
        if path.stat().st_size == 0:
            return "it is empty"
    except FileNotFoundError:
        return "it is not there"
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=30)) as connection:
            found = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        return str(error) if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) else None
    return None if found == "ok" else found


def set_aside(path: Path) -> Path:
    """Renames a damaged database, and what belongs to it, out of the way; gives its new name. Raises OSError."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    aside = path.with_name(f"{path.stem}.damaged-{stamp}{path.suffix}")
    # The log first: a new database under the old name must not find it.
    for ending in ("-wal", "-shm", ""):
        part = Path(f"{path}{ending}")
        if part.exists():
            part.rename(f"{aside}{ending}")
    return aside


@dataclass(slots=True)
class Known:
    """What is known of one content."""

    scores: list[Score] = field(default_factory=list)
    embeddings: list[Embedding] = field(default_factory=list)


def salvage(path: Path) -> dict[str, Known]:
    """Scores and embeddings that can still be read of a damaged database, by sha256 of the content."""
    found: dict[str, Known] = {}
    try:
        connection = sqlite3.connect(path)
        connection.row_factory = sqlite3.Row
    except sqlite3.Error:
        return found
    with contextlib.closing(connection):
        contents = {row["id"]: row["sha256"] for row in _readable(connection, "images")}
        for row in _readable(connection, "scores"):
            sha256 = contents.get(row["image_id"])
            with contextlib.suppress(IndexError):  # of an earlier schema
                if sha256 and row["gate"] and isinstance(row["score"], float):
                    score = Score(
                        row["score"], row["scorer"], row["weights_sha256"], row["preprocessing"], row["precision"]
                    )
                    found.setdefault(sha256, Known()).scores.append(score)
        for row in _readable(connection, "embeddings"):
            if isinstance(row["vector"], bytes) and isinstance(row["sha256"], str):
                embedding = Embedding(str(row["encoder"]), base64.b64encode(row["vector"]).decode())
                found.setdefault(row["sha256"], Known()).embeddings.append(embedding)
    return found


def _readable(connection: sqlite3.Connection, table: str) -> Iterator[Any]:
    """The rows of a table, one by one, past those that cannot be read: from both ends to the damage."""
    for order, compare in (("ASC", ">"), ("DESC", "<")):
        last = -1 if order == "ASC" else 2**62
        try:
            cursor = connection.execute(
                f"SELECT rowid AS row_id, * FROM {table} WHERE rowid {compare} ? ORDER BY rowid {order}", (last,)
            )
            yield from cursor
            return  # the whole table was read
        except sqlite3.Error as error:
            log.warning("not all of %s can be read: %s", table, error)


def copy(source: Path, target: Path, report: Callable[[int, int], None]) -> int:
    """Copies a database that may be in use, whole and checked; gives its bytes. `report(done, pages)`.

    Raises LedgerError when it cannot be read or the copy is not whole, FileExistsError when `target` is there.
    """
    if os.path.lexists(target):
        raise FileExistsError(target)
    partial = target.with_name(f".{target.name}.partial")
    partial.unlink(missing_ok=True)
    reader = open_reader(source)
    try:
        partial.touch(source.stat().st_mode & 0o644)  # for nobody who may not read the database itself
        with contextlib.closing(sqlite3.connect(partial)) as writer:
            reader.backup(writer, pages=_PAGES, progress=lambda _, left, all_: report(all_ - left, all_))
            writer.execute("PRAGMA journal_mode = DELETE")
        wrong = problem(partial)
        if wrong is not None:
            raise LedgerError(f"the copy is damaged: {wrong}", "is the database? See: hotfolder run")
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        os.link(partial, target)  # not a rename: that would overwrite
        return target.stat().st_size
    except sqlite3.Error as error:
        raise LedgerError(
            f"{source} cannot be copied to {target}: {error}", "is there space, and permission?"
        ) from None
    finally:
        reader.close()
        partial.unlink(missing_ok=True)
