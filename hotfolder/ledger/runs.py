"""Runs: prompts of which new seeds are drawn until so many were kept."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from hotfolder.ledger.database import Database
from hotfolder.ledger.jobs import Jobs
from hotfolder.ledger.rows import to_generate_params
from hotfolder.types import GenerateParams, NewJob


@dataclass(slots=True)
class StoredRun:
    """A run as it was read, and has been followed since."""

    drop_id: int
    number: int  # of the set
    source_file: str
    generated: GenerateParams  # of the last seed that was begun
    last_job: int  # the job of that
    drawn: int
    is_cancelled: bool  # a person has cancelled something of it
    open: set[int] = field(default_factory=set)  # jobs of seeds that are to be drawn or judged still
    kept: set[int] = field(default_factory=set)  # images; one that lay there already counts, once


class Runs:
    def __init__(self, database: Database, jobs: Jobs) -> None:
        self._database = database
        self._jobs = jobs

    def of_drop(self, drop_id: int) -> list[StoredRun]:
        """The runs of a dropped file that lies in its inbox. Reads every seed: to be asked once, then followed."""
        seeds: dict[int, list[int]] = {}
        for row in self._database.run("seeds_of_runs", drop_id=drop_id).rows:
            seeds.setdefault(row["set_number"], []).append(row["id"])
        last = [ids[-1] for ids in seeds.values()]
        rows = {row["id"]: row for row in self._database.run("jobs_by_id", ids=json.dumps(last)).rows}
        found = []
        for number, ids in seeds.items():
            newest = rows[ids[-1]]
            is_cancelled = self._jobs.set_is_cancelled(drop_id, number)
            run = StoredRun(
                drop_id, number, newest["source_file"], to_generate_params(newest), ids[-1], len(ids), is_cancelled
            )
            self._look_at(run, ids)
            found.append(run)
        return found

    def follow(self, run: StoredRun) -> None:
        """What has become of the seeds that were in work; those that have ended before are not looked at."""
        self._look_at(run, run.open)

    def begin(self, run: StoredRun, jobs: Sequence[NewJob], now: float) -> None:
        """Queues more seeds, all or none of them, where the one before is or was."""
        with self._database.transaction():
            place = self._database.run("place_of_job", id=run.last_job).rows[0]["place"]
            for job in jobs:
                self._jobs.add(job, run.drop_id, run.source_file, None, now, place)
        rows = self._database.run("seeds_after", drop_id=run.drop_id, set=run.number, after=run.last_job).rows
        run.open |= {row["id"] for row in rows}
        run.drawn += len(rows)
        run.last_job = rows[-1]["id"]
        last = jobs[-1].params
        assert isinstance(last, GenerateParams)
        run.generated = last

    def say_stopped(self, run: StoredRun, why: str) -> bool:
        """Why it ended stands beside its last image, if it has one. Whether that did not stand there already."""
        row = self._database.one("newest_image_of_run", last=run.last_job, drop_id=run.drop_id, set=run.number)
        return row is None or bool(self._database.run("say_stopped", id=row["id"], stopped=why).changed)

    def _look_at(self, run: StoredRun, ids: Iterable[int]) -> None:
        rows = self._database.run("seeds_begun", ids=json.dumps(sorted(ids))).rows
        run.open = {row["id"] for row in rows if row["is_open"]}
        run.kept |= {row["kept"] for row in rows if row["kept"] is not None}
