"""What waits and what ended lately, by sorts: from it the time that is left is estimated."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from hotfolder.core.drawing import Drawing
from hotfolder.core.estimate import OpenJobs
from hotfolder.core.pace import Work
from hotfolder.ledger.database import Database
from hotfolder.types import Kind, Role


@dataclass(frozen=True, slots=True)
class JudgedLately:
    """An image that the gate has judged."""

    source_file: str
    role: Role
    score: float
    try_number: int
    is_of_set: bool
    is_enlarged: bool  # or is to be
    at: float  # seconds since the epoch
    megapixels: float
    enlarged_megapixels: float | None  # of what was made of it last
    model: str | None  # that drew it
    steps: float | None  # in which it was drawn; None: it was not, or that is not known


class Lately:
    def __init__(self, database: Database) -> None:
        self._database = database

    def waiting(self) -> list[OpenJobs]:
        """All jobs that wait or are in work, counted by sorts. Takes longer the more there are."""
        return [
            OpenJobs(
                Kind(row["kind"]),
                row["jobs"],
                is_measure=bool(row["is_measure"]),
                is_drawn=bool(row["has_params"]),
                is_of_set=bool(row["is_of_set"]),
                is_of_image=bool(row["is_of_image"]),
                try_number=row["try_number"],
                sized=row["sized"],
                megapixels=row["megapixels"],
                drawing=_drawing(row),
            )
            for row in self._database.run("open_sorts").rows
        ]

    def judged(self) -> list[JudgedLately]:
        """The last 200 drawn and the last 200 dropped images, among the last 2000 judged ones; the newest first."""
        return [
            JudgedLately(
                row["source_file"], Role(row["role"]), row["score"], row["try_number"], bool(row["is_of_set"]),
                bool(row["is_enlarged"]), row["finished_at"], row["megapixels"], row["enlarged_megapixels"],
                row["model"], row["steps"],
            )
            for row in self._database.run("judged_lately").rows
        ]  # fmt: skip

    def batches(self, kind: Kind) -> list[Work]:
        """The last batches of a kind that ended well."""
        rows = self._database.run("batches_lately", kind=kind).rows
        return [Work(row["jobs"], row["megapixels"], row["seconds"]) for row in rows]


def _drawing(row: sqlite3.Row) -> Drawing | None:
    if row["model"] is None:
        return None
    return Drawing(row["model"], row["steps"], row["strength"], bool(row["has_init_image"]))
