"""Batches to the devices and back: from the claim to what the executor tells of each job."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hotfolder.config.folder_settings import FolderSettings
from hotfolder.config.settings import Settings
from hotfolder.core.drawing import megapixels_worked
from hotfolder.daemon.blame import Blame, Lost
from hotfolder.daemon.choice import Choice, Chosen
from hotfolder.daemon.device_work import DeviceWork
from hotfolder.daemon.devices import Devices
from hotfolder.daemon.drawings import Drawings
from hotfolder.daemon.items import item_of
from hotfolder.daemon.sources import Sources
from hotfolder.daemon.taking_back import TakenBack, to_take_back
from hotfolder.errors import DeviceLost, EnvironmentTrouble, Outdated
from hotfolder.executors.base import Done, Executor
from hotfolder.executors.wire import VERSION
from hotfolder.folders.guard import Guard
from hotfolder.folders.layout import Layout
from hotfolder.ledger.ledger import Ledger
from hotfolder.types import Batch, Drop, ErrorInfo, FailureClass, Job, Outcome, Progress

log = logging.getLogger(__name__)
#: Seconds for which a worker may go on with what was cancelled without getting any further. Decoders cannot be
#: interrupted: then it is ended.
CANCEL_SECONDS = 10.0
#: Seconds that make a batch a long one: to publish its results takes some hundredths of one.
LONG = 1.0


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
    """A batch at a time goes to each device that asks for one."""

    def __init__(
        self,
        layout: Layout,
        settings: FolderSettings,
        ledger: Ledger,
        executor: Executor,
        guard: Guard,
        sources: Sources,
        drawings: Drawings,
    ) -> None:
        self._layout = layout
        self._settings = settings
        self._ledger = ledger
        self._executor = executor
        self._guard = guard
        self._sources = sources
        self._drawings = drawings
        self.devices = Devices(executor, settings, layout.drained)
        self._blame = Blame(settings, self.devices)
        self._choice = Choice(settings, ledger, self.devices)
        self._ended: list[Ended] = []  # not told yet
        self._batch_ids = itertools.count(1)
        self._taken_back: set[int] = set()  # jobs with which a device slowed down to a crawl

    @property
    def is_busy(self) -> bool:
        """Whether a batch is in work."""
        return bool(self._ended) or any(work.jobs for work in self.devices.all)

    @property
    def is_free(self) -> bool:
        """Whether a batch would be submitted if there was one."""
        return not self._choice.declined and bool(self.devices.free())

    @property
    def expects_news(self) -> bool:
        """Whether the executor has something to tell soon: of a batch in work, or that more can be given to a device.

        That a batch is over, it tells a moment after the batch's last job has ended. Until then its device is not
        free, and who waits for anything but the executor finds out late that it is.
        """
        return self.is_busy or self._has_remnants or self._waits_for_models

    @property
    def has_ended_long_batch(self) -> bool:
        """Whether a device that may be given work was long at its last batch.

        What follows from such a batch ought to be there when the next one is chosen: a first image would else be
        sorted a whole batch later. Beside it, to publish takes no time.
        """
        return any(work.took >= LONG for work in self.devices.free())

    @property
    def results_may_wait(self) -> bool:
        """Whether what has ended may be published a little later, together with more.

        Not where nothing more will come, a device has nothing to do but what may follow, or a job is in work with
        which a daemon has died before: should it do so again, it must take nothing with it that has ended.
        """
        return self.expects_news and not self.is_free and not any(job.crashes for job in self.in_work)

    @property
    def _has_remnants(self) -> bool:
        """Whether a device that has nothing in work is not through with what it had, or its worker is just leaving."""
        capacity = self._executor.capacity()
        return any(not work.jobs and not capacity.get(work.id, 1) for work in self.devices.all)

    @property
    def _waits_for_models(self) -> bool:
        """Whether something waits that a device does not get for want of a model, which may come at any time."""
        return bool(self._choice.declined) and any(work.lacks for work in self.devices.all)

    @property
    def in_work(self) -> list[Job]:
        return [job for work in self.devices.all for job in work.jobs.values()]

    def forget(self, job_ids: Sequence[int]) -> None:
        """These jobs have come to their end, or begin anew: what devices failed with them before does not count."""
        for job_id in job_ids:
            self._blame.forget(job_id)
        self._taken_back.difference_update(job_ids)

    def cancel(self, job_ids: Sequence[int]) -> None:
        """These jobs were cancelled: those of them that are in work do not count any more."""
        self.forget(job_ids)
        for work in self.devices.all:
            left = work.jobs.keys() & set(job_ids)
            work.cancelled |= left
            if left:
                work.unwanted_at = time.monotonic()
                self._executor.cancel(left, work.id)

    def settings_changed(self, before: Settings) -> None:
        """The settings in force are others now. Only while nothing is in work: workers start anew if they have to
        know."""
        now, database = self._settings.of_root, self._layout.database
        self.devices.settings_changed()
        runner, idle = now.runner(database), now.executor.idle_unload_seconds
        if (runner, idle) != (before.runner(database), before.executor.idle_unload_seconds):
            self._executor.reconfigure(runner, idle)
            for work in self.devices.all:
                work.over()
                work.worker_ended()

    def feed(self, now: float) -> None:
        """Claims batches and submits them, one to each device that is free. Raises EnvironmentTrouble when that cannot
        be."""
        self._look()
        free = self.devices.free()
        if not free:
            self._check_fit(now)
        while free:
            chosen = self._choice.choose(free, now)
            if chosen is None:
                break
            free.remove(chosen.work)
            self._begin(chosen, now)
        if free and not self._choice.declined:
            self._take_back(free)
        elif free and any(work.lacks for work in free):
            self._check_has_models()

    def _check_fit(self, now: float) -> None:
        """Raises EnvironmentTrouble where something waits and no device can be given work."""
        works = self.devices.all
        unfit = [work for work in works if work.unfit and work.batch_id is None]
        if unfit and len(unfit) == len(works) and self._ledger.jobs.groups(now):
            raise EnvironmentTrouble(
                f"no device can be given work; {unfit[0].id}: {unfit[0].unfit}", "see: hotfolder workers"
            )

    def _check_has_models(self) -> None:
        """Raises EnvironmentTrouble where something waits and no device has the models for it."""
        if (why := self.devices.why_nobody_can(self._choice.declined)) is not None:
            raise EnvironmentTrouble(why, "see: hotfolder workers")

    def _look(self) -> None:
        """Which devices there are. What one that is gone had in work goes back."""
        for gone in self.devices.look():
            self._batch_over(gone, None)

    def _begin(self, chosen: Chosen, now: float) -> None:
        work, picked = chosen.work, chosen.jobs
        self._guard.check_space(self._settings.of_root.output.min_free_mb << 20)
        drops = self._ledger.drops.of({job.drop_id for job in picked if job.image_id is None})
        wanted = [job for job in picked if self._is_wanted(job, drops.get(job.drop_id), now)]
        self.forget([job.id for job in picked if job not in wanted])
        jobs = self._ledger.jobs.claim(wanted, now) if wanted else []
        if not jobs:
            return
        items = tuple(item_of(job, _drop_of(job, drops), self._layout, self._settings) for job in jobs)
        occupied = self._settings.of_root.executor.occupied
        waits = occupied == "wait" or (occupied == "elsewhere" and bool(self.devices.others(work)))
        batch = Batch(next(self._batch_ids), jobs[0].kind, jobs[0].model, items, waits)
        work.begin(batch, jobs, drops, goes_first=chosen.goes_first)
        try:
            self._executor.submit(batch, work.id)
        except EnvironmentTrouble as error:
            self._batch_over(work, None)
            if not self.devices.others(work):
                raise
            self.devices.set_aside(work, error.message)
        else:
            work.submitted(self._drawings.megapixels(jobs))

    def _is_wanted(self, job: Job, drop: Drop | None, now: float) -> bool:
        """Whether the dropped file that asks for the job is still what was taken."""
        if drop is None or job.image_id is not None or self._sources.is_unchanged(drop):
            return True
        self._guard.check_root()  # else every file would look as if it had been taken away
        self._sources.give_up(drop, now)
        return False

    def _take_back(self, free: Sequence[DeviceWork]) -> None:
        """Nothing waits any more: what others have not begun yet, or do not get on with, is given to who is free."""
        for work in self.devices.all:
            found = to_take_back(work, free, self._taken_back)
            if found is None:
                continue
            self._executor.cancel(found.jobs, work.id)
            work.unwanted_at = time.monotonic()
            for job_id in found.jobs:
                # Whatever still comes of it is of an older claim.
                self._end(work, work.jobs[job_id], None, None)
            if found.why:
                self._give_up(work, found)
            return  # who is free may be no more after this

    def _give_up(self, work: DeviceWork, found: TakenBack) -> None:
        """It is slow to a crawl: its worker is ended, and it is tried again later with a new one."""
        self._taken_back.update(found.jobs)
        self.devices.set_aside(work, found.why)
        work.leaving = True
        self._executor.abandon(work.id, found.why)

    def hear(self, wait: float) -> Heard:
        """What the executor has to tell, waiting for it at most so many seconds."""
        self._look()  # nothing is begun for long, perhaps: what a device that is gone had is not waited for
        told = self._executor.poll(0 if self._ended else wait)
        for work in self.devices.all:
            self._listen(work, [done for done in told if done.device == work.id])
            self._end_what_is_stuck(work)
        trouble = None
        for done in told:
            heard_of = self.devices.get(done.device)
            if heard_of is None:
                continue  # it is gone, and what it had went back
            try:
                trouble = self._handle(heard_of, done) or trouble
            except EnvironmentTrouble as error:
                trouble = error.info()
        ended, self._ended = self._ended, []
        return Heard(ended, trouble)

    def _listen(self, work: DeviceWork, told: Sequence[Done]) -> None:
        """Whether its worker lives."""
        now, alive = time.monotonic(), [done for done in told if done.lost is None]
        if alive:
            loading, moved = all(map(_is_loading, alive)), any(map(work.is_further, alive))
            work.heartbeat.beat(now, loading=loading, moved=moved)
        elif not told and work.batch_id is not None and (silence := work.heartbeat.too_long(now)) is not None:
            work.leaving = work.leaving or work.has_remnants
            self._executor.abandon(work.id, f"the worker said nothing for {silence:.0f} s and was ended")

    def _end_what_is_stuck(self, work: DeviceWork) -> None:
        """A worker that does not get on although something that it is at was cancelled, or taken back, is ended."""
        since = work.unwanted_at
        if since is None or work.leaving or not (work.cancelled or work.has_remnants):
            return
        if work.heartbeat.is_stuck(time.monotonic(), since, CANCEL_SECONDS):
            work.leaving = True
            log.warning(
                "the worker of %s does not leave what is not wanted any more: it is ended, all else of its batch goes "
                "back", work.id,
            )  # fmt: skip
            self._executor.abandon(work.id, "it was ended because it did not leave what is not wanted any more")

    def _handle(self, work: DeviceWork, done: Done) -> ErrorInfo | None:
        """Gives the trouble, if nothing can be begun just now."""
        if done.progress is not None:
            self._note(work, done.progress)
        elif done.outcome is not None:
            job = work.jobs.get(done.outcome.job_id)
            if job is not None and job.claim == done.outcome.claim:  # else of an older claim
                self._come_to(work, job, done.outcome)
        elif done.finished is not None:
            if done.finished == work.batch_id:
                work.turns.loads(again=work.has_loaded)
                self._batch_over(work, None)
                self.devices.unload_drained(work)
        elif done.other_version:
            self._batch_over(work, None)
            return Outdated(
                f"hotfolder was changed to {done.other_version} while the daemon of {VERSION} runs",
                "start it again, as systemd does by itself: hotfolder run",
            ).info()
        elif done.lost is not None:
            if done.batch_id is None or done.batch_id == work.batch_id:
                return self._lost(work, done.lost, started=done.started)
            if work.batch_id is None:
                work.worker_ended()
        return None

    def _note(self, work: DeviceWork, told: Progress) -> None:
        self.devices.note(work, told)
        job = work.jobs.get(told.job_id)
        if job is not None and job.crashes and not told.loading:
            # It was in work when a daemon died: should that happen again, it is the one.
            self._ledger.jobs.mark_begun(job)

    def _come_to(self, work: DeviceWork, job: Job, outcome: Outcome) -> None:
        """What a job has come to; where that is the device's fault, and there are others, it goes back."""
        error = outcome.error
        work.ended(counts=not self._blame.is_of_device(error), megapixels=megapixels_worked(outcome))
        if error is None:
            self.devices.worked(work)
        elif error.kind == DeviceLost.kind:
            work.leaving = True  # its worker ends itself, and what else it has in work is not to blame
        goes_back = error is not None and self._blame.goes_elsewhere(work, job, error)
        self._end(work, job, None if goes_back else outcome, None)

    def _lost(self, work: DeviceWork, how: str, *, started: bool) -> ErrorInfo | None:
        work.worker_ended()
        lost = Lost() if work.leaving else self._blame.lost(work, how, started=started)
        work.leaving = False
        self._batch_over(work, lost.for_jobs)
        return lost.trouble

    def _batch_over(self, work: DeviceWork, lost: ErrorInfo | None) -> None:
        """What got no outcome goes back: without blame after a stop, with blame when the worker died."""
        work.over()
        for job in list(work.jobs.values()):
            self._end(work, job, None, lost)

    def _end(self, work: DeviceWork, job: Job, outcome: Outcome | None, lost: ErrorInfo | None) -> None:
        error = outcome.error if outcome else None
        if error is not None and error.failure is FailureClass.ENVIRONMENT:
            work.turns.give_up(time.monotonic())  # so that what fails is not tried again before all else
        self._ended.append(Ended(job, _drop_of(job, work.drops), outcome, lost, job.id in work.cancelled))
        work.cancelled.discard(job.id)
        work.jobs.pop(job.id, None)

    def interrupt(self) -> None:
        """No more of the batches in work is begun than the images in work."""
        self._executor.interrupt()

    def close(self) -> None:
        """Ends the executor now."""
        self._executor.close()


def _drop_of(job: Job, drops: Mapping[int, Drop]) -> Drop | None:
    """The dropped file that a job works on, if it does."""
    return drops.get(job.drop_id) if job.source is not None and job.image_id is None else None


def _is_loading(done: Done) -> bool:
    return done.progress is not None and done.progress.loading
