"""Dropped files that are taken: whether each still is what was taken, and of which something has ended."""

from __future__ import annotations

import logging

from hotfolder.errors import Vanished
from hotfolder.folders.layout import Layout
from hotfolder.folders.scan import sight
from hotfolder.ledger.ledger import Ledger
from hotfolder.types import Drop

log = logging.getLogger(__name__)


class Sources:
    """Shared by all parts that find out that a dropped file is not what it was, or that work on it has ended."""

    def __init__(self, layout: Layout, ledger: Ledger) -> None:
        self._layout = layout
        self._ledger = ledger
        self.ended: set[int] = set()  # drops of which something has ended: perhaps all of it
        self.look_again = False  # the inboxes are to be read: something in them is not as the ledger has it

    def is_unchanged(self, drop: Drop) -> bool:
        """Whether the dropped file still is what was taken."""
        try:
            return sight(self._layout.root, drop.sighting.path) == drop.sighting
        except OSError as error:
            log.debug("%s cannot be looked at: %s", drop.sighting.path, error)
            return True  # it may well be: nothing is given up for a folder that cannot be read just now

    def give_up(self, drop: Drop, now: float) -> None:
        """It changed or was taken away: what is queued of it is cancelled. What lies there now is taken anew."""
        path = drop.sighting.path
        error = Vanished(f"{path} changed or was taken away", "it is taken anew if it is there").info()
        self._ledger.drops.forget(drop.id, error, now)
        self.ended.add(drop.id)
        self.look_again = True
        log.info("%s changed or was taken away before it was done", path)
