"""The one loop, and the order of starting and stopping."""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, TypeVar

from hotfolder.config.folder_settings import FolderSettings
from hotfolder.config.settings import Settings
from hotfolder.daemon.commands import OF_A_DAEMON, Asked
from hotfolder.daemon.forecast import Forecast
from hotfolder.daemon.leaving import leave
from hotfolder.daemon.line import Line
from hotfolder.daemon.parts import Parts
from hotfolder.daemon.rebuild import open_or_rebuild
from hotfolder.daemon.reloading import Reloading, tidy
from hotfolder.daemon.reporter import Report, Reporter
from hotfolder.daemon.scans import Scans
from hotfolder.daemon.wake import Wake
from hotfolder.errors import EnvironmentTrouble, LedgerError
from hotfolder.executors.base import Executor
from hotfolder.folders.guard import check_folders, try_moves
from hotfolder.folders.layout import Layout
from hotfolder.folders.lock import RootLock
from hotfolder.ledger.ledger import Ledger
from hotfolder.status import live, mailbox

log = logging.getLogger(__name__)
T = TypeVar("T")
#: Longest wait, in seconds, while a batch is in work: files that arrive meanwhile are noticed this soon.
_BUSY_WAIT = 0.2
#: Longest wait, in seconds, with nothing to do: an idle worker is let go about on time.
_IDLE_WAIT = 5.0


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
        load: Callable[[], Settings] | None = None,
    ) -> None:
        """`show` is told how far it is; `load` reads the settings anew, and raises HotfolderError where it cannot."""
        self._layout = Layout(root)
        self._settings = FolderSettings(root, settings)
        self._executor = executor
        self._clock = clock
        self._reporter = Reporter(self._layout, settings, show)
        self._wake, self._stopping, self._to_reload = Wake(), Wake(), Wake()  # by signals, too
        self._reloading = Reloading(load, self._layout, self._settings, self._reporter)
        self._started_at = clock()
        self._last_turn = 0.0
        self._set_back = False  # the clock was, and waits in the ledger are still too long
        self._is_open = False
        self._is_sound = True  # the ledger is whole, and the one that was opened
        # Made by `_open`, once the lock is held.
        self._ledger: Ledger
        self._parts: Parts
        self._forecast: Forecast
        self._scans: Scans
        self._line: Line

    def stop(self) -> None:
        """Asks for an orderly end; may be called from a signal handler or another thread."""
        self._stopping.set()
        self._wake.set()

    def reload(self) -> None:
        """Asks for the settings to be read anew; may be called from a signal handler."""
        self._to_reload.set()
        self._wake.set()

    def run(self, *, once: bool = False) -> Report:
        """Works until `stop` is called; with `once`, until nothing is left to do.

        Raises AlreadyRunning when another daemon has the root, UsageError when it spans file systems, LedgerError.
        """
        inboxes = self._settings.of_root.inboxes
        self._layout.make(inboxes)
        check_folders(self._layout, inboxes)
        try_moves(self._layout, inboxes)
        with self._opened():
            watcher = self._scans.watcher
            watcher.ensure()
            log.info("working on %s, noticing files by %s", self._layout.root, watcher.mode)
            self._reporter.ready()
            while not self._stopping.is_set():
                wait, scan_is_put_off = _BUSY_WAIT, True  # should this turn not come to its end
                with self._parts.pauses.catching():
                    wait, scan_is_put_off = self._turn()
                self._line.alive()
                if once and (self._reason() or self._line.is_drained()):
                    break
                with self._parts.pauses.catching():
                    self._listen(wait, scan_is_put_off)
            outbox, intake = self._parts.outbox, self._parts.intake
            return Report(
                outbox.done, outbox.failed, self._reason(), held=intake.held, to_mend=intake.to_mend,
                unplaced=outbox.unplaced, outdated=self._line.outdated,
            )  # fmt: skip

    def obey(self) -> None:
        """Carries out the commands that wait, and nothing else: for a person who has no daemon running.

        Raises as `run`, and EnvironmentTrouble where the disk does not allow it.
        """
        self._layout.make(self._settings.of_root.inboxes)
        with self._opened():
            self._read_results(self._clock())
            for asked in self._parts.commands.obey():
                if asked is not None and asked.what == "reload":
                    asked.answer = {"kind": "not_running", "error": "no daemon runs that could read them"}
            self._parts.completion.finish_sources()

    @contextlib.contextmanager
    def _opened(self) -> Iterator[None]:
        """The lock, the ledger and the parts, for as long as this lasts; what comes to its end is ended in order."""
        lock = RootLock(self._layout.lock)
        ended_in_order = lock.acquire()
        orderly = False
        try:
            self._reporter.begin()
            self._open(thoroughly=not ended_in_order)
            yield
            orderly = True
        except LedgerError:
            self._is_sound = False
            raise
        finally:
            try:
                self._shut_down(orderly)
            finally:
                lock.release(in_order=orderly and self._is_sound)

    def _open(self, *, thoroughly: bool) -> None:
        """First the ledger, then what a crash left, then the watch: a scan after it misses nothing."""
        self._reporter.starting()
        steps = open_or_rebuild(self._layout, thoroughly=thoroughly, alive=self._reporter.starting)
        self._ledger = ledger = self._driven(steps)
        layout, settings = self._layout, self._settings
        tidy(layout, settings.of_root)
        self._parts = parts = Parts.made(layout, settings, ledger, self._executor, self._clock)
        devices = parts.dispatcher.devices
        self._forecast = Forecast(settings, ledger, devices, parts.drawings, self._started_at)
        self._scans = scans = Scans(layout, settings, ledger, parts, self._wake)
        self._line = Line(settings, ledger, parts, scans, self._reporter, self._wake, self._stopping)
        self._is_open = True
        with parts.pauses.catching():
            self._line.resume()
            shutil.rmtree(layout.staging, ignore_errors=True)
            layout.staging.mkdir(parents=True, exist_ok=True)
        mailbox.forget_answers(layout)
        mailbox.forget(layout, OF_A_DAEMON)

    def _driven(self, steps: Generator[None, None, T]) -> T:
        """Runs a long step of the start to its end."""
        while True:
            try:
                next(steps)
            except StopIteration as end:
                result: T = end.value
                return result
            self._reporter.starting()

    def _turn(self) -> tuple[float, bool]:
        """Looks at everything once; gives the seconds until something is due, and whether a scan is put off."""
        now = self._clock()
        if now < self._last_turn:
            log.warning("the clock was set back by %.0f s", self._last_turn - now)
            self._parts.pauses.try_now()
            self._scans.clock_was_set_back(now)
            self._set_back = True
        self._last_turn = now
        if self._to_reload.is_set():
            self._to_reload.clear()
            self._reloading.read()
        if self._reloading.waits and not self._parts.dispatcher.is_busy:
            self._reloading.apply(self._parts.dispatcher, self._scans)
            self._wake.set()
        next_job = None
        with self._parts.pauses.catching():
            self._read(now)
            next_job = self._line.work(now, may_begin=not self._reloading.waits)
        self._line.take_decisions()
        self._tell()
        self._announce()
        put_off = self._wake.is_set()
        scan_in = self._scans.due_in(woken=put_off)
        to_apply = self._reloading.waits and not self._parts.dispatcher.is_busy
        due = [now] if self._line.more_to_rate or self._parts.results.more or to_apply else []
        if (try_again := self._parts.pauses.try_again_at()) is not None:
            due.append(try_again)
        else:
            back_in = self._parts.dispatcher.devices.back_in()
            due += [self._clock() + back_in] if back_in is not None else []
            moments = (self._scans.next_take, next_job, self._parts.outbox.due_at())
            due += [moment for moment in moments if moment is not None]
        return max(0.0, min([scan_in, *(moment - self._clock() for moment in due)])), put_off

    def _read(self, now: float) -> None:
        """Reads results and inboxes where that is due, and carries out commands. Raises EnvironmentTrouble."""
        if self._set_back:
            self._ledger.jobs.clamp_waits(now + self._settings.of_root.retry.backoff_seconds)
            self._set_back = False
        if self._scans.results_are_due:
            self._read_results(now)
            for _ in self._parts.given_stars.act():
                self._line.alive()
        if self._scans.inboxes_are_due:
            for asked in self._scans.read_inboxes(now):
                if asked is not None:
                    asked.answer = self._answer(asked)
                self._line.alive()
                self._tell()

    def _read_results(self, now: float) -> None:
        for _ in self._scans.read_results(now):
            self._line.alive()

    def _listen(self, wait: float, scan_is_put_off: bool) -> None:
        """Waits for the executor, for an event of the file system, or until something is due."""
        if self._reporter.is_late:
            wait = min(wait, live.WRITE_EVERY)
        if self._parts.dispatcher.expects_news:
            self._line.hear(min(wait, _BUSY_WAIT))
            self._tell()
            return
        self._line.hear(0)  # lets an idle worker go
        wait = min(wait, _BUSY_WAIT if self._parts.dispatcher.expects_news else _IDLE_WAIT)
        if scan_is_put_off:
            self._stopping.wait(wait)
        elif self._wake.wait(wait):
            self._stopping.wait(0.02)  # a copied folder comes as a burst of events: one scan for all of them

    def _reason(self) -> str | None:
        """Why nothing is begun, if so."""
        return self._parts.pauses.reason(self._clock()) or self._parts.dispatcher.devices.why_none

    def _answer(self, asked: Asked) -> dict[str, Any]:
        """Does what only the loop can."""
        if asked.what == "reload":
            return {**self._reloading.read(), "waits_for_work": self._parts.dispatcher.is_busy}
        self.stop()
        in_work = [{"kind": job.kind, "source_file": job.source_file} for job in self._parts.dispatcher.in_work]
        waiting = self._ledger.jobs.open_count() - len(in_work)
        grace = self._settings.of_root.executor.stop_grace_seconds
        return {"finishing": in_work, "waiting": waiting, "grace_seconds": grace}

    def _tell(self) -> None:
        self._reporter.snapshot(self._clock(), self._snapshot)

    def _announce(self) -> None:
        """To hooks and people: that nothing is begun any more, or that everything is done."""
        reason, outbox = self._reason(), self._parts.outbox
        if reason is not None:
            self._reporter.paused(reason)
        elif self._reporter.is_news(outbox.done, outbox.failed) and self._line.is_drained():
            self._reporter.idle(outbox.done, outbox.failed)

    def _snapshot(self) -> live.Snapshot:
        left, devices = self._forecast.left(), self._parts.dispatcher.devices
        shown = devices.shown
        return live.snapshot(
            started_at=self._started_at,
            now=self._clock(),
            watcher=self._scans.watcher.mode,
            progress=shown.progress if shown else None,
            since=shown.stage_since if shown else 0.0,
            done=self._parts.outbox.done,
            failed=self._parts.outbox.failed,
            open_jobs=self._ledger.jobs.open_count(),
            unsettled=self._parts.intake.unsettled,
            paused=self._reason(),
            unplaced=self._parts.outbox.unplaced,
            taking=not self._parts.pauses.in_trouble,
            left_alone=self._parts.intake.left_alone,
            refused=self._reloading.refused.summary if self._reloading.refused else None,
            expected=left.jobs,
            left_seconds=left.seconds,
            devices=devices.told(),
        )

    def _shut_down(self, orderly: bool) -> None:
        """No new claims; the image in work is finished or put back; the executor, then the ledger.

        After an error, or a second signal, nothing is waited for, or put back: the next start sorts it out.
        """
        self._reporter.stopping()
        if not self._is_open:
            return
        self._scans.watcher.stop()
        try:
            self._line.finish(orderly=orderly)
            if self._is_sound:
                self._parts.guard.check_root()
                self._reporter.snapshot(self._clock(), self._snapshot, force=True)
        except LedgerError:
            self._is_sound = False
            raise
        except EnvironmentTrouble:
            self._is_sound = False  # the root is gone, and may come back as another one
        finally:
            if self._is_sound:
                self._ledger.close()
            else:
                leave(self._layout, self._ledger, self._parts.guard)
            self._reporter.close(orderly=orderly and self._is_sound)
