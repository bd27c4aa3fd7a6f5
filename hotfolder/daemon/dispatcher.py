"""Batches to the executor and back: from the claim to what the executor tells of each job."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hotfolder.config.folder_settings import FolderSettings
from hotfolder.config.settings import Settings
from hotfolder.core.batching import pick_batch
from hotfolder.core.estimate import Rates
from hotfolder.core.gate import precise
from hotfolder.core.heartbeat import Heartbeat
from hotfolder.core.prompts import said
from hotfolder.core.retry import fault_of_lost_worker
from hotfolder.core.turns import Group, Turns
from hotfolder.daemon.sources import Sources
from hotfolder.errors import EnvironmentTrouble, Outdated
from hotfolder.executors.base import Done, Executor
from hotfolder.executors.wire import VERSION
from hotfolder.folders.guard import Guard
from hotfolder.folders.layout import Layout
from hotfolder.folders.scan import sight
from hotfolder.ledger.ledger import Ledger
from hotfolder.types import (
    Batch,
    Drop,
    ErrorInfo,
    FailureClass,
    GenerateParams,
    Item,
    Job,
    Outcome,
    Progress,
    Purpose,
    ScoreParams,
    Sighting,
    UpscaleParams,
)

log = logging.getLogger(__name__)
#: Seconds for which a worker may go on with what was cancelled without getting any further. Decoders cannot be
#: interrupted: then it is ended.
CANCEL_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that is not in work any more: its outcome, or how its worker was lost, or neither."""

    job: Job
    drop: Drop | None  # the dropped file that it works on, if it does
    outcome: Outcome | None = None
    lost: ErrorInfo | None = None
    is_cancelled: bool = False  # nobody wants what it made


@dataclass(frozen=True, slots=True)
class Heard:
    """What the executor had to tell."""

    ended: Sequence[Ended] = ()
    trouble: ErrorInfo | None = None  # nothing can be begun just now


class Dispatcher:
    """One batch at a time goes to the executor."""

    def __init__(
        self,
        layout: Layout,
        settings: FolderSettings,
        ledger: Ledger,
        executor: Executor,
        guard: Guard,
        sources: Sources,
    ) -> None:
        self.progress: Progress | None = None
        self.stage_since = 0.0  # seconds since the epoch
        self._layout = layout
        self._settings = settings
        self._ledger = ledger
        self._executor = executor
        self._guard = guard
        self._sources = sources
        self._in_work: dict[int, Job] = {}
        self._drops: dict[int, Drop] = {}  # those that jobs in work are of
        self._ended: list[Ended] = []  # not told yet
        self._cancelled: set[int] = set()  # in work, and not wanted any more
        self._cancelled_at = 0.0  # the last of them, by the monotonic clock
        self._leaving = False  # the worker is being ended for what was cancelled: nobody is to blame
        self._batch_ids = itertools.count(1)
        self._heartbeat = self._new_heartbeat()
        self._turns = Turns()
        self.rates = Rates()
        self._group: Group | None = None  # what is in work, or was last
        self._goes_first = False  # the batch that was picked last is led by a job with a priority
        self._has_loaded = False  # the batch in work waited for its model

    @property
    def is_busy(self) -> bool:
        """Whether a batch is in work."""
        return bool(self._in_work or self._ended)

    @property
    def is_free(self) -> bool:
        """Whether a batch may be submitted."""
        return not self._in_work and self._executor.capacity() > 0

    @property
    def in_work(self) -> list[Job]:
        return list(self._in_work.values())

    def cancel(self, job_ids: Sequence[int]) -> None:
        """These jobs were cancelled: those of them that are in work do not count any more."""
        left = self._in_work.keys() & set(job_ids)
        self._cancelled |= left
        if left:
            self._cancelled_at = time.monotonic()
            self._executor.cancel(left)

    def settings_changed(self, before: Settings) -> None:
        """The settings in force are others now. Only between two batches: the worker starts anew if it has to know."""
        now, database = self._settings.of_root, self._layout.database
        self._heartbeat = self._new_heartbeat()
        runner, idle = now.runner(database), now.executor.idle_unload_seconds
        if (runner, idle) != (before.runner(database), before.executor.idle_unload_seconds):
            self._executor.reconfigure(runner, idle)
            self._worker_ended()
        if now.executor.kind != before.executor.kind:
            log.warning("executor.kind takes effect at the next start")

    def feed(self, now: float) -> None:
        """Claims a batch and submits it. Raises EnvironmentTrouble when that cannot be."""
        if not self.is_free:
            return
        picked = self._pick(now)
        if not picked:
            return
        self._guard.check_space(self._settings.of_root.output.min_free_mb << 20)
        drops = self._ledger.drops.of({job.drop_id for job in picked if job.image_id is None})
        wanted = [job for job in picked if self._is_wanted(job, drops.get(job.drop_id), now)]
        if not wanted:
            return
        jobs = self._ledger.jobs.claim(wanted, now)
        self._in_work, self._drops = {job.id: job for job in jobs}, drops
        if not jobs:
            return
        self._group = group = (jobs[0].kind, jobs[0].model)
        self._turns.begin(group, time.monotonic(), goes_first=self._goes_first)
        self._has_loaded = False
        batch = Batch(next(self._batch_ids), *group, tuple(self._item(job) for job in jobs))
        self._leaving = False
        try:
            self._executor.submit(batch)
            self.rates.begin(group[0], len(jobs), time.monotonic())
            self._heartbeat.begin(group, time.monotonic())
        except EnvironmentTrouble:
            self._batch_over(None)
            raise

    def _pick(self, now: float) -> tuple[Job, ...]:
        """The next batch, of whose turn it is."""
        policy, jobs = self._settings.of_root.batch_policy(), self._ledger.jobs
        waiting, front = jobs.groups(now), jobs.front(now)
        priorities: dict[Group, float] = {}
        for prior in front:
            priorities.setdefault(prior.group, prior.priority)
        group = self._turns.choose(waiting, time.monotonic(), policy.fairness_seconds, priorities)
        if group is None:
            return ()
        oldest = jobs.runnable(now, group)
        self._goes_first = group in priorities and not self._turns.oldest_lead(group)
        if not self._goes_first:
            return pick_batch(oldest, policy)
        first = jobs.queued([prior.id for prior in front if prior.group == group][: len(oldest)])
        ids = {job.id for job in first}
        return pick_batch([*first, *(job for job in oldest if job.id not in ids)], policy)

    def _item(self, job: Job) -> Item:
        return Item(
            job_id=job.id,
            claim=job.claim,
            source=str(self._layout.root / job.source) if job.source else None,
            staging=str(self._layout.claim_folder(job.id, job.claim)),
            params=self._params(job),
            precise=precise(job.params, self._settings.policy(job.source_file).gate),
            root=str(self._layout.root),
            file=self._file_of(job),
        )

    def _file_of(self, job: Job) -> Sighting | None:
        """Which file the worker is to read: of a dropped one, the one that was taken."""
        if job.source is None:
            return None
        try:
            there = sight(self._layout.root, job.source)
        except OSError:
            return None  # the worker will say what is the matter
        drop = self._drops.get(job.drop_id) if job.image_id is None else None
        if drop is None or job.source != drop.sighting.path or there == drop.sighting:
            return there  # with the number that its device has now
        return drop.sighting

    def _params(self, job: Job) -> Mapping[str, Any]:
        """What a worker is told, with the init-image's place: in the ledger its path is relative to the root."""
        if isinstance(job.params, GenerateParams):
            told = said(job.params.request)
            named = told.get("init_image")
            if not named:
                return told
            root, file = self._layout.root, self._layout.root / named  # or an absolute path of its own
            below = {"init_root": str(root)} if file.is_relative_to(root) else {}
            return {**told, "init_file": str(file), **below}
        if isinstance(job.params, UpscaleParams):
            return {"scale": job.params.scale, "format": job.params.format}
        if not isinstance(job.params, ScoreParams):
            return {}
        # What we enlarged ourselves may be larger than what is taken from others.
        is_ours = job.params.purpose is Purpose.MEASURE
        generated = job.params.generated
        by_prompt = {"prompt": generated.request.prompt} if generated is not None else {}
        return {**({"measure": True} if is_ours else {}), **by_prompt}

    def _is_wanted(self, job: Job, drop: Drop | None, now: float) -> bool:
        """Whether the dropped file that asks for the job is still what was taken."""
        if drop is None or job.image_id is not None or self._sources.is_unchanged(drop):
            return True
        self._guard.check_root()  # else every file would look as if it had been taken away
        self._sources.give_up(drop, now)
        return False

    def hear(self, wait: float) -> Heard:
        """What the executor has to tell, waiting for it at most so many seconds."""
        told = self._executor.poll(0 if self._ended else wait)
        alive = [done for done in told if done.lost is None]
        if alive:
            loading, moved = all(map(_is_loading, alive)), any(map(self._is_further, alive))
            self._heartbeat.beat(time.monotonic(), loading=loading, moved=moved)
        elif not told and self._in_work and (silence := self._heartbeat.too_long(time.monotonic())) is not None:
            self._executor.abandon(f"the worker said nothing for {silence:.0f} s and was ended")
        self._end_what_is_stuck()
        trouble = None
        for done in told:
            try:
                trouble = self._handle(done) or trouble
            except EnvironmentTrouble as error:
                trouble = error.info()
        ended, self._ended = self._ended, []
        return Heard(ended, trouble)

    def _is_further(self, done: Done) -> bool:
        """Whether it tells of anything new, and not just again what was told last."""
        told, last = done.progress, self.progress
        if told is None or last is None:
            return True
        return (told.job_id, told.stage, told.step) != (last.job_id, last.stage, last.step)

    def _end_what_is_stuck(self) -> None:
        """A worker that does not get on although something that it has in work was cancelled is ended."""
        if not self._cancelled or self._leaving:
            return
        if self._heartbeat.is_stuck(time.monotonic(), self._cancelled_at, CANCEL_SECONDS):
            self._leaving = True
            log.warning(
                "the worker does not leave what was cancelled: it is ended, all else of its batch goes back"
            )
            self._executor.abandon("it was ended because it did not leave what was cancelled")

    def _handle(self, done: Done) -> ErrorInfo | None:
        """Gives the trouble, if nothing can be begun just now."""
        if done.progress is not None:
            self._note(done.progress)
        elif done.outcome is not None:
            job = self._in_work.get(done.outcome.job_id)
            if job is not None and job.claim == done.outcome.claim:  # else of an older claim
                self.rates.ended(time.monotonic())
                self._end(job, done.outcome, None)
        elif done.finished is not None:
            self._turns.loads(again=self._has_loaded)
            self._batch_over(None)
        elif done.other_version:
            self._batch_over(None)
            return Outdated(
                f"hotfolder was changed to {done.other_version} while the daemon of {VERSION} runs",
                "start it again, as systemd does by itself: hotfolder run",
            ).info()
        elif done.lost is not None:
            return self._lost(done.lost, started=done.started)
        return None

    def _note(self, told: Progress) -> None:
        before, self.progress = self.progress, told
        if before is None or (before.stage, before.steps) != (told.stage, told.steps) or told.step < before.step:
            self.stage_since = time.time()
        self._has_loaded = self._has_loaded or told.loading
        if not told.loading:
            self.rates.working(time.monotonic())
        job = self._in_work.get(told.job_id)
        if job is not None and job.crashes and not told.loading:
            # It was in work when a daemon died: should that happen again, it is the one.
            self._ledger.jobs.mark_begun(job)

    def _lost(self, how: str, *, started: bool) -> ErrorInfo | None:
        kind, model = self._group or (None, "")
        self._worker_ended()
        if self._leaving:
            self._leaving = False
            self._batch_over(None)
            return None
        error = fault_of_lost_worker(
            how, model, started=started, loading=self._heartbeat.loading,
            is_default_model=kind is not None and self._settings.is_own_model(kind, model),
        )  # fmt: skip
        if error.failure is FailureClass.ENVIRONMENT:
            self._batch_over(None)
            return error
        self._batch_over(error)
        return None

    def _worker_ended(self) -> None:
        """Nothing is loaded any more."""
        now = time.monotonic()
        self._turns.worker_ended(now)
        self.rates.worker_ended(now)

    def _batch_over(self, lost: ErrorInfo | None) -> None:
        """What got no outcome goes back: without blame after a stop, with blame when the worker died."""
        self.progress = None
        self.rates.over(time.monotonic())
        for job in self.in_work:
            self._end(job, None, lost)

    def _end(self, job: Job, outcome: Outcome | None, lost: ErrorInfo | None) -> None:
        error = outcome.error if outcome else None
        if error is not None and error.failure is FailureClass.ENVIRONMENT:
            self._turns.give_up(time.monotonic())  # so that what fails is not tried again before all else
        drop = self._drops.get(job.drop_id) if job.source is not None and job.image_id is None else None
        self._ended.append(Ended(job, drop, outcome, lost, job.id in self._cancelled))
        self._cancelled.discard(job.id)
        self._in_work.pop(job.id, None)

    def interrupt(self) -> None:
        """No more of the batch in work is begun than the image in work."""
        self._executor.interrupt()

    def close(self) -> None:
        """Ends the executor now."""
        self._executor.close()

    def _new_heartbeat(self) -> Heartbeat:
        executor = self._settings.of_root.executor
        return Heartbeat(executor.hang_seconds, executor.load_seconds)


def _is_loading(done: Done) -> bool:
    return done.progress is not None and done.progress.loading
