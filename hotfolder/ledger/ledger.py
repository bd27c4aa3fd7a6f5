"""The writing side of the ledger."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from hotfolder.ledger import prompt_words
from hotfolder.ledger.actions import Actions
from hotfolder.ledger.connection import open_writer
from hotfolder.ledger.database import Database
from hotfolder.ledger.drops import Drops
from hotfolder.ledger.images import Images
from hotfolder.ledger.jobs import Jobs
from hotfolder.ledger.journal import Journal
from hotfolder.ledger.lately import Lately
from hotfolder.ledger.runs import Runs
from hotfolder.ledger.schema import refuse_newer
from hotfolder.ledger.tastes import Tastes
from hotfolder.ledger.trouble import told
from hotfolder.ledger.verdicts import Verdicts
from hotfolder.ledger.whereabouts import Whereabouts


class Ledger:
    """Dropped files, jobs, images and the journal. Not safe for threads: one daemon, one thread, one ledger.

    Each method of its parts is one transaction. `now` is always seconds since the epoch.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.database = Database(connection)
        self.jobs = Jobs(self.database)
        self.drops = Drops(self.database, self.jobs)
        self.verdicts = Verdicts(self.database)
        self.images = Images(self.database, self.verdicts)
        self.actions = Actions(self.database)
        self.whereabouts = Whereabouts(self.database, self.jobs, self.verdicts)
        self.journal = Journal(self.database, self.drops, self.jobs, self.images, self.verdicts)
        self.runs = Runs(self.database, self.jobs)
        self.lately = Lately(self.database)
        self.tastes = Tastes(self.database)

    @classmethod
    def open(cls, path: Path, alive: Callable[[], None] = lambda: None) -> Ledger:
        """Opens, or makes, the database and brings its schema up to date, after it was copied.

        `alive` is called while that goes on. Raises LedgerError; EnvironmentTrouble.
        """
        # sqlite-utils costs 0.1 s: only where it is needed.
        from hotfolder.ledger.kept import keep_a_copy
        from hotfolder.ledger.migrations import migrate

        connection = open_writer(path)
        try:
            with told("written"):
                refuse_newer(connection)
                keep_a_copy(path, connection, alive)
                migrate(connection)
                prompt_words.keep_up(connection)
        except BaseException:
            connection.close()
            raise
        return cls(connection)

    def close(self) -> None:
        self.database.close()
