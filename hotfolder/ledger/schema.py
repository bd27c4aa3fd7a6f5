"""Which schema this version knows. Light: the commands that only ask do not import the migrations."""

from __future__ import annotations

import sqlite3

from hotfolder.errors import LedgerError

#: The name of the last step in migrations.py. Names are in order.
NEWEST = "m012_stars_words_and_places"


def refuse_newer(connection: sqlite3.Connection) -> None:
    """Raises LedgerError for a database that a newer version of this program has worked on; sqlite3.Error."""
    noted = "SELECT 1 FROM sqlite_schema WHERE name = '_sqlite_migrations'"
    newer = "SELECT max(name) FROM _sqlite_migrations WHERE migration_set = 'hotfolder' AND name > ?"
    if connection.execute(noted).fetchone() is None:
        return
    (found,) = connection.execute(newer, (NEWEST,)).fetchone()
    if found is not None:
        raise LedgerError(
            f"the database is of a newer hotfolder: its schema is '{found}', this version knows up to '{NEWEST}'",
            "install the newer hotfolder again; or stop the daemon and put a backup from before it, such as "
            "hotfolder.before-….db, in the place of the database",
        )
