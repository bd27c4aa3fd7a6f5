"""The parts at work: what is due is begun, published and finished, in this order."""

from __future__ import annotations

import contextlib
import logging
import threading
import time

from hotfolder.config.folder_settings import FolderSettings
from hotfolder.daemon.parts import Parts
from hotfolder.daemon.reporter import Reporter
from hotfolder.daemon.scans import Scans
from hotfolder.errors import EnvironmentTrouble, Outdated
from hotfolder.ledger.ledger import Ledger
from hotfolder.types import ErrorInfo

log = logging.getLogger(__name__)


class Line:
    """Made once the ledger is open. The loop says when."""

    def __init__(
        self,
        settings: FolderSettings,
        ledger: Ledger,
        parts: Parts,
        scans: Scans,
        reporter: Reporter,
        wake: threading.Event,
        stopping: threading.Event,
    ) -> None:
        """`wake` makes the loop read the inboxes, `stopping` makes it end: both are also set by the line itself."""
        self._settings = settings
        self._ledger = ledger
        self._parts = parts
        self._scans = scans
        self._reporter = reporter
        self._wake = wake
        self._stopping = stopping
        self._recovered = False
        self.more_to_rate = False  # stars of images that wait for the next turn
        self.outdated: ErrorInfo | None = None  # it ends because the program was changed

    def resume(self) -> None:
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

    def work(self, now: float, *, may_begin: bool) -> float | None:
        """Does what is due; gives the moment when the next job may be begun. Raises EnvironmentTrouble."""
        try_again = self._parts.pauses.try_again_at()
        if try_again is not None and now >= try_again:
            self.resume()
        asked_until = self._parts.pauses.asked_until(now)
        if not self._parts.pauses.in_trouble:
            self._scans.take(now)
            if self._parts.dispatcher.has_ended_long_batch:
                self._parts.outbox.publish()
            if asked_until is None and may_begin and not self._stopping.is_set():
                self._parts.dispatcher.feed(now)
            self._publish_if_due(now)
            self._parts.completion.finish_sources()
            self.more_to_rate = self._parts.ratings.work(self._settings.of_root.output.rating)
            self.take_decisions()
            self._parts.pauses.works()
        if asked_until is not None:
            return asked_until
        return self._ledger.jobs.next_due() if may_begin and self._parts.dispatcher.is_free else None

    def _publish_if_due(self, now: float) -> None:
        """Many at a time, or at once."""
        due = self._parts.outbox.due_at()
        if due is not None and (now >= due or not self._parts.dispatcher.results_may_wait):
            self._parts.outbox.publish()
        self._parts.outbox.place_again(now)

    def hear(self, wait: float) -> None:
        """What the executor has to tell, waiting for it at most so many seconds. Raises EnvironmentTrouble."""
        heard = self._parts.dispatcher.hear(wait)
        if heard.trouble is not None and heard.trouble.kind == Outdated.kind:
            self.outdated = heard.trouble  # nothing can be begun by this process any more
            self._stopping.set()
            self._wake.set()
        elif heard.trouble is not None:
            self._parts.pauses.trouble(heard.trouble)
        for ended in heard.ended:
            with self._parts.pauses.catching():
                if self._parts.completion.end(ended):
                    self._parts.dispatcher.forget([ended.job.id])
            if self._parts.outbox.is_full:
                self._parts.outbox.publish()
                self.alive()
        self.take_decisions()

    def take_decisions(self) -> None:
        """What the parts have found since this was done last."""
        pause = self._parts.outbox.take_pause()
        if pause is not None:
            self._parts.pauses.trouble(pause.error, pause.until)
        if self._parts.sources.look_again:
            self._wake.set()
        self._reporter.events(self._parts.outbox.events())
        for news in self._parts.dispatcher.devices.take_news():
            self._reporter.device(news)

    def alive(self) -> None:
        """The loop makes progress."""
        self._reporter.alive(loading=self._parts.dispatcher.devices.is_loading)

    def is_drained(self) -> bool:
        """Whether nothing is left to do, but for what waits for a person."""
        parts = self._parts
        busy = parts.dispatcher.is_busy or parts.outbox.gathered or self.more_to_rate or parts.results.more
        if busy or parts.sources.look_again or parts.intake.unsettled > parts.intake.held:
            return False
        with parts.pauses.catching():
            return parts.outbox.is_all_done()
        return False

    def finish(self, *, orderly: bool) -> None:
        """What is in work, and then the executor."""
        if orderly:
            open_jobs, untaken = self._ledger.jobs.open_count(), self._parts.intake.unsettled
            self._reporter.finishing(self._parts.dispatcher.in_work, open_jobs, untaken)
        try:
            self._parts.dispatcher.interrupt()
            deadline = time.monotonic() + (self._settings.of_root.executor.stop_grace_seconds if orderly else 0)
            while self._parts.dispatcher.is_busy and time.monotonic() < deadline:
                self.hear(0.2)
                self.alive()
        finally:
            self._parts.dispatcher.close()
        with contextlib.suppress(EnvironmentTrouble):
            if orderly:
                self._parts.outbox.publish()
                for job in self._parts.dispatcher.in_work:
                    self._parts.completion.release(job)
        self.take_decisions()
