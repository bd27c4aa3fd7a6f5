"""Judged images that were sorted anew by another threshold, and how that is undone."""

from __future__ import annotations

from hotfolder.ledger.database import Database
from hotfolder.types import Verdict


class Reroutes:
    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, keep: float, now: float) -> int:
        """Images are about to be sorted anew; gives the id under which that is noted."""
        return int(self._database.run("add_reroute", keep=keep, now=now).rows[0]["id"])

    def misplaced(self, keep: float, after: int, most: int) -> list[int]:
        """Images with a higher id than `after` whose verdict would be another with this threshold, by id."""
        return [row["id"] for row in self._database.run("misplaced", keep=keep, after=after, most=most).rows]

    def last(self) -> int | None:
        """The last one that was not undone."""
        row = self._database.one("last_reroute")
        return row["id"] if row else None

    def moves(self, reroute_id: int, after: int, most: int) -> list[tuple[int, Verdict]]:
        """(image, verdict before) of images with a higher id than `after` that still are where it put them."""
        rows = self._database.run("reroute_moves", id=reroute_id, after=after, most=most).rows
        return [(row["id"], Verdict(row["verdict"])) for row in rows]

    def undone(self, reroute_id: int, now: float) -> None:
        self._database.run("undo_reroute", id=reroute_id, now=now)
