"""The end of a daemon whose database is damaged, or is not what lies in the root any more."""

from __future__ import annotations

import contextlib
import time

from hotfolder.folders.guard import Guard
from hotfolder.folders.layout import Layout
from hotfolder.ledger import connection, health
from hotfolder.ledger.ledger import Ledger


def leave(layout: Layout, ledger: Ledger, guard: Guard) -> None:
    """Leaves the ledger without touching what is not ours; what is ours is kept where the next start finds it."""
    with contextlib.suppress(OSError):
        lost = guard.lost()
        database, *log_files = connection.files(layout.database)
        if lost and lost <= set(log_files) and not any(path.exists() and path.stat().st_size for path in lost):
            ledger.database.write_back()  # else what only the log has would be gone with it
        elif lost == {database} and database.exists():
            health.set_log_aside(database, time.time())  # it is no log of the one that lies there now
    ledger.database.abandon()
