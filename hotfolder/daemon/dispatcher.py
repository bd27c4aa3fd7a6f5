"""The jobs in work: from the claim to the outcome, and what happens when the worker hangs or dies."""

from __future__ import annotations

import contextlib
import itertools
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hotfolder.config.folder_settings import FolderSettings
from hotfolder.config.settings import Settings
from hotfolder.core.batching import pick_batch
from hotfolder.core.heartbeat import Heartbeat
from hotfolder.daemon.completion import Completion, Pause
from hotfolder.daemon.intake import Intake
from hotfolder.errors import EnvironmentTrouble, WorkerLost
from hotfolder.executors.base import Done, Executor
from hotfolder.folders.guard import Guard
from hotfolder.folders.layout import Layout
from hotfolder.ledger.ledger import Ledger
from hotfolder.types import Batch, Drop, ErrorInfo, FailureClass, Item, Job, Kind, Outcome, Progress

log = logging.getLogger(__name__)


class Dispatcher:
    """One batch at a time goes to the executor.

    `pause` stops the queue, `rescan` asks for another look at the inboxes, `alive` is told of progress while a stop is
    waited for: all are the loop's.
    """

    def __init__(
        self,
        layout: Layout,
        folder_settings: FolderSettings,
        ledger: Ledger,
        executor: Executor,
        intake: Intake,
        results: Completion,
        guard: Guard,
        *,
        rescan: Callable[[], None],
        pause: Pause,
        alive: Callable[[], None],
    ) -> None:
        self.progress: Progress | None = None
        self.stage_since = 0.0  # seconds since the epoch
        self._layout = layout
        self._folder_settings = folder_settings
        self._ledger = ledger
        self._executor = executor
        self._intake = intake
        self._completion = results
        self._guard = guard
        self._rescan = rescan
        self._pause = pause
        self._alive = alive
        self._running: dict[int, Job] = {}
        self._cancelled: set[int] = set()  # in work, and not wanted any more
        self._batch_ids = itertools.count(1)
        self._pulse = Heartbeat(
            folder_settings.settings.executor.hang_seconds, folder_settings.settings.executor.load_seconds
        )
        self._resident: tuple[Kind, str] | None = None
        self._resident_since = 0.0

    @property
    def is_busy(self) -> bool:
        """Whether a batch is in work."""
        return bool(self._running)

    @property
    def is_free(self) -> bool:
        """Whether a batch may be submitted."""
        return not self._running and self._executor.capacity() > 0

    def works_on(self, drop: Drop) -> bool:
        return any(job.drop_id == drop.id for job in self._running.values())

    def leave(self, job_ids: Sequence[int]) -> None:
        """These jobs were cancelled: those of them that are in work do not count any more."""
        left = self._running.keys() & set(job_ids)
        self._cancelled |= left
        self._executor.cancel(left)

    def settings_changed(self, database: Path, before: Settings) -> None:
        """The settings in force are others now. Only between two batches: the worker starts anew if it has to know."""
        now = self._folder_settings.settings
        self._pulse = Heartbeat(now.executor.hang_seconds, now.executor.load_seconds)
        runner, idle = now.runner(database), now.executor.idle_unload_seconds
        if (runner, idle) != (before.runner(database), before.executor.idle_unload_seconds):
            self._executor.reconfigure(runner, idle)
            self._resident = None
        if now.executor.kind != before.executor.kind:
            log.warning("executor.kind takes effect at the next start")

    def clock_was_set_back(self, now: float) -> None:
        self._resident_since = now

    def feed(self, now: float) -> None:
        """Claims a batch and submits it. Raises EnvironmentTrouble when that cannot be."""
        if not self.is_free:
            return
        waiting = self._ledger.runnable(now, self._resident)
        if not waiting:
            return
        self._guard.check_space(self._folder_settings.settings.output.min_free_mb << 20)
        turn = now - self._resident_since
        picked = pick_batch(waiting, self._resident, turn, self._folder_settings.settings.batch_policy())
        wanted = [job for job in picked if self._is_wanted(job, now)]
        if not wanted:
            return
        jobs = self._ledger.claim(wanted, now)
        self._running = {job.id: job for job in jobs}
        items = tuple(
            Item(
                job_id=job.id,
                claim=job.claim,
                source=str(self._layout.root / job.source) if job.source else None,
                staging=str(self._layout.claim_folder(job.id, job.claim)),
                params=self._params_of(job),
            )
            for job in jobs
        )
        model = (jobs[0].kind, jobs[0].model)
        if model != self._resident:
            self._resident, self._resident_since = model, now
        try:
            self._executor.submit(Batch(next(self._batch_ids), *model, items))
            self._pulse.begin(model, time.monotonic())
        except EnvironmentTrouble:
            self._batch_over()
            raise

    def _params_of(self, job: Job) -> Mapping[str, Any]:
        """What a worker is told, with the init-image's place: in the ledger its path is relative to the root."""
        named = job.params.get("init_image")
        return {**job.params, "init_file": str(self._layout.root / named)} if named else job.params

    def _is_wanted(self, job: Job, now: float) -> bool:
        """Whether the dropped file that asks for the job is still what was taken."""
        drop = self._ledger.drop(job.drop_id) if job.image_id is None else None
        if drop is None or self._intake.unchanged(drop):
            return True
        self._guard.check_root()  # else every file would look as if it had been taken away
        self._intake.give_up(drop, now)
        self._rescan()
        return False

    def hear(self, wait: float) -> None:
        """What the executor has to tell, waiting for it at most so many seconds."""
        told = self._executor.poll(wait)
        alive = [done for done in told if done.lost is None]
        if alive:
            self._pulse.beat(time.monotonic(), loading=all(_is_loading(done) for done in alive))
        elif not told and self._running and (silence := self._pulse.too_long(time.monotonic())) is not None:
            self._executor.abandon(f"the worker said nothing for {silence:.0f} s and was ended")
        for done in told:
            try:
                self._handle(done)
            except EnvironmentTrouble as error:
                self._pause(error.info())

    def _handle(self, done: Done) -> None:
        if done.progress is not None:
            before, self.progress = self.progress, done.progress
            told = done.progress
            if (
                before is None
                or (before.stage, before.steps) != (told.stage, told.steps)
                or told.step < before.step
            ):
                self.stage_since = time.time()
            job = self._running.get(done.progress.job_id)
            if job is not None and job.crashes and not done.progress.loading:
                # It was in work when a daemon died: should that happen again, it is the one.
                self._ledger.mark_begun(job)
        elif done.outcome is not None:
            job = self._running.get(done.outcome.job_id)
            if job is not None and job.claim == done.outcome.claim:  # else of an older claim
                self._end(job, done.outcome, None)
        elif done.finished is not None:
            self._batch_over()
        elif done.lost is not None:
            self._lost(done.lost, started=done.started)

    def _lost(self, how: str, *, started: bool) -> None:
        model, self._resident = self._resident, None
        if not started:
            self._batch_over()
            raise EnvironmentTrouble(f"the worker cannot start: {how}", "see the log for its last words")
        if (
            self._pulse.loading
            and model is not None
            and model[1] == self._folder_settings.settings.default_model(model[0])
        ):
            # No file is to blame. Of a model that only some prompt asks for, that prompt is.
            self._batch_over()
            raise EnvironmentTrouble(
                f"loading '{model[1]}' failed: {how}", "see the log; is there memory enough for it?"
            )
        self._batch_over(WorkerLost(how, "the file may be too much for the device; see the log"))

    def _batch_over(self, lost: WorkerLost | None = None) -> None:
        """What got no outcome goes back: without blame after a stop, with blame when the worker died."""
        self.progress = None
        for job in list(self._running.values()):
            self._end(job, None, lost.info() if lost else None)

    def _end(self, job: Job, outcome: Outcome | None, lost: ErrorInfo | None) -> None:
        """The job is not in work any more. It stays in `_running` until the ledger knows."""
        if job.id in self._cancelled:
            self._completion.discard(job)
            self._running.pop(job.id, None)
            self._cancelled.discard(job.id)
            return
        error = outcome.error if outcome else None
        if error is not None and error.failure is FailureClass.ENVIRONMENT:
            self._resident = None  # so that what fails is not preferred for being what was tried last
        self._completion.settle(job, outcome, lost)
        self._running.pop(job.id, None)

    def tidy(self) -> None:
        """Puts back what some trouble kept from being put back."""
        if self._executor.capacity() > 0:
            self._batch_over()

    def finish(self, grace: float | None) -> None:
        """No new batch: what is in work is finished, or put back after so many seconds; then the executor ends.

        With None nothing is waited for or put back: the next start sorts it out.
        """
        try:
            self._executor.interrupt()
            deadline = time.monotonic() + (grace or 0)
            while self._running and time.monotonic() < deadline:
                self.hear(0.2)
                self._alive()
        finally:
            self._executor.close()
            with contextlib.suppress(EnvironmentTrouble):
                for job in self._running.values() if grace is not None else ():
                    self._completion.release(job)


def _is_loading(done: Done) -> bool:
    return done.progress is not None and done.progress.loading
