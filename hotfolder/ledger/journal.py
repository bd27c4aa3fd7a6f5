"""What is about to be done, written down before any of it is done; and making it true in the ledger."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hotfolder.core.tastes import is_of_taste
from hotfolder.ledger.database import Database
from hotfolder.ledger.drops import Drops
from hotfolder.ledger.images import Images, Judged
from hotfolder.ledger.jobs import Jobs
from hotfolder.ledger.verdicts import Given, Verdicts
from hotfolder.transitions import (
    Cancelled,
    Change,
    Chosen,
    Duplicate,
    Failed,
    Followed,
    Generated,
    ImageRetried,
    Move,
    NotEnlarged,
    OfJob,
    Rerouted,
    Restored,
    RestoreTakenBack,
    Retried,
    Scored,
    SourceFinished,
    SourceReopened,
    SourceTakenAnew,
    Upscaled,
    VerdictGiven,
    VerdictTakenBack,
)
from hotfolder.types import ErrorInfo, ImageRole, Judge, NewJob, State, Verdict


@dataclass(frozen=True, slots=True)
class Entry:
    """A transition as text: see hotfolder.publishing.entries."""

    version: int
    text: str
    job_id: int | None  # the job that ends with it, if one does


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry that was begun and not finished."""

    id: int
    version: int
    text: str
    job_id: int | None


class Journal:
    def __init__(self, database: Database, drops: Drops, jobs: Jobs, images: Images, verdicts: Verdicts) -> None:
        self._database = database
        self._drops = drops
        self._jobs = jobs
        self._images = images
        self._verdicts = verdicts
        self._apply: Mapping[type[Change], Callable[[Any, float], None]] = {
            Generated: self._generated,
            Scored: self._scored,
            Upscaled: self._upscaled,
            Duplicate: self._duplicate,
            NotEnlarged: self._not_enlarged,
            Failed: self._failed,
            Chosen: self._chosen,
            Cancelled: self._cancelled,
            Rerouted: self._rerouted,
            VerdictGiven: self._verdict_given,
            VerdictTakenBack: self._verdict_taken_back,
            Restored: self._restored,
            RestoreTakenBack: self._restore_taken_back,
            SourceFinished: self._source_finished,
            Retried: self._retried,
            ImageRetried: self._image_retried,
            SourceReopened: self._source_reopened,
            SourceTakenAnew: self._source_taken_anew,
            Followed: self._followed,
        }

    def record(self, entries: Iterable[Entry], now: float) -> list[int]:
        """Writes down what is about to be done, all of it in one transaction; gives the ids."""
        with self._database.transaction():
            return [
                int(
                    self._database.run(
                        "record", version=entry.version, entry=entry.text, job_id=entry.job_id, now=now
                    ).rows[0]["id"]
                )
                for entry in entries
            ]

    def rewrite(self, entry_id: int, entry: Entry) -> None:
        """The same intent with another destination."""
        self._database.run("rewrite_entry", id=entry_id, version=entry.version, entry=entry.text)

    def pending(self) -> list[StoredEntry]:
        """What was begun and not finished, oldest first."""
        rows = self._database.run("pending_entries").rows
        return [StoredEntry(row["id"], row["version"], row["entry"], row["job_id"]) for row in rows]

    def set_aside(self, entry: StoredEntry, error: ErrorInfo, now: float) -> None:
        """An entry that cannot be read: kept for a person to look at, and its job fails."""
        with self._database.transaction():
            self._database.run("set_entry_aside", id=entry.id, why=error.message)
            if entry.job_id is not None:
                self._jobs.end(entry.job_id, State.FAILED, now, error)

    def apply(self, done: Sequence[tuple[int, Change]], dropped: Sequence[int], now: float) -> None:
        """Makes transitions whose files are in place true, and closes their entries, all in one transaction.

        `dropped` are entries that can no longer be carried out: they are forgotten.
        """
        with self._database.transaction():
            for entry_id, transition in done:
                self._apply[type(transition)](transition, now)
                self._database.run("close_entry", id=entry_id)
            for entry_id in dropped:
                self._database.run("close_entry", id=entry_id)

    def _generated(self, t: Generated, now: float) -> None:
        image_id = self._add_image(t, now)
        self._queue(t, t.next_jobs, {ImageRole.IMAGE: (image_id, t.image.dst)}, now)
        self._jobs.end(t.job_id, State.DONE, now, image_id=image_id)

    def _scored(self, t: Scored, now: float) -> None:
        if t.new_image is not None:
            assert t.image is not None
            image_id = self._images.add(
                t.new_image, t.image, now, source_file=t.source_file, job_id=t.job_id, drop_id=t.drop_id
            )
        else:
            assert t.image_id is not None
            image_id = t.image_id
            if t.image is not None:
                self._images.place(image_id, t.image, t.settings)
        self._images.judge(Judged(image_id, t.sha256, t.score, t.parts, t.embeddings), t.job_id, now)
        if t.verdict is not None:
            judge = Judge.TASTE if is_of_taste(t.score.scorer) else Judge.GATE
            self._verdicts.give(image_id, Given(t.verdict, judge, gate_keep=t.gate_keep), now)
        if t.image is not None:
            self._queue(t, t.next_jobs, {ImageRole.IMAGE: (image_id, t.image.dst)}, now)
            if t.is_drop:
                self._drops.close(t.drop_id, "placed", t.image.dst, now)
        self._jobs.end(t.job_id, State.DONE, now, image_id=image_id)

    def _upscaled(self, t: Upscaled, now: float) -> None:
        about: dict[ImageRole, tuple[int, str]] = {}
        parent_id = None
        if t.new_original is not None and t.original is not None:
            parent_id = self._images.add(
                t.new_original, t.original, now, source_file=t.source_file, job_id=t.job_id, drop_id=t.drop_id
            )
            about[ImageRole.ORIGINAL] = parent_id, t.original.dst
            self._drops.close(t.drop_id, "placed", t.original.dst, now)
        image_id = self._add_image(t, now, parent_id)
        about[ImageRole.IMAGE] = image_id, t.image.dst
        self._queue(t, t.next_jobs, about, now)
        self._jobs.end(t.job_id, State.DONE, now, image_id=image_id)

    def _duplicate(self, t: Duplicate, now: float) -> None:
        if t.original is not None:
            self._drops.close(t.drop_id, "placed", t.original.dst, now)
        self._jobs.end(t.job_id, State.DONE, now, t.note, image_id=t.image_id)

    def _not_enlarged(self, t: NotEnlarged, now: float) -> None:
        self._images.note(t.image_id, t.note.message)
        self._jobs.end(t.job_id, State.DONE, now, t.note, image_id=t.image_id)

    def _failed(self, t: Failed, now: float) -> None:
        if t.image is not None and t.image_id is not None:
            self._images.place(t.image_id, t.image)
        if t.image is not None and t.is_drop:
            self._drops.close(t.drop_id, "failed", t.image.dst, now)
        self._jobs.end(t.job_id, State.FAILED, now, t.error, image_id=t.image_id)
        if t.attempts is not None:
            self._jobs.set_attempts(t.job_id, t.attempts)

    def _chosen(self, t: Chosen, now: float) -> None:
        self._images.place(t.image_id, t.image)
        self._verdicts.give(t.image_id, Given(t.verdict, Judge.GATE, gate_keep=t.gate_keep), now)
        self._queue(t, t.next_jobs, {ImageRole.IMAGE: (t.image_id, t.image.dst)}, now)

    def _cancelled(self, t: Cancelled, now: float) -> None:
        self._images.place(t.image_id, t.image)

    def _rerouted(self, t: Rerouted, now: float) -> None:
        self._place(t.image_id, t.image)
        given = Given(
            t.verdict, Judge.GATE, gate_keep=t.gate_keep, action_id=t.reroute_id, path_before=t.image.src
        )
        self._verdicts.give(t.image_id, given, now)

    def _verdict_given(self, t: VerdictGiven, now: float) -> None:
        if t.image is not None:
            self._place(t.image_id, t.image)
        given = Given(
            t.verdict, Judge.PERSON, t.how, gate_keep=t.gate_keep, action_id=t.action_id,
            path_before=t.image.src if t.image else None,
        )  # fmt: skip
        self._verdicts.give(t.image_id, given, now)
        if t.verdict is Verdict.REJECT:
            self._jobs.cancel_enlarging(t.image_id, now)

    def _verdict_taken_back(self, t: VerdictTakenBack, now: float) -> None:
        if t.image is not None:
            self._place(t.image_id, t.image)
        self._verdicts.take_back(t.image_id, t.action_id, now)

    def _restored(self, t: Restored, now: float) -> None:
        if t.image_id is not None:
            self._images.put_back(t.image_id, t.file)
        self._database.run("note_restore", action_id=t.action_id, drop_id=t.drop_id, path=t.file.src)
        self._drops.put_back(t.drop_id, t.file, now)

    def _restore_taken_back(self, t: RestoreTakenBack, now: float) -> None:
        if t.image_id is not None:
            self._images.place(t.image_id, t.file)
        self._drops.took_back(t.drop_id, t.file.dst)

    def _place(self, image_id: int, move: Move) -> None:
        """The same as the images' own, of one of which something may wait to be done."""
        self._images.place(image_id, move)
        self._jobs.follow(image_id, move.dst)

    def _source_finished(self, t: SourceFinished, now: float) -> None:
        self._drops.close(t.drop_id, "failed" if t.report else "placed", t.source.dst, now)

    def _retried(self, t: Retried, now: float) -> None:
        self._note_retry(t.action_id, t.job_ids)
        self._jobs.requeue(t.job_ids, t.source)

    def _image_retried(self, t: ImageRetried, now: float) -> None:
        self._note_retry(t.action_id, [t.job_id])
        self._images.place(t.image_id, t.image)
        self._jobs.requeue([t.job_id], t.image.dst)

    def _note_retry(self, action_id: int | None, job_ids: Sequence[int]) -> None:
        """How they had failed: they have again, when the retry is taken back."""
        if action_id is not None:
            self._database.run("note_retry", action_id=action_id, ids=json.dumps(list(job_ids)))

    def _source_reopened(self, t: SourceReopened, now: float) -> None:
        self._note_retry(t.action_id, t.job_ids)
        self._jobs.requeue(t.job_ids, t.source.dst)
        self._drops.reopen(t.drop_id, t.source.dst, now)

    def _source_taken_anew(self, t: SourceTakenAnew, now: float) -> None:
        self._note_retry(t.action_id, t.job_ids)
        self._jobs.supersede(t.job_ids)

    def _followed(self, t: Followed, now: float) -> None:
        self._images.rate_again(t.drop_id)

    def _add_image(self, t: Generated | Upscaled, now: float, parent_id: int | None = None) -> int:
        return self._images.add(
            t.new_image, t.image, now, parent_id=parent_id, source_file=t.source_file, job_id=t.job_id,
            drop_id=t.drop_id,
        )  # fmt: skip

    def _queue(
        self, t: Change, jobs: Sequence[NewJob], about: Mapping[ImageRole, tuple[int, str]], now: float
    ) -> None:
        if not jobs:
            return
        following = self._jobs.following(
            t.job_id if isinstance(t, OfJob) else None, t.image_id if isinstance(t, Chosen) else None
        )
        if following.is_cancelled:
            return  # it was cancelled while its result waited for its place
        for job in jobs:
            self._jobs.add(
                job, t.drop_id, t.source_file, about.get(job.about) if job.about else None, now, following.place
            )
