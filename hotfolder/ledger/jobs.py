"""The queue."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from hotfolder.ledger.database import Database
from hotfolder.ledger.rows import job_columns, to_failed_job, to_job
from hotfolder.types import ErrorInfo, FailedJob, Job, Kind, NewJob, State

#: The kind of error of what a person has cancelled.
CANCELLED = "cancelled"
#: `runnable` gives no more than so many: then there are perhaps more.
RUNNABLE_AT_ONCE = 256
#: So much further to the front is what follows from a job than the job itself: what is begun is finished first. Small,
#: so that hundreds of steps do not reach the next priority.
_STEP = 0.001


@dataclass(frozen=True, slots=True)
class Prior:
    """A job that goes before others."""

    id: int
    group: tuple[Kind, str]
    priority: float  # above 0, the highest goes first


@dataclass(frozen=True, slots=True)
class Following:
    """What holds for jobs that follow from another one."""

    place: float  # below 0: before others, the lower the sooner
    is_cancelled: bool = False  # a person wants none of them


class Jobs:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._counted: tuple[int, int] | None = None  # changes of the database, open jobs

    def add(
        self,
        job: NewJob,
        drop_id: int,
        source_file: str,
        about: tuple[int, str] | None,
        now: float,
        place: float = 0.0,
    ) -> None:
        """Queues a job, perhaps about an image: its id and path. `place` below 0: before others, see `following`."""
        image_id, image_path = about or (None, None)
        self._database.run(
            "add_job",
            kind=job.kind,
            drop_id=drop_id,
            source_file=source_file,
            source=job.source or image_path,
            model=job.model,
            **job_columns(job.params),
            image_id=image_id,
            try_number=job.try_number,
            place=min(place, -job.priority),
            state=State.FAILED if job.error else State.QUEUED,
            error_kind=job.error and job.error.kind,
            error=job.error and job.error.message,
            fix=job.error and job.error.fix,
            finished_at=now if job.error else None,
            now=now,
        )

    def enlarging(self, image_id: int) -> list[Job]:
        """Jobs that enlarge this image and have not ended yet."""
        return [to_job(row) for row in self._database.run("open_enlargements", id=image_id).rows]

    def groups(self, now: float) -> list[tuple[Kind, str]]:
        """Kinds and models of which some job may be claimed, in the order of their oldest jobs."""
        rows = self._database.run("runnable_groups", now=now).rows
        return [(Kind(row["kind"]), row["model"]) for row in rows]

    def runnable(self, now: float, group: tuple[Kind, str]) -> list[Job]:
        """Jobs of a kind and model that may be claimed, oldest first; enough of them to choose a batch from."""
        return [
            to_job(row)
            for row in self._database.run(
                "runnable", now=now, kind=group[0], model=group[1], most=RUNNABLE_AT_ONCE
            ).rows
        ]

    def front(self, now: float) -> list[Prior]:
        """Jobs that go before others and may be claimed, in their order; so many that a batch can be chosen."""
        return [
            Prior(row["id"], (Kind(row["kind"]), row["model"]), -row["place"])
            for row in self._database.run("front", now=now).rows
        ]

    def queued(self, ids: Sequence[int]) -> list[Job]:
        """Those of these jobs that are queued, in the order asked."""
        found = {
            row["id"]: to_job(row) for row in self._database.run("queued_by_id", ids=json.dumps(list(ids))).rows
        }
        return [found[each] for each in ids if each in found]

    def go_first(self, drop_ids: Sequence[int], ids: Sequence[int]) -> list[tuple[int, int, str]]:
        """Puts jobs, and all of some drops, before all others: (job, drop, what it works on) of each."""
        row = self._database.one("first_place")
        place = math.floor(row["place"] if row else 0) - 1
        drops = json.dumps(list(drop_ids))
        rows = self._database.run("go_first", drops=drops, ids=json.dumps(list(ids)), place=place).rows
        return [(row["id"], row["drop_id"], row["source"] or row["source_file"]) for row in rows]

    def bring_forward(self, ids: Sequence[int], priority: int) -> None:
        """Queued jobs get this priority, unless they have a higher one."""
        self._database.run("bring_forward", ids=json.dumps(list(ids)), place=-priority)

    def following(self, job_id: int | None, image_id: int | None) -> Following:
        """What holds for jobs that follow from one that ends, or from the one that made an image."""
        row = self._database.one("place_of_job", id=job_id) if job_id is not None else None
        if row is not None and row["error_kind"] == CANCELLED:
            return Following(0.0, is_cancelled=True)
        if row is None and image_id is not None:
            row = self._database.one("place_of_image", id=image_id)
        place = row["place"] if row is not None else 0.0
        return Following(place - _STEP if place < 0 else 0.0)

    def next_due(self) -> float | None:
        """When the first queued job may be claimed; None when nothing is queued."""
        row = self._database.one("next_due")
        return row["due"] if row else None

    def claim(self, jobs: Sequence[Job], now: float) -> list[Job]:
        """Marks jobs as running; gives back those that were still to be had, in the order asked.

        A power cut may undo that: then no worker is to blame.
        """
        ids = [job.id for job in jobs]
        with self._database.unhurried():
            rows = self._database.run("claim", ids=json.dumps(ids), now=now).rows
        found = {row["id"]: to_job(row) for row in rows}
        return [found[each] for each in ids if each in found]

    def end(
        self, job_id: int, state: State, now: float, error: ErrorInfo | None = None, image_id: int | None = None
    ) -> None:
        """Nothing more happens to it; `image_id` is the image that it was about, or made."""
        self._database.run(
            "finish_job", id=job_id, state=state, image_id=image_id, now=now, error_kind=error and error.kind,
            error=error and error.message, fix=error and error.fix,
        )  # fmt: skip

    def release(
        self, job: Job, *, not_before: float, spent: bool, died: bool = False, error: ErrorInfo | None = None
    ) -> None:
        """Puts a claimed job back into the queue, where it keeps its place; `not_before` 0: it does not wait."""
        self._database.run(
            "release", id=job.id, claim=job.claim, not_before=not_before, spent=int(spent), died=int(died),
            error_kind=error and error.kind, error=error and error.message, fix=error and error.fix,
        )  # fmt: skip

    def note(self, job_id: int, error: ErrorInfo) -> None:
        """Why its result has to wait: what it made cannot be put into its place."""
        self._database.run("note_job", id=job_id, error_kind=error.kind, error=error.message, fix=error.fix)

    def mark_begun(self, job: Job) -> None:
        """The worker is at this very job."""
        self._database.run("mark_begun", id=job.id)

    def poisonous(self, deaths: int) -> list[Job]:
        """Queued jobs on which so many workers or daemons have died."""
        return [to_job(row) for row in self._database.run("poisonous", deaths=deaths).rows]

    def failed(self, ids: Sequence[int]) -> list[Job]:
        """Those of these jobs that have failed."""
        rows = self._database.run("jobs_by_id", ids=json.dumps(list(ids))).rows
        return [to_job(row) for row in rows if row["state"] == State.FAILED]

    def failed_of_drop(self, drop_id: int) -> list[FailedJob]:
        rows = self._database.run("failed_jobs_of_drop", drop_id=drop_id).rows
        return [to_failed_job(row) for row in rows]

    def requeue(self, ids: Sequence[int], new_source: str | None) -> None:
        """Failed jobs are tried again; what they work on may have got another path."""
        self._database.run("requeue", ids=json.dumps(list(ids)), new_source=new_source)

    def get(self, job_id: int) -> tuple[Job, State] | None:
        rows = self._database.run("jobs_by_id", ids=json.dumps([job_id])).rows
        return (to_job(rows[0]), State(rows[0]["state"])) if rows else None

    def set_attempts(self, job_id: int, attempts: int) -> None:
        """A retry was taken back: so often it had been tried."""
        self._database.run("set_attempts", id=job_id, attempts=attempts)

    def follow(self, image_id: int, path: str) -> None:
        """The image lies there now: what waits to be done with it is done there."""
        self._database.run("jobs_follow", image_id=image_id, path=path)

    def cancel_enlarging(self, image_id: int, now: float) -> None:
        """A person rejected the image: it is not enlarged, unless that is in work already."""
        self._database.run("cancel_enlarging", image_id=image_id, now=now)

    def cancel_about(self, image_id: int, now: float) -> None:
        """The file of an image is gone: nothing more is done with it."""
        self._database.run("cancel_about", image_id=image_id, now=now)

    def supersede(self, ids: Sequence[int]) -> None:
        """Failed jobs that cannot be tried again: their file is gone, or is taken as a new one."""
        self._database.run("supersede", ids=json.dumps(list(ids)))

    def cancel(self, ids: Sequence[int], error: ErrorInfo, now: float) -> list[tuple[int, int, str]]:
        """A person does not want them any more: those that were open, as (job, drop, what it works on)."""
        rows = self._database.run(
            "cancel_jobs", ids=json.dumps(list(ids)), error_kind=error.kind, error=error.message, fix=error.fix,
            now=now,
        ).rows  # fmt: skip
        return [(row["id"], row["drop_id"], row["source"] or row["source_file"]) for row in rows]

    def set_is_cancelled(self, drop_id: int, number: int) -> bool:
        """Whether a person has cancelled something of a set of which the best are kept."""
        return self._database.one("set_is_cancelled", drop_id=drop_id, set=number) is not None

    def clamp_waits(self, latest: float) -> None:
        """No job waits longer than until then."""
        self._database.run("clamp_waits", latest=latest)

    def recover(self) -> int:
        """After a crash: puts running jobs back, except those that the journal holds. How many."""
        return self._database.run("recover_jobs").changed

    def open_count(self) -> int:
        """How many jobs are queued or running. Asked often: counted only after this connection has written."""
        changes = self._database.changes
        if self._counted is None or self._counted[0] != changes:
            row = self._database.one("open_job_count")
            self._counted = (changes, int(row["jobs"]) if row else 0)
        return self._counted[1]
