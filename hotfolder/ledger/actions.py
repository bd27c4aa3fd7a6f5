"""What a person did in one go, so that it can be taken back as one."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from hotfolder.ledger.database import Database


@dataclass(frozen=True, slots=True)
class Action:
    id: int
    kind: str  # 'keep', 'reject', 'stars', 'reroute', 'retry' or 'restore'
    keep: float | None  # of a reroute: the threshold
    created_at: float  # seconds since the epoch


@dataclass(frozen=True, slots=True)
class Step:
    """What an action did with one dropped file, or one failed job."""

    drop_id: int
    job_id: int | None
    path: str | None  # of a restore: where the file was
    attempts: int | None  # of a retry: how the job had failed
    error_kind: str | None
    error: str | None
    fix: str | None


@dataclass(frozen=True, slots=True)
class Starred:
    """Stars that an action gave an image, and what was known of its stars before: see core.stars.Rated."""

    image_id: int
    stars: int
    before: str | None


class Actions:
    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, kind: str, asked: str, now: float, keep: float | None = None) -> int:
        """Gives its id. `asked` names the command: carried out again after a crash, it is the same action."""
        row = self._database.run("add_action", kind=kind, asked=asked, keep=keep, now=now).rows[0]
        return int(row["id"])

    def last(self, most: int, kind: str | None = None) -> list[Action]:
        """The newest that were not taken back, of one kind or of any."""
        return [_to_action(row) for row in self._database.run("last_actions", most=most, kind=kind).rows]

    def asked(self, name: str) -> Action | None:
        """What this command has done, unless it was taken back."""
        row = self._database.one("action_asked", name=name)
        return _to_action(row) if row is not None else None

    def undone_by(self, asked: str) -> list[Action]:
        """What this command has taken back, before a crash kept it from saying so."""
        return [_to_action(row) for row in self._database.run("actions_undone_by", asked=asked).rows]

    def undone(self, action_id: int, asked: str, now: float) -> None:
        self._database.run("undo_action", id=action_id, asked=asked, now=now)

    def note_stars(self, action_id: int, drop_id: int | None, given: Starred) -> None:
        """What an image is about to get. Noted again after a crash, it is what was noted first."""
        self._database.run(
            "note_stars", action_id=action_id, drop_id=drop_id or 0, image_id=given.image_id, stars=given.stars,
            rated=given.before,
        )  # fmt: skip

    def starred(self, action_id: int, after: int, most: int) -> list[Starred]:
        """What an action gave images with a higher id than `after`, by id."""
        rows = self._database.run("stars_of_action", action_id=action_id, after=after, most=most).rows
        return [Starred(row["image_id"], row["stars"], row["rated"]) for row in rows]

    def steps(self, action_id: int) -> list[Step]:
        rows = self._database.run("steps_of_action", action_id=action_id).rows
        return [
            Step(
                row["drop_id"],
                row["job_id"],
                row["path"],
                row["attempt"],
                row["error_kind"],
                row["error"],
                row["fix"],
            )
            for row in rows
        ]


def _to_action(row: sqlite3.Row) -> Action:
    return Action(row["id"], row["kind"], row["keep"], row["created_at"])
