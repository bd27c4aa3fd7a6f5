"""Dropped files, from the moment they are taken."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hotfolder.ledger.database import Database
from hotfolder.ledger.jobs import Jobs
from hotfolder.ledger.rows import Restorable, identity_columns, to_drop, to_restorable
from hotfolder.transitions import Move
from hotfolder.types import Drop, ErrorInfo, FailureClass, Kind, NewJob, Sighting

#: Drops that `finished` gives at a time.
FINISHED_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Taken:
    """A file that is taken now, and what it asks for."""

    kind: Kind
    sighting: Sighting
    seen_at: float  # seconds since the epoch: when it was first seen as it is
    jobs: Sequence[NewJob]


class Drops:
    def __init__(self, database: Database, jobs: Jobs) -> None:
        self._database = database
        self._jobs = jobs

    def add(self, taken: Iterable[Taken], now: float) -> list[int]:
        """Records files and queues their jobs; gives their ids."""
        ids = []
        with self._database.transaction():
            for each in taken:
                seen = each.sighting
                row = self._database.run(
                    "add_drop", kind=each.kind, path=seen.path, size=seen.size, mtime_ns=seen.mtime_ns,
                    inode=seen.inode, device=seen.device, seen_at=each.seen_at, now=now,
                ).rows[0]  # fmt: skip
                ids.append(int(row["id"]))
                for job in each.jobs:
                    self._jobs.add(job, ids[-1], seen.path, None, now)
        return ids

    def open(self) -> list[Drop]:
        """Files that are taken and still lie in their inbox."""
        return [to_drop(row) for row in self._database.run("open_drops").rows]

    def get(self, drop_id: int) -> Drop | None:
        row = self._database.one("drop", id=drop_id)
        return to_drop(row) if row else None

    def of(self, drop_ids: Iterable[int]) -> dict[int, Drop]:
        """Those of these that there are, by id."""
        rows = self._database.run("drops_by_id", ids=json.dumps(list(drop_ids))).rows
        return {row["id"]: to_drop(row) for row in rows}

    def restored(self) -> list[Drop]:
        """Files that were put back into their inboxes, and are not to be worked again."""
        return [to_drop(row) for row in self._database.run("restored_drops").rows]

    def is_restored(self, drop_id: int) -> bool:
        row = self._database.one("drop", id=drop_id)
        return row is not None and row["restored_at"] is not None

    def put_back(self, drop_id: int, move: Move, now: float) -> None:
        """Its file lies in its inbox again, and is not worked again."""
        self._database.run("restore_drop", id=drop_id, path=move.dst, **identity_columns(move.file), now=now)

    def took_back(self, drop_id: int, path: str) -> None:
        """Its file lies there again, where it was before it was put back."""
        self._database.run("unrestore_drop", id=drop_id, path=path)

    def end_restore(self, drop_id: int) -> None:
        """Its file is not there any more, or is another one: what lies there from now on is new."""
        self._database.run("end_restore", id=drop_id)

    def restorable(self, drop_ids: Iterable[int]) -> list[Restorable]:
        """Those of these dropped files whose work has ended, and where each lies now."""
        return [
            to_restorable(row) for row in self._database.run("restorable", ids=json.dumps(list(drop_ids))).rows
        ]

    def placed_path(self, drop_id: int) -> str | None:
        """Where the dropped file was placed, if its work has ended."""
        row = self._database.one("drop", id=drop_id)
        return row["placed_path"] if row else None

    def placed_lately(self, beginning: str, since: float) -> list[tuple[int, str, str]]:
        """(drop, path in the inbox, path now) of files placed since, newest first; of paths that begin so."""
        last = f"{beginning}\U0010ffff"
        rows = self._database.run("placed_lately", first=beginning, last=last, since=since).rows
        return [(row["id"], row["dropped"], row["path"]) for row in rows]

    def finished(self, among: Iterable[int] | None) -> list[Drop]:
        """Drops that still lie in their inbox although nothing is left to do for them (at most FINISHED_AT_ONCE).

        With None all of them are looked through, which takes its time where there are very many.
        """
        if among is None:
            found = self._database.run("finished_drops", most=FINISHED_AT_ONCE)
        else:
            found = self._database.run("finished_drops_among", ids=json.dumps(list(among)), most=FINISHED_AT_ONCE)
        return [to_drop(row) for row in found.rows]

    def forget(self, drop_id: int, error: ErrorInfo, now: float) -> None:
        """The dropped file changed or was taken away: its queued jobs are cancelled, the drop is closed."""
        with self._database.transaction():
            self._database.run(
                "cancel_jobs_of_drop", drop_id=drop_id, error_kind=error.kind, error=error.message, now=now
            )
            self.close(drop_id, "gone", None, now)

    def cancel(self, drop_id: int, error: ErrorInfo, now: float, line: int | None = None) -> list[int]:
        """A person does not want it any more: all of its open jobs, or those of one line, are cancelled. Their ids.

        From those whose results are being published nothing follows.
        """
        told = {"error_kind": error.kind, "error": error.message, "fix": error.fix}
        rows = self._database.run("cancel_drop", drop_id=drop_id, now=now, line=line, **told).rows
        self._database.run("mark_cancelled", drop_id=drop_id, line=line, **told)
        return [row["id"] for row in rows]

    def waited_for(self) -> list[int]:
        """Drops that lie in an inbox still, or of which something is to be done."""
        return [row["id"] for row in self._database.run("drops_waited_for").rows]

    def cancel_many(
        self, drop_ids: Iterable[int], error: ErrorInfo, now: float, line: int | None = None
    ) -> list[tuple[Drop, list[int]]]:
        """The same for several, in one transaction; those of them that there are, with the ids of their jobs."""
        with self._database.transaction():
            return [(drop, self.cancel(drop.id, error, now, line)) for drop in self.of(drop_ids).values()]

    def close(self, drop_id: int, state: str, placed_path: str | None, now: float) -> None:
        """Its file has left the inbox: 'placed', 'failed' or 'gone'."""
        self._database.run("close_drop", id=drop_id, state=state, placed_path=placed_path, now=now)

    def reopen(self, drop_id: int, path: str, now: float) -> None:
        """Its file lies in the inbox again."""
        with self._database.transaction():
            for row in self._database.run("open_drops_at", path=path, id=drop_id).rows:
                # Its file is gone, or the name would not have been free; only nobody has noticed yet.
                self.forget(row["id"], ErrorInfo("vanished", FailureClass.BAD_INPUT, "its file is gone"), now)
            self._database.run("reopen_drop", id=drop_id, path=path)
