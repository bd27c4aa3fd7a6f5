"""The one loop, and the order of starting and stopping."""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, TypeVar

from hotfolder.config.folder_settings import FolderSettings
from hotfolder.config.root import FILE_NAME
from hotfolder.config.settings import Settings
from hotfolder.daemon.commands import OF_A_DAEMON, Asked
from hotfolder.daemon.forecast import Forecast
from hotfolder.daemon.leaving import leave
from hotfolder.daemon.old_claims import clear_old_claims
from hotfolder.daemon.parts import Parts
from hotfolder.daemon.rebuild import open_or_rebuild
from hotfolder.daemon.reloading import Reloading, log_changes
from hotfolder.daemon.reporter import Report, Reporter
from hotfolder.daemon.schedule import ScanSchedule
from hotfolder.errors import EnvironmentTrouble, LedgerError, Outdated
from hotfolder.executors.base import Executor
from hotfolder.files.trouble import explain
from hotfolder.folders.guard import check_folders, tidy_permissions, try_moves
from hotfolder.folders.layout import Layout
from hotfolder.folders.lock import RootLock
from hotfolder.folders.watch import Watcher
from hotfolder.ledger.ledger import Ledger
from hotfolder.status import live, mailbox
from hotfolder.types import ErrorInfo

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
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._to_reload = threading.Event()
        self._reloading = Reloading(load, self._layout)
        self._started_at = clock()
        self._recovered = self._set_back = self._more_to_rate = False
        self._schedule, self._results_schedule = ScanSchedule(), ScanSchedule()
        self._last_turn = 0.0
        self._next_take: float | None = None
        self._outdated: ErrorInfo | None = None
        self._is_open = False
        self._is_sound = True  # the ledger is whole, and the one that was opened
        # Made by `_open`, once the lock is held.
        self._ledger: Ledger
        self._parts: Parts
        self._forecast: Forecast
        self._watcher: Watcher

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
            self._watcher.ensure()
            log.info("working on %s, noticing files by %s", self._layout.root, self._watcher.mode)
            self._reporter.ready()
            while not self._stopping.is_set():
                wait, scan_is_put_off = _BUSY_WAIT, True  # should this turn not come to its end
                with self._pausing():
                    wait, scan_is_put_off = self._turn()
                self._alive()
                if once and (self._reason() or self._drained()):
                    break
                with self._pausing():
                    self._listen(wait, scan_is_put_off)
            outbox, intake = self._parts.outbox, self._parts.intake
            return Report(
                outbox.done, outbox.failed, self._reason(), held=intake.held, to_mend=intake.to_mend,
                unplaced=outbox.unplaced, outdated=self._outdated,
            )  # fmt: skip

    def obey(self) -> None:
        """Carries out the commands that wait, and nothing else: for a person who has no daemon running.

        Raises as `run`, and EnvironmentTrouble where the disk does not allow it.
        """
        self._layout.make(self._settings.of_root.inboxes)
        with self._opened():
            self._scan_results(self._clock())
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
        self._tidy_permissions()
        self._watcher = self._new_watcher()
        self._parts = parts = Parts.made(layout, settings, ledger, self._executor, self._clock)
        self._forecast = Forecast(settings, ledger, parts.dispatcher.devices, self._started_at)
        self._is_open = True
        with self._pausing():
            self._resume()
            shutil.rmtree(layout.staging, ignore_errors=True)
            layout.staging.mkdir(parents=True, exist_ok=True)
        mailbox.forget_answers(layout)
        mailbox.forget(layout, OF_A_DAEMON)

    def _tidy_permissions(self) -> None:
        layout, settings = self._layout, self._settings.of_root
        readers, secret = settings.output.readers, settings.holds_secrets
        tidy_permissions(layout.database, layout.lock, layout.root / FILE_NAME, readers=readers, secret=secret)

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
            self._next_take = now
            self._set_back = True
        self._last_turn = now
        if self._to_reload.is_set():
            self._to_reload.clear()
            self._read_settings()
        if self._reloading.waits and not self._parts.dispatcher.is_busy:
            self._apply_new_settings()
        next_job = None
        with self._pausing():
            next_job = self._work(now)
        self._take_decisions()
        self._tell()
        self._announce()
        put_off = self._wake.is_set()
        scan_at = min(self._schedule.due_at(woken=put_off), self._results_schedule.due_at(woken=False))
        scan_in = scan_at - time.monotonic()
        to_apply = self._reloading.waits and not self._parts.dispatcher.is_busy
        due = [now] if self._more_to_rate or self._parts.results.more or to_apply else []
        if (try_again := self._parts.pauses.try_again_at()) is not None:
            due.append(try_again)
        else:
            back_in = self._parts.dispatcher.devices.back_in()
            due += [self._clock() + back_in] if back_in is not None else []
            moments = (self._next_take, next_job, self._parts.outbox.due_at())
            due += [moment for moment in moments if moment is not None]
        return max(0.0, min([scan_in, *(moment - self._clock() for moment in due)])), put_off

    def _work(self, now: float) -> float | None:
        """Does what is due; gives the moment when the next job may be begun. Raises EnvironmentTrouble."""
        if self._set_back:
            self._ledger.jobs.clamp_waits(now + self._settings.of_root.retry.backoff_seconds)
            self._set_back = False
        if self._parts.results.more or self._results_schedule.is_due(time.monotonic(), woken=False):
            self._scan_results(now)
            for _ in self._parts.given_stars.act():
                self._alive()
        if self._schedule.is_due(time.monotonic(), woken=self._wake.is_set()):
            self._scan(now)
        try_again = self._parts.pauses.try_again_at()
        if try_again is not None and now >= try_again:
            self._resume()
        asked_until = self._parts.pauses.asked_until(now)
        if not self._parts.pauses.in_trouble:
            if self._next_take is not None and now >= self._next_take:
                taken = self._parts.intake.take(now)
                self._next_take = taken.next_at
                for follower, why in self._parts.completion.follow(taken.followers):
                    self._parts.intake.stays(follower.sighting, why)
                for path in taken.new:
                    self._watcher.found(path)
            if asked_until is None and not self._reloading.waits and not self._stopping.is_set():
                self._parts.dispatcher.feed(now)
            self._publish_if_due(now)
            self._parts.completion.finish_sources()
            self._more_to_rate = self._parts.ratings.work(self._settings.of_root.output.rating)
            self._take_decisions()
            self._parts.pauses.works()
        if asked_until is not None:
            return asked_until
        return self._ledger.jobs.next_due() if self._parts.dispatcher.is_free else None

    def _publish_if_due(self, now: float) -> None:
        """Many at a time, but at once where nothing more is in work, or a device waits for what may follow."""
        due, dispatcher = self._parts.outbox.due_at(), self._parts.dispatcher
        if due is not None and (now >= due or dispatcher.is_free or not dispatcher.expects_news):
            self._parts.outbox.publish()
        self._parts.outbox.place_again(now)

    def _scan_results(self, now: float) -> None:
        """Before commands are carried out: they find images where those are."""
        began = time.monotonic()
        settings = self._settings.of_root
        self._results_schedule.begin(began, settings.retry.pause_seconds)
        self._parts.guard.check_root()
        for _ in self._parts.results.scan(now):
            self._alive()
        clear_old_claims(self._layout, self._ledger.jobs.get)
        ended = time.monotonic()
        self._results_schedule.end(began, ended, settings.watch.rescan_seconds, events_come=True)

    def _scan(self, now: float) -> None:
        began = time.monotonic()
        self._wake.clear()
        settings = self._settings.of_root
        self._schedule.begin(began, settings.retry.pause_seconds)
        self._parts.guard.check_root()
        self._parts.outbox.publish()
        for asked in self._parts.commands.obey():
            if asked is not None:
                asked.answer = self._answer(asked)
            self._alive()
            self._tell()
        self._parts.tasting.work()
        in_work = {job.drop_id for job in (*self._parts.dispatcher.in_work, *self._parts.outbox.gathered)}
        self._parts.intake.scan(now, in_work, self._parts.outbox.held_paths, fresh=self._watcher.is_fresh())
        # An inbox that was removed and made again needs a new watch; one that cannot be watched is read often.
        self._watcher.ensure()
        watch, events_come = settings.watch, self._watcher.alive
        every = watch.rescan_seconds if events_come else min(watch.rescan_seconds, watch.poll_seconds)
        self._schedule.end(began, time.monotonic(), every, events_come=events_come)
        self._next_take = now

    def _listen(self, wait: float, scan_is_put_off: bool) -> None:
        """Waits for the executor, for an event of the file system, or until something is due."""
        if self._reporter.is_late:
            wait = min(wait, live.WRITE_EVERY)
        if self._parts.dispatcher.expects_news:
            self._hear(min(wait, _BUSY_WAIT))
            self._tell()
            return
        self._hear(0)  # lets an idle worker go
        wait = min(wait, _BUSY_WAIT if self._parts.dispatcher.expects_news else _IDLE_WAIT)
        if scan_is_put_off:
            self._stopping.wait(wait)
        elif self._wake.wait(wait):
            self._stopping.wait(0.02)  # a copied folder comes as a burst of events: one scan for all of them

    def _hear(self, wait: float) -> None:
        heard = self._parts.dispatcher.hear(wait)
        if heard.trouble is not None and heard.trouble.kind == Outdated.kind:
            self._outdated = heard.trouble  # nothing can be begun by this process any more
            self.stop()
        elif heard.trouble is not None:
            self._pause(heard.trouble)
        for ended in heard.ended:
            with self._pausing():
                if self._parts.completion.end(ended):
                    self._parts.dispatcher.forget([ended.job.id])
            if self._parts.outbox.is_full:
                self._parts.outbox.publish()
                self._alive()
        self._take_decisions()

    def _take_decisions(self) -> None:
        """What the parts have found since this was done last."""
        pause = self._parts.outbox.take_pause()
        if pause is not None:
            self._pause(pause.error, pause.until)
        if self._parts.sources.look_again:
            self._wake.set()
        self._reporter.events(self._parts.outbox.events())
        for news in self._parts.dispatcher.devices.take_news():
            self._reporter.device(news)

    @contextlib.contextmanager
    def _pausing(self) -> Iterator[None]:
        """Trouble with the machine, of whatever kind, ends nothing: for a while nothing new is begun."""
        try:
            yield
        except EnvironmentTrouble as error:
            self._pause(error.info())
        except OSError as error:  # whose fault it is, no part has said
            log.warning("unexpected %s", type(error).__name__, exc_info=error)
            self._pause(explain(error).info())

    def _pause(self, error: ErrorInfo, until: float | None = None) -> None:
        usual = self._clock() + self._settings.of_root.retry.pause_seconds
        self._parts.pauses.trouble(error, until or usual)

    def _reason(self) -> str | None:
        """Why nothing is begun, if so."""
        return self._parts.pauses.reason(self._clock()) or self._parts.dispatcher.devices.why_none

    def _resume(self) -> None:
        """Finishes what was begun; raises EnvironmentTrouble while that cannot be."""
        self._parts.outbox.resume()
        self._parts.completion.resume()
        if not self._recovered:
            recovered = self._ledger.jobs.recover()
            self._recovered = True
            if recovered:
                log.info("%d jobs that were in work go back into the queue", recovered)
                self._parts.completion.quarantine()
        self._parts.pauses.trouble_is_over()

    def _answer(self, asked: Asked) -> dict[str, Any]:
        """Does what only the loop can."""
        if asked.what == "reload":
            return {**self._read_settings(), "waits_for_work": self._parts.dispatcher.is_busy}
        self.stop()
        in_work = [{"kind": job.kind, "source_file": job.source_file} for job in self._parts.dispatcher.in_work]
        waiting = self._ledger.jobs.open_count() - len(in_work)
        grace = self._settings.of_root.executor.stop_grace_seconds
        return {"finishing": in_work, "waiting": waiting, "grace_seconds": grace}

    def _read_settings(self) -> dict[str, Any]:
        """They are in force when nothing is in work any more. A bad file changes nothing."""
        told = self._reloading.read(self._settings.of_root)
        if not self._reloading.waits:
            self._reporter.reloading()
            self._reporter.ready()
        return told

    def _apply_new_settings(self) -> None:
        """Between two batches: what is in work is done as it was begun."""
        self._reporter.reloading()
        before = self._settings.of_root
        settings = self._reloading.take()
        if settings is not None:
            self._settings.change(settings)
            self._tidy_permissions()
            self._reporter.settings_changed(settings)
            self._parts.dispatcher.settings_changed(before)
            if (before.inbox, before.watch.mode) != (settings.inbox, settings.watch.mode):
                self._watcher.stop()
                self._watcher = self._new_watcher()
                self._watcher.ensure()
            log_changes(before, settings)
            self._wake.set()
        self._reporter.ready()

    def _new_watcher(self) -> Watcher:
        settings = self._settings.of_root
        inboxes = [self._layout.inbox(name) for name in settings.inboxes]
        return Watcher([*inboxes, self._layout.control], self._wake, settings.watch.mode)

    def _tell(self) -> None:
        self._reporter.snapshot(self._clock(), self._snapshot)

    def _alive(self) -> None:
        self._reporter.alive(loading=self._parts.dispatcher.devices.is_loading)

    def _announce(self) -> None:
        """To hooks and people: that nothing is begun any more, or that everything is done."""
        reason, outbox = self._reason(), self._parts.outbox
        if reason is not None:
            self._reporter.paused(reason)
        elif self._reporter.is_news(outbox.done, outbox.failed) and self._drained():
            self._reporter.idle(outbox.done, outbox.failed)

    def _snapshot(self) -> live.Snapshot:
        left, devices = self._forecast.left(), self._parts.dispatcher.devices
        shown = devices.shown
        return live.snapshot(
            started_at=self._started_at,
            now=self._clock(),
            watcher=self._watcher.mode,
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
            refused=self._reloading.refused.message if self._reloading.refused else None,
            expected=left.jobs,
            left_seconds=left.seconds,
            devices=devices.told(),
        )

    def _drained(self) -> bool:
        """Whether nothing is left to do, but for what waits for a person."""
        parts = self._parts
        busy = parts.dispatcher.is_busy or parts.outbox.gathered or self._more_to_rate or parts.results.more
        if busy or parts.sources.look_again or parts.intake.unsettled > parts.intake.held:
            return False
        with self._pausing():
            return self._parts.outbox.is_all_done()
        return False

    def _shut_down(self, orderly: bool) -> None:
        """No new claims; the image in work is finished or put back; the executor, then the ledger.

        After an error, or a second signal, nothing is waited for, or put back: the next start sorts it out.
        """
        self._reporter.stopping()
        if not self._is_open:
            return
        self._watcher.stop()
        try:
            self._finish(orderly)
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

    def _finish(self, orderly: bool) -> None:
        """What is in work, and then the executor."""
        if orderly:
            self._reporter.finishing(self._parts.dispatcher.in_work, self._ledger.jobs.open_count())
        try:
            self._parts.dispatcher.interrupt()
            deadline = time.monotonic() + (self._settings.of_root.executor.stop_grace_seconds if orderly else 0)
            while self._parts.dispatcher.is_busy and time.monotonic() < deadline:
                self._hear(0.2)
                self._alive()
        finally:
            self._parts.dispatcher.close()
        with contextlib.suppress(EnvironmentTrouble):
            if orderly:
                self._parts.outbox.publish()
                for job in self._parts.dispatcher.in_work:
                    self._parts.completion.release(job)
        self._take_decisions()
