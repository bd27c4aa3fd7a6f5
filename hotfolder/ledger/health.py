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

from hotfolder.errors import EnvironmentTrouble, LedgerError
from hotfolder.ledger import prompt_words
from hotfolder.ledger.connection import BUSY_TIMEOUT, files, look_at, open_reader
from hotfolder.ledger.schema import refuse_newer
from hotfolder.ledger.trouble import explain, told
from hotfolder.ledger.verdicts import Given
from hotfolder.types import Embedding, How, Judge, Score, Verdict

log = logging.getLogger(__name__)
#: Pages copied at a time: a daemon that writes waits no longer than for these.
_PAGES = 512


def problem(path: Path, *, thoroughly: bool = False) -> str | None:
    """What is wrong with the file: not there, empty, or what SQLite says; None when it is whole.

    Only `thoroughly` are indexes compared with their tables, which takes four times as long. Nothing is changed. What
    passes (a lock, a full disk) is no damage.
    """
    try:
        if path.stat().st_size == 0:
            return "it is empty"
    except FileNotFoundError:
        return "it is not there"
    try:
        with contextlib.closing(_look_at(path)) as connection:
            return _problem(connection, thoroughly=thoroughly)
    except sqlite3.DatabaseError as error:
        return str(error) if _is_damage(error) else None


def _look_at(path: Path, *, without_log: bool = False) -> sqlite3.Connection:
    """A connection that changes nothing: not even a log is written back at its end."""
    if not without_log:
        return look_at(path)
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True, timeout=BUSY_TIMEOUT)


def _problem(connection: sqlite3.Connection, *, thoroughly: bool) -> str | None:
    check = "integrity_check" if thoroughly else "quick_check"
    found = str(connection.execute(f"PRAGMA main.{check}(1)").fetchone()[0])
    return None if found == "ok" else found.splitlines()[-1]  # before it a title


def _is_damage(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_whole_without_log(path: Path) -> bool:
    """Whether a database that is damaged is so only together with its log: then that is another database's."""
    log_file = files(path)[1]
    if not path.exists() or not log_file.exists() or log_file.stat().st_size == 0:
        return False
    try:
        with contextlib.closing(_look_at(path, without_log=True)) as connection:
            return _problem(connection, thoroughly=True) is None
    except sqlite3.DatabaseError:
        return False


def is_blank(path: Path) -> bool:
    """Whether a database that is whole knows of no file: a new one, or one that hotfolder never wrote.

    Raises LedgerError for one of a newer hotfolder, which may have other tables.
    """
    with told("read"), contextlib.closing(_look_at(path)) as connection:
        refuse_newer(connection)
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        return not any(
            connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone()
            for table in {"drops", "images"} & tables
        )


def mend_indexes(path: Path) -> bool:
    """Makes the indexes anew; whether the database is whole then. If not, nothing is changed."""
    try:
        with contextlib.closing(_look_at(path)) as keeper:
            # The last connection that is closed writes the log into what may be damaged: that shall be this one, which
            # cannot.
            keeper.execute("SELECT 1 FROM sqlite_schema").fetchone()
            with contextlib.closing(_write_to(path)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("REINDEX")
                if _problem(connection, thoroughly=True) is None:
                    connection.execute("COMMIT")
                    return True
    except sqlite3.DatabaseError as error:
        _raise_what_may_pass(error)
    return False


def copy_rows(source: Path, target: Path) -> bool:
    """A new database with every row of a damaged one, and new indexes; whether all of them could be read."""
    try:
        with contextlib.closing(_write_to(target)) as new:
            new.execute("ATTACH ? AS old", (f"{source.absolute().as_uri()}?mode=ro",))
            new.execute("BEGIN")
            parts = new.execute(
                "SELECT type, name, sql FROM old.sqlite_schema WHERE sql IS NOT NULL AND name NOT GLOB 'sqlite_*'"
            ).fetchall()
            parts = [part for part in parts if not prompt_words.is_part(part[1])]
            for kind, name, sql in sorted(parts, key=lambda part: part[0] != "table"):
                new.execute(sql)
                if kind == "table":
                    quoted = '"' + name.replace('"', '""') + '"'
                    # With a condition: without one SQLite takes the indexes over as they are.
                    new.execute(f"INSERT INTO main.{quoted} SELECT * FROM old.{quoted} NOT INDEXED WHERE true")
            if prompt_words.can_be(new):
                prompt_words.make(new)
            new.execute("COMMIT")
            return _problem(new, thoroughly=True) is None
    except sqlite3.DatabaseError as error:
        _raise_what_may_pass(error)
    return False


def _write_to(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path.absolute().as_uri(), uri=True, timeout=BUSY_TIMEOUT, isolation_level=None)


def _raise_what_may_pass(error: sqlite3.DatabaseError) -> None:
    """All else that goes wrong is a part of the damage."""
    trouble = explain(error, "written")
    if isinstance(trouble, EnvironmentTrouble):
        raise trouble from error


def set_aside(path: Path, moment: float) -> Path | None:
    """Renames a damaged database, and its log, out of the way. Raises OSError.

    The new name tells the moment (seconds since the epoch): with the same one, an attempt that was cut off is
    finished. None where there is nothing to rename.
    """
    # The log first: a new database under the old name must not find it.
    log_file, aside = set_log_aside(path, moment), _aside(path, moment)
    if path.exists():
        path.rename(aside)
        return aside
    return log_file


def set_log_aside(path: Path, moment: float) -> Path | None:
    """Renames the log beside a database out of the way; gives its new name. None where it is empty."""
    _, log_file, index = files(path)
    index.unlink(missing_ok=True)  # made anew from the log whenever that is read
    if not log_file.exists():
        return None
    if log_file.stat().st_size == 0:
        log_file.unlink()
        return None
    return log_file.rename(files(_aside(path, moment))[1])


def _aside(path: Path, moment: float) -> Path:
    stamp = datetime.fromtimestamp(moment, UTC).strftime("%Y%m%d-%H%M%S-%f")
    return path.with_name(f"{path.stem}.damaged-{stamp}{path.suffix}")


@dataclass(slots=True)
class Known:
    """What is known of one content."""

    scores: list[Score] = field(default_factory=list)
    said: list[Given] = field(default_factory=list)  # by persons, the newest last
    embeddings: list[Embedding] = field(default_factory=list)


def salvage(path: Path) -> dict[str, Known]:
    """Scores, embeddings and persons' verdicts that can be read of a damaged database, by sha256 of the content."""
    found: dict[str, Known] = {}
    try:
        connection = _look_at(path)
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
        for row in _readable(connection, "verdict_history"):
            sha256 = contents.get(row["image_id"])
            with contextlib.suppress(ValueError):
                if sha256 and row["given_by"] == Judge.PERSON and row["undone_at"] is None:
                    given = Given(Verdict(row["verdict"]), Judge.PERSON, How(row["how"]), row["gate_keep"])
                    found.setdefault(sha256, Known()).said.append(given)
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


def _name(partial: Path, target: Path) -> None:
    """Raises FileExistsError: nothing is overwritten, as a rename would."""
    try:
        os.link(partial, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        partial.replace(target)


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
            fix = (
                "so is the database, or the disk of the copy: see hotfolder doctor; a start of the daemon mends it"
            )
            raise LedgerError(f"the copy is damaged, and was not kept: {wrong}", fix)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        _name(partial, target)
        return target.stat().st_size
    except sqlite3.Error as error:
        raise LedgerError(
            f"{source} cannot be copied to {target}: {error}", "is there space, and permission?"
        ) from None
    finally:
        reader.close()
        partial.unlink(missing_ok=True)
