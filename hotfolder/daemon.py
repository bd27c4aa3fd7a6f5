"""The one loop, and the order of starting and stopping."""

from __future__ import annotations

import contextlib
import itertools
import logging
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hotfolder import control, live
from hotfolder.core.batching import pick_batch
from hotfolder.core.pulse import Pulse
from hotfolder.errors import EnvironmentTrouble, WorkerLost
from hotfolder.executors.base import Done, Executor
from hotfolder.folders.guard import Guard, check_folders, tidy_permissions
from hotfolder.folders.layout import Layout
from hotfolder.folders.lock import RootLock
from hotfolder.folders.watch import Watcher
from hotfolder.intake import Intake
from hotfolder.ledger.ledger import Ledger
from hotfolder.line import Line
from hotfolder.rebuild import open_or_rebuild
from hotfolder.results import Results
from hotfolder.root import FILE_NAME
from hotfolder.settings import Settings
from hotfolder.types import (
    Batch,
    Drop,
    ErrorInfo,
    FailureClass,
    Item,
    Job,
    Kind,
    Outcome,
    Progress,
)
from hotfolder.wishes import Hold, Wishes

log = logging.getLogger(__name__)
_MODEL_TROUBLE = ("model_missing", "model_damaged")
#: Longest wait, in seconds, while a batch is in work: files that arrive meanwhile are noticed this soon.
_BUSY_WAIT = 0.2
#: After a scan, events cause no other one for so many times what it took.
_SCAN_SHARE = 9
#: Without any event, the next scan waits for so many times what the last one took.
_RESCAN_SHARE = 200
#: Longest wait, in seconds, with nothing to do: an idle worker is let go about on time.
_IDLE_WAIT = 5.0


def _is_loading(done: Done) -> bool:
    return done.progress is not None and done.progress.loading


@dataclass(frozen=True, slots=True)
class Report:
    """What a run came to."""

    done: int
    failed: int
    paused: str | None  # what stopped a run with `once` before it was through


class Daemon:
    """Works one root: files in, jobs through the executor, results out."""

    def __init__(
        self,
        root: Path,
        settings: Settings,
        executor: Executor,
        *,
        clock: Callable[[], float] = time.time,
        show: Callable[[live.Snapshot], None] | None = None,
    ) -> None:
        self._layout = Layout(root)
        self._settings = settings
        self._executor = executor
        self._clock = clock
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._running: dict[int, Job] = {}
        self._cancelled: set[int] = set()  # in work, and not wanted any more
        self._batch_ids = itertools.count(1)
        self._pulse = Pulse(settings.executor.hang_seconds, settings.executor.load_seconds)
        self._resident: tuple[Kind, str] | None = None
        self._resident_since = 0.0
        self._progress: Progress | None = None
        self._paused: tuple[float, ErrorInfo] | None = None
        self._started_at = clock()
        self._recovered = self._set_back = False
        self._live = live.Live(self._layout.live_status, show)
        # Made by `_open`, once the lock is held.
        self._ledger: Ledger
        self._guard: Guard
        self._intake: Intake
        self._results: Results
        self._hold: Hold
        self._wishes: Wishes
        self._watcher: Watcher

    def stop(self) -> None:
        """Asks for an orderly end; may be called from a signal handler or another thread."""
        self._stopping.set()
        self._wake.set()

    def run(self, *, once: bool = False) -> Report:
        """Works until `stop` is called; with `once`, until nothing is left to do.

        Raises AlreadyRunning when another daemon has the root, UsageError when it spans file systems, LedgerError.
        """
        self._layout.make()
        check_folders(self._layout)
        lock = RootLock(self._layout.lock)
        lock.acquire()
        orderly = False
        try:
            self._open()
            log.info("working on %s, noticing files by %s", self._layout.root, self._watcher.mode)
            while not self._stopping.is_set():
                wait, scan_is_put_off = self._turn()
                if once and (self._waits() or self._drained()):
                    break
                self._listen(wait, scan_is_put_off)
            orderly = True
            return Report(self._results.done, self._results.failed, self._waits())
        finally:
            self._shut_down(orderly)
            lock.release()

    def _open(self) -> None:
        """First the ledger, then what a crash left, then the watch: a scan after it misses nothing."""
        self._ledger = open_or_rebuild(self._layout)
        tidy_permissions(self._layout.database, self._layout.root / FILE_NAME)
        models = {kind: self._settings.default_model(kind) for kind in Kind}
        line = Line(self._settings.gate_policy(), models, self._settings.upscale.min_gain)
        self._guard = Guard(self._layout)
        inboxes = [self._layout.inbox(kind) for kind in Kind]
        watcher = Watcher([*inboxes, self._layout.control], self._wake, self._settings.watch.mode)
        self._intake = Intake(self._layout, self._settings, self._ledger, line, self._guard, watcher.found)
        self._results = Results(
            self._layout, self._settings, self._ledger, self._intake, line, self._guard, self._clock,
            rescan=self._wake.set, pause=self._pause,
        )  # fmt: skip
        self._hold = Hold(self._layout)
        self._wishes = Wishes(
            self._layout, self._ledger, self._intake, self._results, self._hold, self._clock,
            drop_running=self._drop_running,
        )  # fmt: skip
        self._watcher = watcher
        try:
            self._resume()
            shutil.rmtree(self._layout.staging, ignore_errors=True)
            self._layout.staging.mkdir(parents=True, exist_ok=True)
        except EnvironmentTrouble as error:
            self._pause(error.info())
        control.forget_answers(self._layout)
        self._watcher.ensure()
        self._next_scan = self._scan_not_before = self._last_turn = 0.0
        self._next_take: float | None = None

    # --- one turn of the loop --------------------------------------------------------------------

    def _turn(self) -> tuple[float, bool]:
        """Looks at everything once; gives the seconds until something is due, and whether a scan is put off."""
        now = self._clock()
        if now < self._last_turn:
            log.warning("the clock was set back by %.0f s", self._last_turn - now)
            self._next_scan = self._scan_not_before = now
            self._resident_since = now
            self._paused = (now, self._paused[1]) if self._paused else None
            self._set_back = True
        self._last_turn = now
        try:
            if self._set_back:
                self._ledger.clamp_waits(now + self._settings.retry.backoff_seconds)
                self._set_back = False
            if now >= self._next_scan or (self._wake.is_set() and now >= self._scan_not_before):
                self._scan(now)
            if self._paused and now >= self._paused[0]:
                self._resume()
            if not self._paused:
                if self._next_take is not None and now >= self._next_take:
                    self._next_take = self._intake.take(now)
                self._feed(now)
                self._results.finish_drops(now)
            held = self._hold.until(now)
            next_job = self._ledger.next_due() if self._is_free() and held is None else held
        except EnvironmentTrouble as error:
            self._pause(error.info())
            next_job = None
        self._tell()
        put_off = self._wake.is_set()
        due = [max(self._scan_not_before, now) if put_off else self._next_scan]
        if self._paused:
            due.append(self._paused[0])
        else:
            due += [moment for moment in (self._next_take, next_job) if moment is not None]
        return max(0.0, min(due) - self._clock()), put_off

    def _scan(self, now: float) -> None:
        self._wake.clear()
        self._guard.check_root()
        self._wishes.obey()
        self._intake.scan(now, self._is_running, fresh=self._watcher.is_fresh())
        # An inbox that was removed and made again needs a new watch; one that cannot be watched is read often.
        self._watcher.ensure()
        # Our own moves cause events, too: a huge inbox is not read again for each of them.
        self._scan_not_before = self._clock() + _SCAN_SHARE * (self._clock() - now)
        watch = self._settings.watch
        every = watch.rescan_seconds if self._watcher.alive else min(watch.rescan_seconds, watch.poll_seconds)
        took = self._clock() - now
        self._next_scan = now + max(every, (_RESCAN_SHARE if self._watcher.alive else _SCAN_SHARE) * took)
        self._next_take = now

    def _is_free(self) -> bool:
        """Whether a batch may be submitted."""
        return not self._running and self._executor.capacity() > 0

    def _feed(self, now: float) -> None:
        """Claims a batch and submits it."""
        if not self._is_free() or self._hold.until(now) is not None:
            return
        turn = now - self._resident_since
        waiting = self._ledger.runnable(now, self._resident)
        if not waiting:
            return
        self._guard.check_space(self._settings.output.min_free_mb << 20)
        picked = pick_batch(waiting, self._resident, turn, self._settings.batch_policy())
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
                params=job.params,
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

    def _is_wanted(self, job: Job, now: float) -> bool:
        """Whether the dropped file that asks for the job is still what was taken."""
        drop = self._ledger.drop(job.drop_id) if job.image_id is None else None
        if drop is None or self._intake.unchanged(drop):
            return True
        self._intake.give_up(drop, now)
        self._wake.set()
        return False

    def _drop_running(self, drop_id: int) -> None:
        self._cancelled |= {job.id for job in self._running.values() if job.drop_id == drop_id}

    def _is_running(self, drop: Drop) -> bool:
        return any(job.drop_id == drop.id for job in self._running.values())

    # --- what the executor tells -----------------------------------------------------------------

    def _listen(self, wait: float, scan_is_put_off: bool) -> None:
        """Waits for the executor, for an event of the file system, or until something is due."""
        if self._running:
            self._hear(min(wait, _BUSY_WAIT))
            return
        self._hear(0)  # lets an idle worker go
        wait = min(wait, _IDLE_WAIT)
        if scan_is_put_off:
            self._stopping.wait(wait)
        elif self._wake.wait(wait):
            self._stopping.wait(0.02)  # a copied folder comes as a burst of events: one scan for all of them

    def _hear(self, wait: float) -> None:
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
            self._tell()

    def _handle(self, done: Done) -> None:
        if done.progress is not None:
            self._progress = done.progress
            job = self._running.get(done.progress.job_id)
            if job is not None and job.crashes and not done.progress.loading:
                self._ledger.mark_begun(
                    job
                )  # it was in work when a daemon died: should that happen again, it is it
        elif done.outcome is not None:
            self._outcome(done.outcome)
        elif done.finished is not None:
            self._batch_over()
        elif done.lost is not None:
            model, self._resident = self._resident, None
            if not done.started:
                self._batch_over()
                raise EnvironmentTrouble(f"the worker cannot start: {done.lost}", "see the log for its last words")
            if self._pulse.loading and model is not None and model[1] == self._settings.default_model(model[0]):
                # No file is to blame. Of a model that only some prompt asks for, that prompt is.
                self._batch_over()
                raise EnvironmentTrouble(
                    f"loading '{model[1]}' failed: {done.lost}", "see the log; is there memory enough for it?"
                )
            self._batch_over(WorkerLost(done.lost, "the file may be too much for the device; see the log"))

    def _outcome(self, outcome: Outcome) -> None:
        job = self._running.get(outcome.job_id)
        if job is None or job.claim != outcome.claim:
            return  # of an older claim: somebody else has the job now
        self._end(job, outcome, None)

    def _batch_over(self, lost: WorkerLost | None = None) -> None:
        """What got no outcome goes back: without blame after a stop, with blame when the worker died."""
        self._progress = None
        for job in list(self._running.values()):
            self._end(job, None, lost.info() if lost else None)

    def _end(self, job: Job, outcome: Outcome | None, lost: ErrorInfo | None) -> None:
        """The job is not in work any more. It stays in `_running` until the ledger knows."""
        if job.id in self._cancelled:
            self._results.discard(job)
            self._running.pop(job.id, None)
            self._cancelled.discard(job.id)
            return
        error = outcome.error if outcome else None
        if error is not None and error.failure is FailureClass.ENVIRONMENT:
            self._resident = None  # so that what fails is not preferred for being what was tried last
        self._results.settle(job, outcome, lost)
        self._running.pop(job.id, None)

    # --- pausing ---------------------------------------------------------------------------------

    def _pause(self, error: ErrorInfo, until: float | None = None) -> None:
        if self._paused is None or self._paused[1] != error:
            log.error("paused: %s (%s)", error.message, error.fix)
        self._paused = (until or self._clock() + self._settings.retry.pause_seconds, error)

    def _waits(self) -> str | None:
        """Why nothing is begun, if so."""
        return self._paused[1].message if self._paused else self._hold.reason(self._clock())

    def _resume(self) -> None:
        """Finishes what was begun; raises EnvironmentTrouble while that cannot be."""
        self._results.finish_begun()
        if not self._recovered:
            recovered = self._ledger.recover()
            self._recovered = True
            if recovered:
                log.info("%d jobs that were in work go back into the queue", recovered)
                self._results.quarantine()
        if self._executor.capacity() > 0:
            self._batch_over()  # jobs whose release the trouble prevented
        if self._paused:
            log.info("going on")
        self._paused = None

    # --- telling, ending -------------------------------------------------------------------------

    def _tell(self) -> None:
        with contextlib.suppress(EnvironmentTrouble):  # of the database; whoever writes it next says so
            self._live.update(self._clock(), self._snapshot)

    def _snapshot(self) -> live.Snapshot:
        return live.snapshot(
            started_at=self._started_at,
            now=self._clock(),
            watcher=self._watcher.mode,
            progress=self._progress,
            done=self._results.done,
            failed=self._results.failed,
            open_jobs=self._ledger.open_job_count(),
            unsettled=self._intake.unsettled,
            paused=self._waits(),
        )

    def _drained(self) -> bool:
        if self._running or self._intake.unsettled:
            return False
        try:
            return not (self._ledger.open_job_count() or self._ledger.finished_drops(None))
        except EnvironmentTrouble as error:
            self._pause(error.info())
            return False

    def _shut_down(self, orderly: bool) -> None:
        """No new claims; the image in work is finished or put back; the executor, then the ledger.

        After an error, or a second signal, nothing is waited for.
        """
        if not hasattr(self, "_watcher"):
            return
        self._watcher.stop()
        try:
            self._executor.interrupt()
            grace = self._settings.executor.stop_grace_seconds if orderly else 0
            deadline = time.monotonic() + grace
            while self._running and time.monotonic() < deadline:
                self._hear(_BUSY_WAIT)
        finally:
            self._executor.close()
            with contextlib.suppress(EnvironmentTrouble):
                for job in self._running.values() if orderly else ():
                    self._results.release(job)
            # What is not released, the next start sorts out: the journal may hold what one of them has staged.
            with contextlib.suppress(EnvironmentTrouble):
                self._live.update(self._clock(), self._snapshot, force=True)
            self._live.clear()
            self._ledger.close()
