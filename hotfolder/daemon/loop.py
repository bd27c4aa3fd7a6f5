"""The one loop, and the order of starting and stopping."""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hotfolder.config.folder_settings import FolderSettings
from hotfolder.config.root import FILE_NAME
from hotfolder.config.settings import Settings, differences
from hotfolder.daemon.commands import Commands, Hold
from hotfolder.daemon.completion import Completion
from hotfolder.daemon.dispatcher import Dispatcher
from hotfolder.daemon.intake import Intake
from hotfolder.daemon.notifications import Notifications
from hotfolder.daemon.ratings import Ratings
from hotfolder.daemon.rebuild import open_or_rebuild
from hotfolder.errors import EnvironmentTrouble, HotfolderError, Interrupted
from hotfolder.executors.base import Executor
from hotfolder.folders.guard import Guard, check_folders, tidy_permissions
from hotfolder.folders.layout import Layout
from hotfolder.folders.lock import RootLock
from hotfolder.folders.watch import Watcher
from hotfolder.ledger.ledger import Ledger
from hotfolder.routing.router import Router
from hotfolder.status import live, mailbox
from hotfolder.system.logs import ALWAYS
from hotfolder.system.notification import Notifier
from hotfolder.types import ErrorInfo

log = logging.getLogger(__name__)
#: Longest wait, in seconds, while a batch is in work: files that arrive meanwhile are noticed this soon.
_BUSY_WAIT = 0.2
#: After a scan, events cause no other one for so many times what it took.
_SCAN_SHARE = 9
#: Without any event, the next scan waits for so many times what the last one took.
_RESCAN_SHARE = 200
#: Longest wait, in seconds, with nothing to do: an idle worker is let go about on time.
_IDLE_WAIT = 5.0
#: Longest wait, in seconds, for hooks and messages that are still to be run at the end.
_LAST_WORDS = 10.0
#: Seconds before people are told again of the same pause.
_TOLD_AGAIN = 600.0


@dataclass(frozen=True, slots=True)
class Report:
    """What a run came to."""

    done: int
    failed: int
    paused: str | None  # what stopped a run with `once` before it was through
    held: int = 0  # files that wait because the settings of their folder are not understood


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
        self._folder_settings = FolderSettings(root, settings)
        self._load = load
        self._reloading = threading.Event()
        self._notifier = Notifier()
        self._notifications = Notifications(str(root), settings.hooks, settings.notify)
        self._said_pause = ""  # why it was paused, as it was logged; empty when it goes on
        self._told_pauses: dict[str, float] = {}  # why it was paused -> when somebody was told
        self._idle_since_jobs = 0  # ended, when it was told last that all is done
        self._executor = executor
        self._clock = clock
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._paused: tuple[float, ErrorInfo] | None = None
        self._started_at = clock()
        self._recovered = self._set_back = False
        self._live = live.Live(self._layout.live_status, show, lambda told: self._notifier.status(live.line(told)))
        # Made by `_open`, once the lock is held.
        self._ledger: Ledger
        self._guard: Guard
        self._intake: Intake
        self._completion: Completion
        self._dispatcher: Dispatcher
        self._ratings: Ratings
        self._hold: Hold
        self._commands: Commands
        self._watcher: Watcher

    def stop(self) -> None:
        """Asks for an orderly end; may be called from a signal handler or another thread."""
        self._stopping.set()
        self._wake.set()

    def reload(self) -> None:
        """Asks for the settings to be read anew; may be called from a signal handler."""
        self._reloading.set()
        self._wake.set()

    def run(self, *, once: bool = False) -> Report:
        """Works until `stop` is called; with `once`, until nothing is left to do.

        Raises AlreadyRunning when another daemon has the root, UsageError when it spans file systems, LedgerError.
        """
        self._layout.make(self._folder_settings.settings.inboxes)
        check_folders(self._layout, self._folder_settings.settings.inboxes)
        lock = RootLock(self._layout.lock)
        lock.acquire()
        orderly = False
        try:
            self._open()
            log.info("working on %s, noticing files by %s", self._layout.root, self._watcher.mode)
            self._notifier.ready()
            while not self._stopping.is_set():
                wait, scan_is_put_off = self._turn()
                self._alive()
                if once and (self._waits() or self._drained()):
                    break
                self._listen(wait, scan_is_put_off)
            orderly = True
            return Report(self._completion.done, self._completion.failed, self._waits(), self._intake.held)
        finally:
            self._shut_down(orderly)
            lock.release()

    def _open(self) -> None:
        """First the ledger, then what a crash left, then the watch: a scan after it misses nothing."""
        self._notifier.alive()
        self._ledger = open_or_rebuild(self._layout, self._notifier.alive)
        self._notifier.alive()
        tidy_permissions(self._layout.database, self._layout.root / FILE_NAME)
        line = Router(self._folder_settings.policy)
        self._guard = Guard(self._layout)
        self._watcher = self._new_watcher()
        self._intake = Intake(
            self._layout, self._folder_settings, self._ledger, line, self._guard,
            found=lambda path: self._watcher.found(path), alive=self._alive,
        )  # fmt: skip
        self._completion = Completion(
            self._layout, self._folder_settings, self._ledger, self._intake, line, self._guard, self._clock,
            rescan=self._wake.set, pause=self._pause, tell=self._notifications.tell, alive=self._alive,
        )  # fmt: skip
        self._dispatcher = Dispatcher(
            self._layout, self._folder_settings, self._ledger, self._executor, self._intake, self._completion,
            self._guard, rescan=self._wake.set, pause=self._pause, alive=self._alive,
        )  # fmt: skip
        self._ratings = Ratings(self._layout, self._ledger, lambda: self._folder_settings.settings.output.rating)
        self._more_to_rate = False
        self._hold = Hold(self._layout)
        self._commands = Commands(
            self._layout, self._ledger, self._intake, self._completion, self._hold, self._clock,
            leave=self._dispatcher.leave, alive=self._alive,
        )  # fmt: skip
        try:
            self._resume()
            shutil.rmtree(self._layout.staging, ignore_errors=True)
            self._layout.staging.mkdir(parents=True, exist_ok=True)
        except EnvironmentTrouble as error:
            self._pause(error.info())
        mailbox.forget_answers(self._layout)
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
            self._dispatcher.clock_was_set_back(now)
            self._paused = (now, self._paused[1]) if self._paused else None
            self._set_back = True
        self._last_turn = now
        if self._reloading.is_set() and not self._dispatcher.is_busy:
            self._apply_new_settings()
        try:
            if self._set_back:
                self._ledger.clamp_waits(now + self._folder_settings.settings.retry.backoff_seconds)
                self._set_back = False
            if now >= self._next_scan or (self._wake.is_set() and now >= self._scan_not_before):
                self._scan(now)
            if self._paused and now >= self._paused[0]:
                self._resume()
            if not self._paused:
                if self._next_take is not None and now >= self._next_take:
                    self._next_take = self._intake.take(now)
                if self._hold.until(now) is None and not self._reloading.is_set():
                    self._dispatcher.feed(now)
                self._completion.finish_drops(now)
                self._more_to_rate = self._ratings.work()
            if self._said_pause and not self._paused:  # and that went well
                self._said_pause = ""
                log.info("going on")
            held = self._hold.until(now)
            next_job = self._ledger.next_due() if self._dispatcher.is_free and held is None else held
        except EnvironmentTrouble as error:
            self._pause(error.info())
            next_job = None
        self._tell()
        self._announce()
        put_off = self._wake.is_set()
        due = [max(self._scan_not_before, now) if put_off else self._next_scan]
        if self._more_to_rate:
            due.append(now)
        if self._paused:
            due.append(self._paused[0])
        else:
            due += [moment for moment in (self._next_take, next_job) if moment is not None]
        return max(0.0, min(due) - self._clock()), put_off

    def _scan(self, now: float) -> None:
        self._wake.clear()
        # Should it not come to its end: not again at once.
        self._next_scan = now + self._folder_settings.settings.retry.pause_seconds
        self._guard.check_root()
        self._commands.obey()
        self._intake.scan(now, self._dispatcher.works_on, fresh=self._watcher.is_fresh())
        # An inbox that was removed and made again needs a new watch; one that cannot be watched is read often.
        self._watcher.ensure()
        # Our own moves cause events, too: a huge inbox is not read again for each of them.
        self._scan_not_before = self._clock() + _SCAN_SHARE * (self._clock() - now)
        watch = self._folder_settings.settings.watch
        every = watch.rescan_seconds if self._watcher.alive else min(watch.rescan_seconds, watch.poll_seconds)
        took = self._clock() - now
        self._next_scan = now + max(every, (_RESCAN_SHARE if self._watcher.alive else _SCAN_SHARE) * took)
        self._next_take = now

    def _listen(self, wait: float, scan_is_put_off: bool) -> None:
        """Waits for the executor, for an event of the file system, or until something is due."""
        if self._live.is_late:  # the last moment was not told, for being so soon after another
            wait = min(wait, live.WRITE_EVERY)
        if self._dispatcher.is_busy:
            self._dispatcher.hear(min(wait, _BUSY_WAIT))
            self._tell()
            return
        self._dispatcher.hear(0)  # lets an idle worker go
        wait = min(wait, _IDLE_WAIT)
        if scan_is_put_off:
            self._stopping.wait(wait)
        elif self._wake.wait(wait):
            self._stopping.wait(0.02)  # a copied folder comes as a burst of events: one scan for all of them

    # --- pausing ---------------------------------------------------------------------------------

    def _pause(self, error: ErrorInfo, until: float | None = None) -> None:
        if _gist(error.message) != self._said_pause:
            self._said_pause = _gist(error.message)
            log.error("paused: %s (%s)", error.message, error.fix)
        self._paused = (until or self._clock() + self._folder_settings.settings.retry.pause_seconds, error)

    def _waits(self) -> str | None:
        """Why nothing is begun, if so."""
        return self._paused[1].message if self._paused else self._hold.reason(self._clock())

    def _resume(self) -> None:
        """Finishes what was begun; raises EnvironmentTrouble while that cannot be."""
        self._completion.finish_begun()
        if not self._recovered:
            recovered = self._ledger.recover()
            self._recovered = True
            if recovered:
                log.info("%d jobs that were in work go back into the queue", recovered)
                self._completion.quarantine()
        self._dispatcher.tidy()
        self._paused = None

    # --- other settings --------------------------------------------------------------------------

    def _apply_new_settings(self) -> None:
        """Between two batches: what is in work is done as it was begun. A bad file changes nothing."""
        self._reloading.clear()
        if self._load is None:
            return
        self._notifier.reloading()
        before = self._folder_settings.settings
        try:
            settings = self._load()
            self._layout.make(settings.inboxes)
            check_folders(self._layout, settings.inboxes)
        except Interrupted:
            raise
        except Exception as error:  # noqa: BLE001 - nothing that a file says may end a daemon that works
            fix = f" ({error.fix})" if isinstance(error, HotfolderError) else ""
            log.error("the configuration stays as it was: %s%s", error, fix, extra=ALWAYS)
            self._notifier.ready()
            return
        changed = differences(before, settings)
        for line in changed:
            log.info("configuration: %s", line)
        log.info("configuration read anew: %s", f"{len(changed)} changes" if changed else "nothing has changed")
        self._folder_settings.change(settings)
        self._notifications.change(settings.hooks, settings.notify)
        self._dispatcher.settings_changed(self._layout.database, before)
        if (before.inbox, before.watch.mode) != (settings.inbox, settings.watch.mode):
            self._watcher.stop()
            self._watcher = self._new_watcher()
            self._watcher.ensure()
        self._wake.set()
        self._notifier.ready()

    def _new_watcher(self) -> Watcher:
        inboxes = [self._layout.inbox(name) for name in self._folder_settings.settings.inboxes]
        return Watcher([*inboxes, self._layout.control], self._wake, self._folder_settings.settings.watch.mode)

    # --- telling, ending -------------------------------------------------------------------------

    def _tell(self) -> None:
        with contextlib.suppress(EnvironmentTrouble):  # of the database; whoever writes it next says so
            self._live.update(self._clock(), self._snapshot)

    def _alive(self) -> None:
        """The loop makes progress: nobody has to fear that it is stuck."""
        progress = self._dispatcher.progress
        self._notifier.alive(loading=progress is not None and progress.loading)

    def _announce(self) -> None:
        """To hooks and people: that nothing is begun any more, or that everything is done."""
        waits = self._waits()
        if (
            waits is not None
            and time.monotonic() - self._told_pauses.get(_gist(waits), -_TOLD_AGAIN) >= _TOLD_AGAIN
        ):
            self._told_pauses[_gist(waits)] = time.monotonic()
            self._notifications.tell("paused", {"reason": waits})
        ended = self._completion.done + self._completion.failed
        if ended != self._idle_since_jobs and waits is None and self._drained():
            self._notifications.tell("idle", {"done": self._completion.done, "failed": self._completion.failed})
            self._idle_since_jobs = ended

    def _snapshot(self) -> live.Snapshot:
        return live.snapshot(
            started_at=self._started_at,
            now=self._clock(),
            watcher=self._watcher.mode,
            progress=self._dispatcher.progress,
            since=self._dispatcher.stage_since,
            done=self._completion.done,
            failed=self._completion.failed,
            open_jobs=self._ledger.open_job_count(),
            unsettled=self._intake.unsettled,
            paused=self._waits(),
        )

    def _drained(self) -> bool:
        if self._dispatcher.is_busy or self._more_to_rate or self._intake.unsettled > self._intake.held:
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
        self._notifier.stopping()
        if not hasattr(self, "_wishes"):
            return
        self._watcher.stop()
        try:
            self._dispatcher.finish(
                self._folder_settings.settings.executor.stop_grace_seconds if orderly else None
            )
        finally:
            with contextlib.suppress(EnvironmentTrouble):
                self._live.update(self._clock(), self._snapshot, force=True)
            self._live.clear()
            self._ledger.close()
            self._notifications.close(_LAST_WORDS if orderly else 0)


def _gist(reason: str) -> str:
    """A reason without its numbers: the space that is left changes all the time."""
    return re.sub(r"[\d.,]+", "#", reason)
