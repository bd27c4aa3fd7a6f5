"""What becomes of work that has ended: published, tried again, failed, or given up."""

from __future__ import annotations

import logging
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hotfolder.config.folder_settings import FolderSettings
from hotfolder.core.retry import Action, blamed, decide
from hotfolder.daemon.companions import Follower
from hotfolder.daemon.dispatcher import Ended
from hotfolder.daemon.duplicates import Duplicates
from hotfolder.daemon.outbox import Outbox
from hotfolder.daemon.pauses import Pause
from hotfolder.daemon.results import Results
from hotfolder.daemon.runs import Runs
from hotfolder.daemon.sources import Sources
from hotfolder.daemon.tasting import without_gone_heads
from hotfolder.errors import EnvironmentTrouble, HotfolderError, LedgerError, Vanished, WorkerLost
from hotfolder.files.beneath import Beneath
from hotfolder.files.trouble import explain
from hotfolder.folders.guard import Guard
from hotfolder.folders.layout import Layout
from hotfolder.folders.scan import sight
from hotfolder.imaging.sidecars import is_our_sidecar
from hotfolder.ledger.drops import FINISHED_AT_ONCE
from hotfolder.ledger.ledger import Ledger
from hotfolder.routing import ending, person
from hotfolder.routing.router import About, Router, SetMember
from hotfolder.system.logs import brief
from hotfolder.transitions import (
    Cancelled,
    Generated,
    NotEnlarged,
    Scored,
    SourceFinished,
    Transition,
    Upscaled,
)
from hotfolder.types import (
    Drop,
    ErrorInfo,
    FailureClass,
    Job,
    Kind,
    Outcome,
    State,
    StoredImage,
    Verdict,
)

log = logging.getLogger(__name__)


class Completion:
    """Turns the end of a job into the transition that follows, which goes to the outbox."""

    def __init__(
        self,
        layout: Layout,
        settings: FolderSettings,
        ledger: Ledger,
        router: Router,
        guard: Guard,
        sources: Sources,
        outbox: Outbox,
        results: Results,
        clock: Callable[[], float],
    ) -> None:
        self._layout = layout
        self._settings = settings
        self._ledger = ledger
        self._router = router
        self._guard = guard
        self._sources = sources
        self._outbox = outbox
        self._results = results
        self._clock = clock
        self._duplicates = Duplicates(layout, ledger)
        self._runs = Runs(ledger, router, clock)
        self._unrecorded: list[Job] = []  # ended, and some trouble kept that from being recorded
        self._with_sets: set[int] = set()  # drops of which the best of several are kept
        self._look_at_all = True  # at drops of an earlier run, too
        self._cancelled: set[int] = set()  # drops of which a person has cancelled something

    def end(self, ended: Ended) -> bool:
        """Finds out what follows; whether the job has come to its end, and will not be tried again by itself.

        Raises EnvironmentTrouble when that cannot be said now; see `resume`.
        """
        job = ended.job
        self._sources.ended.add(job.drop_id)
        self._runs.notice(job)
        if job.set_number is not None:
            self._with_sets.add(job.drop_id)
        if ended.is_cancelled:
            self._clear_claim(job)
            return True
        try:
            self._guard.check_root()  # else every file would look as if it had been taken away
            return self._end(job, ended.drop, ended.outcome, ended.lost)
        except EnvironmentTrouble:
            self._unrecorded.append(job)
            raise
        except OSError as error:
            self._unrecorded.append(job)
            raise explain(error) from error
        except LedgerError:
            raise  # the daemon ends
        except Exception as error:
            # Whatever it is, it is about this job: it must not be met again and again, nor end the daemon.
            log.error("job %d: unexpected %s", job.id, type(error).__name__, exc_info=error, extra=_fields(job))
            told = HotfolderError(f"what became of it cannot be recorded: {error}", "see the log, and report this")
            self._ledger.jobs.end(job.id, State.FAILED, self._clock(), told.info())
            return True

    def _end(self, job: Job, drop: Drop | None, outcome: Outcome | None, lost: ErrorInfo | None) -> bool:
        now = self._clock()
        error = outcome.error if outcome else lost
        if drop is not None and not self._sources.is_unchanged(drop):
            self.release(job)
            self._sources.give_up(drop, now)
            return True
        if other := without_gone_heads(self._layout, self._settings, job):
            self._ledger.tastes.judge_as(job.model, other)
            self.release(job)
            return False
        if error is not None:
            return self._follow_image(job, now) or self._failure(job, error, drop, now)
        if outcome is not None:
            self._outbox.gather(self._success(job, outcome, drop, now), job)
            return True
        self.release(job)
        return False

    def begin_seeds(self) -> None:
        """Of runs in which nothing is in work just now: else cancelling them would find nothing to cancel."""
        self._runs.go_on(self._sources.ended)

    def cancelled(self, drop_ids: set[int]) -> None:
        """A person has cancelled something of these drops: what was drawn and has no score yet gets none."""
        self._cancelled |= drop_ids
        self._with_sets |= drop_ids
        self._sources.ended |= drop_ids
        self._runs.forget(drop_ids)

    def _follow_image(self, job: Job, now: float) -> bool:
        """Whether it failed only because a person moved its image: then it is done with that where it is now."""
        if job.image_id is None or job.source is None:
            return False
        with Beneath(self._layout.root) as beneath:
            if beneath.identity(job.source) is not None:
                return False
        for _ in self._results.scan(now):
            pass
        image = self._image(job)
        if image is None or (image.path == job.source and not image.is_gone):
            return False
        self._clear_claim(job)
        if image.is_gone:
            error = Vanished(f"{image.path} is gone", "bring it back; then: hotfolder retry").info()
            self._ledger.jobs.end(job.id, State.CANCELLED, now, error)
        else:
            self.release(job)
            self._ledger.jobs.follow(image.id, image.path)
        return True

    def resume(self) -> None:
        """What some trouble kept from being recorded goes back into the queue. Raises EnvironmentTrouble."""
        while self._unrecorded:
            self.release(self._unrecorded[-1])
            self._unrecorded.pop()

    def release(self, job: Job) -> None:
        """Back into the queue, without blame."""
        self._clear_claim(job)
        self._ledger.jobs.release(job, not_before=0, spent=False)

    def _success(self, job: Job, outcome: Outcome, drop: Drop | None, now: float) -> Transition:
        for note in outcome.notes:
            log.warning("job %d: %s: %s", job.id, job.source or job.source_file, note, extra=_fields(job))
        image = self._image(job)
        about = About(image, drop, self._parent_score(image, outcome))
        transition: Scored | Generated | Upscaled
        if outcome.score is not None:
            transition = self._router.scored(job, outcome, about, now)
        else:
            assert outcome.staged is not None
            staged = str(Path(outcome.staged.path).relative_to(self._layout.root))
            if outcome.source is None:
                transition = self._router.generated(job, outcome, staged)
            else:
                transition = self._router.upscaled(job, outcome, about, staged)
        if transition.new_image is None or transition.image is None:
            return transition
        if self._outbox.asks_for(transition.image.dst):
            self._outbox.publish()  # perhaps the same picture: it is compared with what lies there
        twin = self._duplicates.twin_of(transition.new_image, transition.image)
        if twin is None:
            return transition
        there = self._ledger.images.at(twin) if job.is_of_run else None
        duplicate = self._router.duplicate(transition, twin, there[0].id if there else None)
        log.info("%s: %s", duplicate.source_file, duplicate.note.message)
        return duplicate

    def _parent_score(self, image: StoredImage | None, outcome: Outcome) -> float | None:
        if image is None or image.parent_id is None or outcome.score is None:
            return None
        if self._outbox.holds_score_of(image.parent_id):
            self._outbox.publish()  # the parent's score is not in the ledger yet
        return self._ledger.images.score_of(image.parent_id, outcome.score)

    def _failure(self, job: Job, error: ErrorInfo, drop: Drop | None, now: float) -> bool:
        """Whether it has failed for good."""
        root = self._settings.of_root
        error = blamed(error, is_default_model=self._settings.is_own_model(job.kind, job.model))
        seen_at = drop.seen_at if drop else None
        decision = decide(error, job, root.retry_policy(), now, seen_at, random.random())
        self._clear_claim(job)
        match decision.action:
            case Action.FAIL:
                transition = self._router.failed(job, error, About(self._image(job), drop), now)
                level, what = logging.WARNING, "failed"
                if isinstance(transition, NotEnlarged):
                    level, what = logging.INFO, "stays as it is"
                log.log(
                    level, "job %d: %s %s: %s", job.id, job.source or job.source_file, what, error.message,
                    extra=_fields(job),
                )  # fmt: skip
                self._outbox.gather(transition, job)
            case Action.RETRY:
                died = error.failure is FailureClass.POISON
                log.warning("job %d: %s; tried again", job.id, error.message, extra=_fields(job))
                self._ledger.jobs.release(job, not_before=decision.not_before, spent=True, died=died, error=error)
            case Action.WAIT:
                self._ledger.jobs.release(job, not_before=decision.not_before, spent=False, error=error)
            case Action.PAUSE:
                # Behind the others: should it be this file alone, they go on after the pause.
                later = decision.not_before + root.retry.pause_seconds
                self._ledger.jobs.release(job, not_before=later, spent=False, error=error)
                self._outbox.pause(Pause(error, decision.not_before))
        return decision.action is Action.FAIL

    def _image(self, job: Job) -> StoredImage | None:
        """The row of the image that the job works on, if it has one already."""
        return self._ledger.images.get(job.image_id) if job.image_id is not None else None

    def _clear_claim(self, job: Job) -> None:
        shutil.rmtree(self._layout.staging / str(job.id), ignore_errors=True)

    def finish_sources(self) -> None:
        """Begins more seeds, chooses the best of sets that are complete, places prompt files with nothing left."""
        among, self._sources.ended = self._sources.ended, set()
        if not among and not self._look_at_all:
            return
        if self._look_at_all or among & self._cancelled:
            self._place_unscored()
        with_sets = self._ledger.images.drops_with_sets() if self._look_at_all else among & self._with_sets
        if with_sets:
            self._choose(with_sets)
        asked = self._runs.go_on(among)
        going_on = {drop_id for drop_id, goes_on in asked.items() if goes_on}
        held = self._outbox.held_drops
        found = self._ledger.drops.finished(None if self._look_at_all else among - held - going_on)
        free = [drop for drop in found if drop.id not in held]
        own = [drop for drop in free if drop.id in asked or not self._goes_on(drop)]
        transitions = [transition for drop in own if (transition := self._finished(drop)) is not None]
        for _ in self._outbox.publish_now(transitions):
            pass
        there_may_be_more = len(found) == FINISHED_AT_ONCE
        self._look_at_all = self._look_at_all and there_may_be_more
        ids = {drop.id for drop in found}
        self._with_sets -= ids
        self._sources.ended = (self._sources.ended | (among if there_may_be_more else set())) - ids

    def _goes_on(self, drop: Drop) -> bool:
        """Whether more seeds of it were begun, also where a crash kept that from being done before."""
        return drop.kind is Kind.GENERATE and self._runs.goes_on(drop.id)

    def _finished(self, drop: Drop) -> SourceFinished | None:
        now = self._clock()
        if not self._sources.is_unchanged(drop):
            self._sources.give_up(drop, now)
            return None
        failures = self._ledger.jobs.failed_of_drop(drop.id)
        for failure in failures:
            if failure.attempts == 0:
                self._outbox.never_ran(drop.sighting.path, failure)
        return ending.finished(drop, failures, now)

    def _choose(self, drop_ids: set[int]) -> None:
        """Of sets all of which is judged: the best are kept. What was tried again later has the places left."""
        sets: dict[tuple[int, int], list[SetMember]] = {}
        for image, generated in self._ledger.images.undecided(drop_ids):
            assert image.drop_id is not None and generated.set_number is not None
            sets.setdefault((image.drop_id, generated.set_number), []).append(SetMember(image, generated))
        for (drop_id, number), members in sets.items():
            chosen = self._router.chosen(
                members,
                self._ledger.images.kept_of_set(drop_id, number),
                is_cancelled=self._ledger.jobs.set_is_cancelled(drop_id, number),
            )
            kept = sum(each.verdict is Verdict.KEEP for each in chosen)
            said = f"{members[0].image.source_file}: {kept} of {len(members)} kept, the best ones"
            log.info("%s", said, extra=brief(said))
            for _ in self._outbox.publish_now(chosen):
                pass

    def _place_unscored(self) -> None:
        """What was drawn and then cancelled, also before a crash, leaves the private folder."""
        wanted = [ending.cancelled(image) for image in self._ledger.images.left_unscored()]
        for published in self._outbox.publish_now(wanted):
            if isinstance(published.done, Cancelled):
                log.info("%s was cancelled before it had a score", published.done.image.dst)

    def quarantine(self) -> None:
        """What has cost too many daemons is not begun again."""
        for job in self._ledger.jobs.poisonous(self._settings.of_root.retry.max_deaths):
            error = WorkerLost(
                f"the daemon died {job.deaths} times while this was in work", "look at it; then: hotfolder retry"
            )
            works_on_drop = job.source is not None and job.image_id is None
            drop = self._ledger.drops.get(job.drop_id) if works_on_drop else None
            self.end(Ended(job, drop, lost=error.info()))

    def retry(self, job_ids: Sequence[int], action_id: int) -> Iterator[dict[str, str]]:
        """Puts failed jobs back to work, and their files where they were: what became of each, for the asker."""
        by_drop: dict[int, list[Job]] = {}
        for job in self._ledger.jobs.failed(job_ids):
            by_drop.setdefault(job.drop_id, []).append(job)
        # The newest first: of several that were placed under one name, the file is the last one's.
        for drop_id, jobs in sorted(by_drop.items(), reverse=True):
            self._runs.forget([drop_id])
            drop = self._ledger.drops.get(drop_id)
            own = [job for job in jobs if job.image_id is None]
            wanted = [
                person.retried_image(job, image, action_id)
                for job in jobs
                if (image := self._image(job)) is not None
            ]
            placed = self._ledger.drops.placed_path(drop_id)
            if own and drop is not None and self._ledger.drops.is_restored(drop_id):
                yield {"file": drop.sighting.path, "error": "you had it put back: drop it anew to have it done"}
            elif own and drop is not None:
                try:
                    there = sight(self._layout.root, placed) if placed else None
                except OSError as error:
                    yield {"file": placed or "", "error": f"it cannot be looked at: {error.strerror}"}
                    continue
                if placed and there is None:
                    self._ledger.jobs.supersede([job.id for job in own])
                    yield {"file": placed, "error": "it is not there any more"}
                    continue
                wanted.append(person.retried_source(drop, own, placed, there, action_id))
            for published in self._outbox.publish_now(wanted):
                if published.done is None:
                    told = "its file is not there any more, or has to wait for the disk"
                    yield {"file": published.wanted.source_file, "error": told}
                else:
                    yield {"file": published.wanted.source_file}
        self._sources.look_again = True

    def follow(self, files: Sequence[Follower]) -> Iterator[tuple[Follower, str]]:
        """Puts files beside the pictures that they belong to; those that stay, each with the reason.

        What we wrote about that picture ourselves gives way, and is written into what came.
        """
        transitions, by_path = [], {each.sighting.path: each for each in files}
        with Beneath(self._layout.root) as beneath:
            for each in files:
                if is_our_sidecar(beneath, each.beside):
                    beneath.unlink(each.beside)
                if beneath.exists(each.beside):
                    yield each, f"its picture is {each.picture} now, and {each.beside} is there already"
                else:
                    transitions.append(ending.followed(each.drop_id, each.sighting, each.beside))
        for published in self._outbox.publish_now(transitions):
            follower = by_path[published.wanted.source_file]
            if published.done is None:
                yield follower, f"it cannot be put beside its picture, which is {follower.picture} now"
            else:
                log.info("%s goes beside its picture: %s", follower.sighting.path, follower.beside)


def _fields(job: Job) -> dict[str, Any]:
    """For the log: what becomes fields of their own in the journal."""
    return {"job_id": job.id, "source_file": job.source_file}
