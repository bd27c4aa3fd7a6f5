"""The database as it was before its schema was changed: kept beside it, so that the version before can go on."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from sqlite_utils import Database

from hotfolder.ledger import health
from hotfolder.ledger.migrations import steps

log = logging.getLogger(__name__)
#: So many copies are kept, the newest.
_MOST = 2
_MARK = ".before-"


def keep_a_copy(path: Path, connection: sqlite3.Connection, alive: Callable[[], None]) -> Path | None:
    """Copies a database whose schema is about to be changed; None where it is not, or knows of no file yet.

    `connection` is one to it; `alive` is called again and again, as long as it takes.

    Raises LedgerError where the copy cannot be made: then nothing is to be changed.
    """
    due = [step.name for step in steps.pending(Database(connection))]
    if not due or health.is_blank(path):
        return None
    stamp = datetime.fromtimestamp(time.time(), UTC).strftime("%Y%m%d-%H%M%S-%f")
    copy = path.with_name(f"{path.stem}{_MARK}{stamp}-{due[0]}{path.suffix}")
    _remove(copies(path)[_MOST - 1 :])
    health.copy(path, copy, lambda *_: alive())
    log.warning("the database gets a new schema; as it was before, it is kept as %s", copy)
    return copy


def copies(path: Path) -> list[Path]:
    """Copies of this database that were kept, the newest first."""
    return sorted(path.parent.glob(f"{path.stem}{_MARK}*{path.suffix}"), reverse=True)


def _remove(old: Sequence[Path]) -> None:
    for each in old:
        try:
            each.unlink()
        except OSError as error:
            log.warning("%s cannot be removed: %s", each, error)
