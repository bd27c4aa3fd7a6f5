"""The one loop, and the order of starting and stopping."""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hotfolder import control, live
from hotfolder.errors import EnvironmentTrouble
from hotfolder.executors.base import Executor
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
from hotfolder.shift import Shift
from hotfolder.types import ErrorInfo, Kind
from hotfolder.wishes import Hold, Wishes

log = logging.getLogger(__name__)
#: Longest wait, in seconds, while a batch is in work: files that arrive meanwhile are noticed this soon.
_BUSY_WAIT = 0.2
#: After a scan, events cause no other one for so many times what it took.
_SCAN_SHARE = 9
#: Without any event, the next scan waits for so many times what the last one took.
_RESCAN_SHARE = 200
#: Longest wait, in seconds, with nothing to do: an idle worker is let go about on time.
_IDLE_WAIT = 5.0


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
        self._paused: tuple[float, ErrorInfo] | None = None
        self._started_at = clock()
        self._recovered = self._set_back = False
        self._live = live.Live(self._layout.live_status, show)
        # Made by `_open`, once the lock is held.
        self._ledger: Ledger
        self._guard: Guard
        self._intake: Intake
        self._results: Results
        self._shift: Shift
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
        self._shift = Shift(
            self._layout, self._settings, self._ledger, self._executor, self._intake, self._results, self._guard,
            rescan=self._wake.set, pause=self._pause,
        )  # fmt: skip
        self._hold = Hold(self._layout)
        self._wishes = Wishes(
            self._layout, self._ledger, self._intake, self._results, self._hold, self._clock,
            drop_running=self._shift.leave,
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
            self._shift.clock_was_set_back(now)
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
                if self._hold.until(now) is None:
                    self._shift.feed(now)
                self._results.finish_drops(now)
            held = self._hold.until(now)
            next_job = self._ledger.next_due() if self._shift.is_free and held is None else held
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
        # Should it not come to its end: not again at once.
        self._next_scan = now + self._settings.retry.pause_seconds
        self._guard.check_root()
        self._wishes.obey()
        self._intake.scan(now, self._shift.works_on, fresh=self._watcher.is_fresh())
        # An inbox that was removed and made again needs a new watch; one that cannot be watched is read often.
        self._watcher.ensure()
        # Our own moves cause events, too: a huge inbox is not read again for each of them.
        self._scan_not_before = self._clock() + _SCAN_SHARE * (self._clock() - now)
        watch = self._settings.watch
        every = watch.rescan_seconds if self._watcher.alive else min(watch.rescan_seconds, watch.poll_seconds)
        took = self._clock() - now
        self._next_scan = now + max(every, (_RESCAN_SHARE if self._watcher.alive else _SCAN_SHARE) * took)
        self._next_take = now

    def _listen(self, wait: float, scan_is_put_off: bool) -> None:
        """Waits for the executor, for an event of the file system, or until something is due."""
        if self._shift.is_busy:
            self._shift.hear(min(wait, _BUSY_WAIT))
            self._tell()
            return
        self._shift.hear(0)  # lets an idle worker go
        wait = min(wait, _IDLE_WAIT)
        if scan_is_put_off:
            self._stopping.wait(wait)
        elif self._wake.wait(wait):
            self._stopping.wait(0.02)  # a copied folder comes as a burst of events: one scan for all of them

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
        self._shift.tidy()
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
            progress=self._shift.progress,
            done=self._results.done,
            failed=self._results.failed,
            open_jobs=self._ledger.open_job_count(),
            unsettled=self._intake.unsettled,
            paused=self._waits(),
        )

    def _drained(self) -> bool:
        if self._shift.is_busy or self._intake.unsettled:
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
            self._shift.finish(self._settings.executor.stop_grace_seconds if orderly else None)
        finally:
            with contextlib.suppress(EnvironmentTrouble):
                self._live.update(self._clock(), self._snapshot, force=True)
            self._live.clear()
            self._ledger.close()
