"""What becomes of work that has ended: published, tried again, failed, or given up."""

from __future__ import annotations

import logging
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from hotfolder.config.folder_settings import FolderSettings
from hotfolder.core.gate import best
from hotfolder.core.retry import Action, decide
from hotfolder.daemon.intake import Intake
from hotfolder.errors import EnvironmentTrouble, Vanished, WorkerLost
from hotfolder.folders.guard import Guard
from hotfolder.folders.layout import ARCHIVE, KEEP, REJECT, UNSCORED, Layout
from hotfolder.folders.scan import sight
from hotfolder.ledger.ledger import Ledger
from hotfolder.publishing.publisher import Publisher
from hotfolder.routing.router import Router
from hotfolder.types import (
    Drop,
    ErrorInfo,
    FailureClass,
    Job,
    Outcome,
    Placement,
    Publication,
    Role,
    State,
    Verdict,
)

log = logging.getLogger(__name__)
_MODEL_TROUBLE = ("model_missing", "model_damaged")


class Pause(Protocol):
    """Stops claiming, until a moment (seconds since the epoch) or for the usual time."""

    def __call__(self, error: ErrorInfo, until: float | None = None) -> None: ...


class Completion:
    """Turns outcomes into what the ledger and the folders say. `done` and `failed` count jobs of this run.

    `rescan` asks for another look at the inboxes, `pause` stops the queue: both are the loop's. `tell` hears what
    was kept and what failed, `alive` of each publication.
    """

    def __init__(
        self,
        layout: Layout,
        folder_settings: FolderSettings,
        ledger: Ledger,
        intake: Intake,
        line: Router,
        guard: Guard,
        clock: Callable[[], float],
        *,
        rescan: Callable[[], None],
        pause: Pause,
        tell: Callable[[str, Mapping[str, Any]], None],
        alive: Callable[[], None],
    ) -> None:
        self.done = self.failed = 0
        self._layout = layout
        self._folder_settings = folder_settings
        self._ledger = ledger
        self._intake = intake
        self._line = line
        self._guard = guard
        self._clock = clock
        self._rescan = rescan
        self._pause = pause
        self._tell = tell
        self._alive = alive
        self._ended: set[int] = set()  # drops of which some job has ended
        self._with_sets: set[int] = set()  # drops of which the best of several are kept
        self._look_at_all = True  # those of an earlier run, too
        self._publisher = Publisher(layout.root, ledger, guard, clock)

    def finish_begun(self) -> None:
        """Finishes what was begun before a crash or an error; raises EnvironmentTrouble while that cannot be."""
        for wanted, published in self._publisher.resume():
            self._after_publishing(wanted, published)
            self._alive()

    def settle(self, job: Job, outcome: Outcome | None, lost: ErrorInfo | None) -> None:
        """What follows when a job is not in work any more: its outcome, or how its worker was lost, or neither.

        Raises EnvironmentTrouble when nothing can be said just now.
        """
        self._ended.add(job.drop_id)
        if "set" in job.params:
            self._with_sets.add(job.drop_id)
        self._guard.check_root()  # else every file would look as if it had been taken away
        now, drop = self._clock(), self._own_drop(job)
        error = outcome.error if outcome else lost
        if drop is not None and not self._intake.unchanged(drop):
            self.release(job)
            self._intake.give_up(drop, now)
            self._rescan()
        elif error is not None:
            self._failure(job, error, drop, now)
        elif outcome is not None:
            self._success(job, outcome, drop)
        else:
            self.release(job)

    def has_ended(self, drop_id: int) -> None:
        """Something of this drop ended without a job that was in work: it may have to be placed."""
        self._ended.add(drop_id)

    def discard(self, job: Job) -> None:
        """The job was cancelled while it was in work: what it made does not count."""
        self._clear_claim(job)

    def release(self, job: Job) -> None:
        """Back into the queue, without blame."""
        self._clear_claim(job)
        self._ledger.release(job, not_before=0, spent=False)

    def quarantine(self) -> None:
        """What has cost too many daemons is not begun again."""
        for job in self._ledger.poisonous(self._folder_settings.settings.retry.max_deaths):
            error = WorkerLost(
                f"the daemon died {job.deaths} times while this was in work", "look at it; then: hotfolder retry"
            )
            self.settle(job, None, error.info())

    def retry(self, job_ids: Sequence[int]) -> list[dict[str, str]]:
        """Puts failed jobs back to work, and their files where they were: what became of each, for the asker."""
        answers: list[dict[str, str]] = []
        by_drop: dict[int, list[Job]] = {}
        for job in self._ledger.failed(job_ids):
            by_drop.setdefault(job.drop_id, []).append(job)
        # The newest first: of several that were placed under one name, the file is the last one's.
        for drop_id, jobs in sorted(by_drop.items(), reverse=True):
            drop = self._ledger.drop(drop_id)
            own = [job for job in jobs if job.image_id is None]
            wanted = [self._line.retried_image(job, self._image(job)) for job in jobs if job.image_id is not None]
            placed = self._ledger.placed_path(drop_id)
            if own and drop is not None:
                there = sight(self._layout.root, placed) if placed else None
                if placed and there is None:
                    self._ledger.supersede(own)
                    answers.append({"file": placed, "error": "it is not there any more"})
                    continue
                wanted.append(self._line.retried_drop(drop, own, placed, there))
            for publication in wanted:
                published = self._publish(publication)
                if published is None and publication.placements:
                    told = "its file is not there any more, or has to wait for the disk"
                    answers.append({"file": publication.source_file, "error": told})
                else:
                    answers.append({"file": publication.source_file})
        self._rescan()
        return answers

    def reroute(self, image_id: int, verdict: Verdict, reroute_id: int | None) -> bool:
        """Puts a judged image into the other folder; False when its file is gone or has to wait."""
        row = self._ledger.image(image_id)
        return row is not None and self._publish(self._line.rerouted(row, verdict, reroute_id)) is not None

    def finish_drops(self, now: float) -> None:
        """Chooses the best of sets that are complete, and places prompt files all of whose jobs have ended."""
        among = self._ended | self._intake.ended()
        if not among and not self._look_at_all:
            return
        with_sets = self._ledger.drops_with_sets() if self._look_at_all else among & self._with_sets
        if with_sets:
            self._choose(with_sets)
        found = self._ledger.finished_drops(None if self._look_at_all else among)
        for drop in found:
            if not self._intake.unchanged(drop):
                self._intake.give_up(drop, now)
                continue
            failures = self._ledger.failed_jobs(drop.id)
            for failure in failures:
                if failure["attempt"] == 0:  # never ran: not counted or told yet
                    self.failed += 1
                    log.warning("%s failed: %s", drop.sighting.path, failure["error"])
                    self._tell_failure(
                        drop.sighting.path, None, failure["error_kind"], failure["error"], failure["fix"] or ""
                    )
            self._publish(self._line.finished(drop, failures, now))
        self._look_at_all = bool(found)  # there may be more, or one that could not be placed
        self._ended.clear()

    def _choose(self, drop_ids: set[int]) -> None:
        """Of sets all of which is judged: the best are kept. What was tried again later has the places left."""
        rows: dict[tuple[int, int], list[dict[str, Any]]] = {}
        for row in self._ledger.undecided(drop_ids):
            rows.setdefault((row["drop_id"], row["params"]["set"]), []).append(row)
        for key, judged in rows.items():
            params = judged[0]["params"]
            places = max(0, (params.get("keep") or 1) - self._ledger.kept_of_set(*key))
            chosen = best([(row["id"], row["score"]) for row in judged], places)
            log.info("%s: the best %d of %d chosen", judged[0]["source_file"], len(chosen), len(judged))
            for row in judged:
                published = self._publish(self._line.chosen(row, params, is_best=row["id"] in chosen))
                if published is not None:
                    self._announce(published)

    def _own_drop(self, job: Job) -> Drop | None:
        """The drop whose file the job works on; None for generate and for images that have a row."""
        return self._ledger.drop(job.drop_id) if job.source is not None and job.image_id is None else None

    def _success(self, job: Job, outcome: Outcome, drop: Drop | None) -> None:
        staged = None
        if outcome.staged is not None:
            staged = str(Path(outcome.staged.path).relative_to(self._layout.root))
        image = self._image(job)
        parent_score = None
        if image is not None and image["parent_id"] is not None and outcome.score is not None:
            parent_score = self._ledger.score_of(image["parent_id"], outcome.score)
        publication = self._line.after(job, outcome, image, staged, _inode(drop), parent_score, self._clock())
        published = self._publish(self._without_duplicate(publication))
        if published is None:
            return
        if published.score is not None:
            log.info(
                "job %d: %s scores %.2f%s", job.id, job.source, published.score.value,
                f" -> {published.placements[0].dst}" if published.placements else "", extra=_fields(job),
            )  # fmt: skip
        elif published.placements:
            made = published.placements[0].dst
            log.info("job %d: %s made %s", job.id, job.source_file, made, extra=_fields(job))

    def _image(self, job: Job) -> dict[str, Any] | None:
        """The row of the image that the job works on, if it has one already."""
        return self._ledger.image(job.image_id) if job.image_id is not None else None

    def _without_duplicate(self, publication: Publication) -> Publication:
        """Same content, same name: kept once. What we made is dropped, what a person dropped is archived."""
        image, move = publication.image, publication.image_move
        if image is None or move is None or image.id is not None:
            return publication
        placement, root = publication.placements[move], self._layout.root
        # A generated image has no verdict yet: its twin may lie on either side of the gate.
        places = [placement.dst]
        if placement.dst.startswith(UNSCORED):
            places += [placement.dst.replace(UNSCORED, folder, 1) for folder in (KEEP, REJECT)]
        twin = next((path for path in places if self._is_there(root / placement.src, image.sha256, path)), None)
        if twin is None:
            return publication
        rest: tuple[Placement, ...]
        if image.role is Role.DROPPED:
            rest = (replace(placement, dst=f"{ARCHIVE}/{placement.dst.partition('/')[2]}"),)
        else:
            rest = tuple(p for p in publication.placements if p is not placement)
            (root / placement.src).unlink(missing_ok=True)
        note = ErrorInfo("duplicate", FailureClass.BAD_INPUT, f"the same picture is {twin} already")
        log.info("%s: %s", publication.source_file, note.message)
        return Publication(
            drop_id=publication.drop_id, source_file=publication.source_file, job_id=publication.job_id,
            state=State.DONE, error=note, placements=rest, drop_placed=publication.drop_placed,
        )  # fmt: skip

    def _is_there(self, src: Path, sha256: str, path: str) -> bool:
        """Whether the same file has this name already, perhaps with stars in it since."""
        if self._publisher.is_duplicate(src, path):
            return True
        return (self._layout.root / path).is_file() and self._ledger.made_sha256(path) == sha256

    def _failure(self, job: Job, error: ErrorInfo, drop: Drop | None, now: float) -> None:
        environment = error.failure is FailureClass.ENVIRONMENT
        if (
            environment
            and error.kind in _MODEL_TROUBLE
            and job.model != self._folder_settings.settings.default_model(job.kind)
        ):
            # A model that only this job asks for must not hold up the others.
            error = replace(error, failure=FailureClass.BAD_INPUT)
        seen_at = drop.seen_at if drop else None
        decision = decide(error, job, self._folder_settings.settings.retry_policy(), now, seen_at, random.random())
        self._clear_claim(job)
        match decision.action:
            case Action.FAIL:
                source = job.source or job.source_file
                log.warning("job %d: %s failed: %s", job.id, source, error.message, extra=_fields(job))
                self._publish(self._line.failed(job, error, self._image(job), _inode(drop), now))
            case Action.RETRY:
                died = error.failure is FailureClass.POISON
                log.warning("job %d: %s; tried again", job.id, error.message, extra=_fields(job))
                self._ledger.release(job, not_before=decision.not_before, spent=True, died=died, error=error)
            case Action.WAIT:
                self._ledger.release(job, not_before=decision.not_before, spent=False, error=error)
            case Action.PAUSE:
                # Behind the others: should it be this file alone, they go on after the pause.
                later = decision.not_before + self._folder_settings.settings.retry.pause_seconds
                self._ledger.release(job, not_before=later, spent=False, error=error)
                self._pause(error, decision.not_before)

    def _publish(self, publication: Publication) -> Publication | None:
        """Publishes; None when there was nothing to publish any more, or it has to wait for the environment."""
        try:
            published = self._publisher.publish(publication)
        except EnvironmentTrouble as error:
            self._pause(error.info())  # the publisher keeps it until it is resumed
            return None
        finally:
            self._alive()
        self._after_publishing(publication, published)
        return published

    def _after_publishing(self, wanted: Publication, published: Publication | None) -> None:
        if published is None:
            self._nothing_to_publish(wanted)
            return
        self._ended.add(published.drop_id)
        if published.reopen and (drop := self._ledger.drop(published.drop_id)) is not None:
            self._intake.reopened(drop)
        if published.drop_placed:
            self._intake.closed(published.drop_id)
        if published.job_id is not None:
            shutil.rmtree(self._layout.staging / str(published.job_id), ignore_errors=True)
            self.done += published.state is State.DONE
            self.failed += published.state is State.FAILED
            self._announce(published)

    def _announce(self, published: Publication) -> None:
        moved = published.placements[0].dst if published.placements else None
        if published.state is State.FAILED and published.error is not None:
            error = published.error
            self._tell_failure(published.source_file, moved, error.kind, error.message, error.fix)
        elif published.image is not None and published.image.verdict is Verdict.KEEP:
            self._tell_kept(published, moved)

    def _tell_kept(self, published: Publication, path: str | None) -> None:
        assert published.image is not None
        row = self._ledger.image(published.image.id) if published.image.id is not None else None
        told: dict[str, Any] = (
            {key: row[key] for key in ("prompt", "seed", "model", "score", "scorer")} if row else {}
        )
        if published.score is not None:
            told |= {"score": published.score.value, "scorer": published.score.scorer}
        self._tell("keep", {"source_file": published.source_file, "path": path, **told})

    def _tell_failure(self, source_file: str, path: str | None, kind: str, message: str, fix: str) -> None:
        error = {"kind": kind, "message": message, "fix": fix}
        self._tell("failed", {"source_file": source_file, "path": path, "error": error})

    def _nothing_to_publish(self, wanted: Publication) -> None:
        """A person took the file away, or put another one in its place, at the last moment."""
        error = Vanished(f"{wanted.source_file} was taken away before it was done", "drop it again").info()
        if wanted.job_id is not None:
            self._ledger.cancel(wanted.job_id, error, self._clock())
        drop = self._ledger.drop(wanted.drop_id)
        if wanted.drop_placed and drop is not None:
            self._intake.give_up(drop, self._clock())
        self._rescan()

    def _clear_claim(self, job: Job) -> None:
        shutil.rmtree(self._layout.staging / str(job.id), ignore_errors=True)


def _fields(job: Job) -> dict[str, Any]:
    """For the log: what becomes fields of their own in the journal."""
    return {"job_id": job.id, "source_file": job.source_file}


def _inode(drop: Drop | None) -> int:
    return drop.sighting.inode if drop is not None else 0
