"""The writing side of the ledger."""

from __future__ import annotations

import base64
import json
import logging
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from hotfolder.errors import DiskFull, EnvironmentTrouble
from hotfolder.ledger.connection import open_writer
from hotfolder.ledger.queries import queries
from hotfolder.ledger.rows import to_drop, to_job
from hotfolder.types import (
    Drop,
    Embedding,
    ErrorInfo,
    FailureClass,
    ImageRecord,
    Job,
    Kind,
    NewJob,
    Publication,
    Score,
    Sighting,
    State,
)

log = logging.getLogger(__name__)
_PUBLICATION = TypeAdapter(Publication)
#: Errors of SQLite that are the machine's and may pass: the queue waits, nothing is spent.
_PASSING = {
    sqlite3.SQLITE_FULL: (DiskFull, "free some space; the queue goes on by itself"),
    sqlite3.SQLITE_IOERR: (EnvironmentTrouble, "look at the disk (space, file size limit, health)"),
    sqlite3.SQLITE_READONLY: (EnvironmentTrouble, "make the database and its folder writable"),
    sqlite3.SQLITE_CANTOPEN: (EnvironmentTrouble, "make the database and its folder writable"),
    sqlite3.SQLITE_BUSY: (EnvironmentTrouble, "another program holds the database: end its transaction"),
    sqlite3.SQLITE_LOCKED: (EnvironmentTrouble, "another program holds the database: end its transaction"),
}


@dataclass(frozen=True, slots=True)
class Judged:
    """What was found out about one image."""

    image_id: int
    sha256: str
    score: Score | None  # the one that the gate looks at
    parts: tuple[Score, ...] = ()
    embeddings: tuple[Embedding, ...] = ()


@dataclass(frozen=True, slots=True)
class _Answer:
    rows: list[sqlite3.Row]
    changed: int

    @property
    def first(self) -> sqlite3.Row | None:
        return self.rows[0] if self.rows else None


class Ledger:
    """Jobs, images, scores and the journal. Not safe for threads: one daemon, one thread, one ledger.

    Each method is one transaction. `now` is always seconds since the epoch.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._counted: tuple[int, int] | None = None  # total_changes, open jobs

    @classmethod
    def open(cls, path: Path) -> Ledger:
        """Opens, or makes, the database and brings its schema up to date."""
        from hotfolder.ledger.migrations import migrate  # sqlite-utils costs 0.1 s: only where it is needed

        connection = open_writer(path)
        migrate(connection)
        return cls(connection)

    def close(self) -> None:
        self._connection.close()

    def _run(self, name: str, /, **values: Any) -> _Answer:
        return self._execute(queries()[name], values)

    def _execute(self, sql: str, values: Mapping[str, Any] | None = None) -> _Answer:
        """Runs one statement and fetches all of it: with RETURNING, the commit happens in the fetching."""
        try:
            cursor = self._connection.execute(sql, values or {})
            return _Answer(cursor.fetchall(), cursor.rowcount)
        except sqlite3.OperationalError as error:
            passing = _PASSING.get(error.sqlite_errorcode & 0xFF)
            if passing is None:
                raise
            raise passing[0](f"the database cannot be written: {error}", passing[1]) from error

    def _one(self, name: str, /, **values: Any) -> sqlite3.Row | None:
        return self._run(name, **values).first

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        # IMMEDIATE: a deferred transaction that reads first and writes later fails with 'database is locked'.
        self._execute("BEGIN IMMEDIATE")
        try:
            yield
            self._execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    # --- drops -----------------------------------------------------------------------------------

    def add_drops(self, taken: Iterable[tuple[Kind, Sighting, float, Sequence[NewJob]]], now: float) -> list[int]:
        """Records files that are taken (kind, sighting, seen_at, jobs) and queues their jobs."""
        ids = []
        with self._transaction():
            for kind, sighting, seen_at, jobs in taken:
                row = self._run("add_drop", kind=kind, seen_at=seen_at, now=now, **asdict(sighting)).rows[0]
                ids.append(row["id"])
                for job in jobs:
                    self._add_job(job, row["id"], sighting.path, None, now)
        return ids

    def open_drops(self) -> list[Drop]:
        return [to_drop(row) for row in self._run("open_drops").rows]

    def drop(self, drop_id: int) -> Drop | None:
        row = self._one("drop", id=drop_id)
        return to_drop(row) if row else None

    def placed_path(self, drop_id: int) -> str | None:
        """Where the dropped file was placed, if its work has ended."""
        row = self._one("drop", id=drop_id)
        return row["placed_path"] if row else None

    def finished_drops(self, among: Iterable[int] | None) -> list[Drop]:
        """Drops that still lie in their inbox although nothing is left to do for them (at most 500).

        With None all of them are looked through, which takes its time where there are very many.
        """
        ids = None if among is None else json.dumps(list(among))
        return [to_drop(row) for row in self._run("finished_drops", ids=ids).rows]

    def failed_jobs(self, drop_id: int) -> list[dict[str, Any]]:
        return [dict(row) for row in self._run("failed_jobs_of_drop", drop_id=drop_id).rows]

    def forget_drop(self, drop_id: int, error: ErrorInfo, now: float) -> None:
        """The dropped file changed or was taken away: its queued jobs are cancelled, the drop is closed."""
        with self._transaction():
            self._forget(drop_id, error, now)

    def _forget(self, drop_id: int, error: ErrorInfo, now: float) -> None:
        self.cancel_drop(drop_id, error, now)
        self._run("close_drop", id=drop_id, state="gone", placed_path=None, now=now)

    def cancel_drop(self, drop_id: int, error: ErrorInfo, now: float, line: int | None = None) -> list[int]:
        """A person does not want it any more: its own open jobs, or those of one line, are cancelled. Their ids."""
        rows = self._run(
            "cancel_jobs_of_drop", drop_id=drop_id, error_kind=error.kind, error=error.message, now=now, line=line
        ).rows
        return [row["id"] for row in rows]

    # --- jobs ------------------------------------------------------------------------------------

    def _add_job(
        self, job: NewJob, drop_id: int, source_file: str, about: tuple[int, str] | None, now: float
    ) -> None:
        image_id, image_path = about or (None, None)
        self._run(
            "add_job",
            kind=job.kind,
            drop_id=drop_id,
            source_file=source_file,
            source=job.source or image_path,
            model=job.model,
            params=json.dumps(dict(job.params)),
            image_id=image_id,
            try_number=job.try_number,
            state=State.FAILED if job.error else State.QUEUED,
            error_kind=job.error and job.error.kind,
            error=job.error and job.error.message,
            fix=job.error and job.error.fix,
            finished_at=now if job.error else None,
            now=now,
        )

    def runnable(self, now: float, resident: tuple[Kind, str] | None = None) -> list[Job]:
        """Jobs that may be claimed, oldest first: the oldest, and those for the resident model."""
        rows = {row["id"]: row for row in self._run("runnable", now=now).rows}
        if resident is not None:
            more = self._run("runnable_for_model", now=now, kind=resident[0], model=resident[1]).rows
            rows.update((row["id"], row) for row in more)
        return [to_job(rows[job_id]) for job_id in sorted(rows)]

    def next_due(self) -> float | None:
        """When the first queued job may be claimed; None when nothing is queued."""
        row = self._one("next_due")
        return row["due"] if row else None

    def claim(self, jobs: Sequence[Job], now: float) -> list[Job]:
        """Marks jobs as running; gives back those that were still to be had, in the order asked."""
        ids = json.dumps([job.id for job in jobs])
        return sorted((to_job(row) for row in self._run("claim", ids=ids, now=now).rows), key=lambda job: job.id)

    def cancel(self, job_id: int, error: ErrorInfo, now: float) -> None:
        """Ends a job that has nothing to work on any more."""
        self._run(
            "finish_job", id=job_id, state=State.CANCELLED, image_id=None, now=now, error_kind=error.kind,
            error=error.message, fix=error.fix,
        )  # fmt: skip

    def release(
        self, job: Job, *, not_before: float, spent: bool, died: bool = False, error: ErrorInfo | None = None
    ) -> None:
        """Puts a claimed job back into the queue."""
        self._run(
            "release", id=job.id, claim=job.claim, not_before=not_before, spent=int(spent), died=int(died),
            error_kind=error and error.kind, error=error and error.message, fix=error and error.fix,
        )  # fmt: skip

    def mark_begun(self, job: Job) -> None:
        """The worker is at this very job."""
        self._run("mark_begun", id=job.id)

    def poisonous(self, deaths: int) -> list[Job]:
        """Queued jobs on which so many workers or daemons have died."""
        return [to_job(row) for row in self._run("poisonous", deaths=deaths).rows]

    def failed(self, ids: Sequence[int]) -> list[Job]:
        """Those of these jobs that have failed."""
        rows = self._run("jobs_by_id", ids=json.dumps(list(ids))).rows
        return [to_job(row) for row in rows if row["state"] == State.FAILED]

    def clamp_waits(self, latest: float) -> None:
        """No job waits longer than until then."""
        self._run("clamp_waits", latest=latest)

    def supersede(self, jobs: Sequence[Job]) -> None:
        """Failed jobs that cannot be tried again, because their file is gone."""
        self._run("supersede", ids=json.dumps([job.id for job in jobs]))

    def recover(self) -> int:
        """After a crash: puts running jobs back, except those that the journal holds. How many."""
        return self._run("recover_jobs").changed

    def open_job_count(self) -> int:
        """How many jobs are queued or running. Asked often: counted only after this connection has written."""
        changes = self._connection.total_changes
        if self._counted is None or self._counted[0] != changes:
            row = self._one("open_job_count")
            self._counted = (changes, int(row["jobs"]) if row else 0)
        return self._counted[1]

    # --- images ----------------------------------------------------------------------------------

    def image(self, image_id: int) -> dict[str, Any] | None:
        row = self._one("image", id=image_id)
        return dict(row) if row else None

    def unrated(self, most: int) -> list[dict[str, Any]]:
        """Images whose stars are not written yet, each with how many."""
        return [dict(row) for row in self._run("unrated", most=most).rows]

    def rating(self, image_id: int, sha256: str) -> None:
        """The file of an image is about to have this sha256: noted first, so that a crash leaves no riddle."""
        self._run("rating", id=image_id, sha256=sha256)

    def rated(self, image_id: int, rated: str, before: str, sha256: str) -> None:
        """The stars of an image are written; its file had one sha256 `before`, and has this one now."""
        with self._transaction():
            self._run("rated", id=image_id, rated=rated, sha256=sha256)
            if sha256 != before:
                self._run("same_embeddings", sha256=sha256, before=before)

    def undecided(self, drop_ids: Iterable[int]) -> list[dict[str, Any]]:
        """Rows of judged images of these drops whose set is complete, each with `params` of its job."""
        rows = self._run("undecided", ids=json.dumps(list(drop_ids))).rows
        return [{**dict(row), "params": json.loads(row["params"])} for row in rows]

    def drops_with_sets(self) -> set[int]:
        """Drops of whose sets something was judged and not decided."""
        return {row["drop_id"] for row in self._run("drops_with_sets").rows}

    def kept_of_set(self, drop_id: int, number: int) -> int:
        """How many images of a set are kept already."""
        return int(self._run("kept_of_set", drop_id=drop_id, set=number).rows[0]["kept"])

    def made_sha256(self, path: str) -> str | None:
        """What the image under this path was before stars were written into it."""
        row = self._one("made_sha256", path=path)
        return row["sha256"] if row else None

    def score_of(self, image_id: int, like: Score) -> float | None:
        """What the same version of the scorer said of another image, most recently."""
        row = self._one(
            "score_of_image", image_id=image_id, scorer=like.scorer, weights_sha256=like.weights_sha256,
            preprocessing=like.preprocessing,
        )  # fmt: skip
        return float(row["score"]) if row else None

    def add_scores(self, judged: Iterable[Judged], now: float) -> int:
        """Records what is new of these scores and embeddings, for images that have a row. How many scores.

        A score by a version of a scorer that the image has one from already is not new, unless the gate is to look
        at it from now on.
        """
        with self._transaction():
            return sum(self._add_judged("add_new_score", each, None, now) for each in judged)

    def _add_judged(self, query: str, judged: Judged, job_id: int | None, now: float) -> int:
        added = 0
        for score in (*judged.parts, *([judged.score] if judged.score else [])):
            added += self._run(
                query, image_id=judged.image_id, score=score.value, scorer=score.scorer,
                weights_sha256=score.weights_sha256, preprocessing=score.preprocessing,
                precision=score.precision, gate=int(score is judged.score), job_id=job_id, now=now,
            ).changed  # fmt: skip
        for embedding in judged.embeddings:
            vector = base64.b64decode(embedding.vector)
            self._run("add_embedding", sha256=judged.sha256, encoder=embedding.encoder, vector=vector)
        return added

    def restore(self, images: Iterable[tuple[ImageRecord, float, Sequence[Score], Sequence[Embedding]]]) -> int:
        """Puts rows back that a damaged database has lost: (image, when it was made, what is known). How many."""
        count = 0
        with self._transaction():
            for image, made_at, scores, embeddings in images:
                lost = Publication(drop_id=0, source_file="")
                image_id = self._put_image(lost, image, None, None, made_at)
                for score in scores:
                    self._add_judged("add_score", Judged(image_id, image.sha256, score), None, made_at)
                if embeddings:
                    judged = Judged(image_id, image.sha256, None, embeddings=tuple(embeddings))
                    self._add_judged("add_score", judged, None, made_at)
                count += 1
        return count

    def misplaced(self, keep: float, after: int, most: int) -> list[int]:
        """Images with a higher id than `after` whose verdict would be another with this threshold, by id."""
        return [row["id"] for row in self._run("misplaced", keep=keep, after=after, most=most).rows]

    def add_reroute(self, keep: float, now: float) -> int:
        """Images are about to be sorted anew."""
        return int(self._run("add_reroute", keep=keep, now=now).rows[0]["id"])

    def last_reroute(self) -> tuple[int, list[tuple[int, str]]] | None:
        """The last one that was not undone: its id, and (image, verdict before) for what it changed."""
        row = self._one("last_reroute")
        if row is None:
            return None
        return row["id"], [(move["id"], move["verdict"]) for move in self._run("reroute_moves", id=row["id"]).rows]

    def undo_reroute(self, reroute_id: int, now: float) -> None:
        self._run("undo_reroute", id=reroute_id, now=now)

    def adopt(self, child: str, parent: str) -> None:
        """The image under one path was enlarged from the one under the other."""
        self._run("adopt", child=child, parent=parent)

    # --- publishing ------------------------------------------------------------------------------

    def journal(self, publication: Publication, now: float) -> int:
        """Writes down what is about to be done."""
        text = _PUBLICATION.dump_json(publication).decode()
        return int(self._run("journal", publication=text, now=now).rows[0]["id"])

    def rewrite_journal(self, entry: int, publication: Publication) -> None:
        """The same intent with another destination."""
        self._run("rewrite_journal", id=entry, publication=_PUBLICATION.dump_json(publication).decode())

    def pending_journal(self) -> list[tuple[int, Publication]]:
        """What was begun and not finished, oldest first. An entry that cannot be read is left alone, and said."""
        found = []
        for row in self._run("pending_journal").rows:
            try:
                found.append((int(row["id"]), _PUBLICATION.validate_json(row["publication"])))
            except ValidationError as error:
                log.error("journal entry %d cannot be read and is left alone: %s", row["id"], error)
        return found

    def close_journal(self, entry: int) -> None:
        """Forgets an intent that can no longer be carried out."""
        self._run("close_journal", id=entry)

    def apply(self, entry: int, publication: Publication, now: float) -> None:
        """Makes a publication whose files are in place true in the ledger, and closes its journal entry."""
        p = publication
        with self._transaction():
            parent_id = self._put_image(p, p.parent, p.parent_move, None, now) if p.parent else None
            image_id = self._put_image(p, p.image, p.image_move, parent_id, now) if p.image else None
            about = {
                "image": (image_id, _final_path(p, p.image, p.image_move)),
                "parent": (parent_id, _final_path(p, p.parent, p.parent_move)),
            }
            if p.score and p.image and image_id:
                judged = Judged(image_id, p.image.sha256, p.score, p.parts, p.embeddings)
                self._add_judged("add_score", judged, p.job_id, now)
            for job in p.followups:
                target = about.get(job.about or "")
                self._add_job(
                    job, p.drop_id, p.source_file,
                    (target[0], target[1]) if target and target[0] and target[1] else None, now,
                )  # fmt: skip
            if p.job_id is not None and p.state is not None:
                self._run(
                    "finish_job", id=p.job_id, state=p.state, image_id=image_id, now=now,
                    error_kind=p.error and p.error.kind, error=p.error and p.error.message,
                    fix=p.error and p.error.fix,
                )  # fmt: skip
            new_source = p.placements[-1].dst if p.placements else None
            if p.requeue:
                self._run("requeue", ids=json.dumps(list(p.requeue)), new_source=new_source)
            if p.supersede:
                self._run("supersede", ids=json.dumps(list(p.supersede)))
            if p.reopen and new_source is not None:
                for row in self._run("open_drops_at", path=new_source, id=p.drop_id).rows:
                    # Its file is gone, or the name would not have been free; only nobody has noticed yet.
                    self._forget(row["id"], ErrorInfo("vanished", FailureClass.BAD_INPUT, "its file is gone"), now)
                self._run("reopen_drop", id=p.drop_id, path=new_source)
            if p.drop_placed:
                placed = p.placements[-1].dst if p.placements else None
                self._run(
                    "close_drop", id=p.drop_id, state="failed" if p.sidecar else "placed", placed_path=placed,
                    now=now,
                )  # fmt: skip
            self._run("close_journal", id=entry)

    def _put_image(
        self, p: Publication, image: ImageRecord, move: int | None, parent_id: int | None, now: float
    ) -> int:
        path = _final_path(p, image, move)
        if image.id is not None:
            if p.reroute_id is not None:
                self._run("note_reroute", reroute_id=p.reroute_id, image_id=image.id)
            self._run(
                "move_image", id=image.id, path=path, verdict=image.verdict,
                settings=json.dumps(dict(image.settings)),
            )  # fmt: skip
            return image.id
        row = self._run(
            "add_image", path=path, sha256=image.sha256, role=image.role, verdict=image.verdict,
            width=image.width, height=image.height,
            parent_id=parent_id if image.parent_id is None else image.parent_id,
            prompt=image.prompt, negative_prompt=image.negative_prompt, seed=image.seed, model=image.model,
            settings=json.dumps(dict(image.settings)), source_file=p.source_file, job_id=p.job_id,
            drop_id=p.drop_id or None, now=now,
        ).rows[0]  # fmt: skip
        return int(row["id"])


def _final_path(p: Publication, image: ImageRecord | None, move: int | None) -> str | None:
    if image is None:
        return None
    return image.path if move is None else p.placements[move].dst
