"""Reading inboxes and results: when, and what is done on the way."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from hotfolder.config.folder_settings import FolderSettings
from hotfolder.config.settings import Settings
from hotfolder.daemon.commands import Asked
from hotfolder.daemon.old_claims import clear_old_claims
from hotfolder.daemon.parts import Parts
from hotfolder.daemon.schedule import ScanSchedule
from hotfolder.folders.layout import Layout
from hotfolder.folders.watch import Watcher
from hotfolder.ledger.ledger import Ledger


class Scans:
    """By events, and otherwise now and then. What was seen in an inbox is taken once it is complete."""

    def __init__(
        self, layout: Layout, settings: FolderSettings, ledger: Ledger, parts: Parts, wake: threading.Event
    ) -> None:
        """`wake` is set by whatever may be a reason to read the inboxes."""
        self._layout = layout
        self._settings = settings
        self._ledger = ledger
        self._parts = parts
        self._wake = wake
        self._inboxes, self._results = ScanSchedule(), ScanSchedule()
        self._next_take: float | None = None
        self.watcher = self._new_watcher()

    def settings_changed(self, before: Settings) -> None:
        """The settings in force are others now."""
        settings = self._settings.of_root
        if (before.inbox, before.watch.mode) != (settings.inbox, settings.watch.mode):
            self.watcher.stop()
            self.watcher = self._new_watcher()
            self.watcher.ensure()

    def _new_watcher(self) -> Watcher:
        settings = self._settings.of_root
        inboxes = [self._layout.inbox(name) for name in settings.inboxes]
        return Watcher([*inboxes, self._layout.control], self._wake, settings.watch.mode)

    def clock_was_set_back(self, now: float) -> None:
        """What was to be taken at a moment that is far ahead now is looked at at once."""
        self._next_take = now

    @property
    def next_take(self) -> float | None:
        """When a file may be complete, in seconds since the epoch."""
        return self._next_take

    def due_in(self, *, woken: bool) -> float:
        """Seconds until something is to be read; less than none when it is overdue."""
        return min(self._inboxes.due_at(woken=woken), self._results.due_at(woken=False)) - time.monotonic()

    @property
    def results_are_due(self) -> bool:
        return self._parts.results.more or self._results.is_due(time.monotonic(), woken=False)

    @property
    def inboxes_are_due(self) -> bool:
        return self._inboxes.is_due(time.monotonic(), woken=self._wake.is_set())

    def read_results(self, now: float) -> Iterator[None]:
        """Before commands are carried out: they find images where those are. Yields again and again while it works.

        Raises EnvironmentTrouble.
        """
        began = time.monotonic()
        settings = self._settings.of_root
        self._results.begin(began, settings.retry.pause_seconds)
        self._parts.guard.check_root()
        yield from self._parts.results.scan(now)
        clear_old_claims(self._layout, self._ledger.jobs.get)
        ended = time.monotonic()
        self._results.end(began, ended, settings.watch.rescan_seconds, events_come=True)

    def read_inboxes(self, now: float) -> Iterator[Asked | None]:
        """After the commands that wait. Yields again and again while it works, also what only the loop can do.

        Raises EnvironmentTrouble.
        """
        began = time.monotonic()
        self._wake.clear()
        settings = self._settings.of_root
        self._inboxes.begin(began, settings.retry.pause_seconds)
        self._parts.guard.check_root()
        self._parts.outbox.publish()
        yield from self._parts.commands.obey()
        self._parts.tasting.work()
        in_work = {job.drop_id for job in (*self._parts.dispatcher.in_work, *self._parts.outbox.gathered)}
        self._parts.intake.scan(now, in_work, self._parts.outbox.held_paths, fresh=self.watcher.is_fresh())
        # An inbox that was removed and made again needs a new watch; one that cannot be watched is read often.
        self.watcher.ensure()
        watch, events_come = settings.watch, self.watcher.alive
        every = watch.rescan_seconds if events_come else min(watch.rescan_seconds, watch.poll_seconds)
        self._inboxes.end(began, time.monotonic(), every, events_come=events_come)
        self._next_take = now

    def take(self, now: float) -> None:
        """Takes what is complete, if something may be. Raises EnvironmentTrouble."""
        if self._next_take is None or now < self._next_take:
            return
        taken = self._parts.intake.take(now)
        self._next_take = taken.next_at
        for follower, why in self._parts.completion.follow(taken.followers):
            self._parts.intake.stays(follower.sighting, why)
        for path in taken.new:
            self.watcher.found(path)
