"""The queue."""

from __future__ import annotations

import json
from collections.abc import Sequence

from hotfolder.ledger.database import Database
from hotfolder.ledger.rows import job_columns, to_failed_job, to_job
from hotfolder.types import ErrorInfo, FailedJob, Job, Kind, NewJob, State


class Jobs:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._counted: tuple[int, int] | None = None  # changes of the database, open jobs

    def add(self, job: NewJob, drop_id: int, source_file: str, about: tuple[int, str] | None, now: float) -> None:
        """Queues a job, perhaps about an image: its id and path."""
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
            state=State.FAILED if job.error else State.QUEUED,
            error_kind=job.error and job.error.kind,
            error=job.error and job.error.message,
            fix=job.error and job.error.fix,
            finished_at=now if job.error else None,
            now=now,
        )

    def is_being_enlarged(self, image_id: int) -> bool:
        """Whether a job that enlarges this image has not ended yet."""
        return self._database.one("open_enlargements", id=image_id) is not None

    def groups(self, now: float) -> list[tuple[Kind, str]]:
        """Kinds and models of which some job may be claimed, in the order of their oldest jobs."""
        rows = self._database.run("runnable_groups", now=now).rows
        return [(Kind(row["kind"]), row["model"]) for row in rows]

    def runnable(self, now: float, group: tuple[Kind, str]) -> list[Job]:
        """Jobs of a kind and model that may be claimed, oldest first; enough of them to choose a batch from."""
        return [to_job(row) for row in self._database.run("runnable", now=now, kind=group[0], model=group[1]).rows]

    def next_due(self) -> float | None:
        """When the first queued job may be claimed; None when nothing is queued."""
        row = self._database.one("next_due")
        return row["due"] if row else None

    def claim(self, jobs: Sequence[Job], now: float) -> list[Job]:
        """Marks jobs as running; gives back those that were still to be had, in the order asked.

        A power cut may undo that: then no worker is to blame.
        """
        ids = json.dumps([job.id for job in jobs])
        with self._database.unhurried():
            found = [to_job(row) for row in self._database.run("claim", ids=ids, now=now).rows]
        return sorted(found, key=lambda job: job.id)

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
        """Puts a claimed job back into the queue."""
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

    def is_cancelled(self, job_id: int) -> bool:
        """Whether a person has cancelled it, perhaps while its result waited for its place."""
        return self._database.one("is_cancelled", id=job_id) is not None

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
