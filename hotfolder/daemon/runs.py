"""Prompts of which new seeds are drawn until so many were kept: which are begun next, and when that ends."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from hotfolder.core.prompts import most_of
from hotfolder.core.until import Next, Run, following
from hotfolder.ledger.ledger import Ledger
from hotfolder.ledger.runs import StoredRun
from hotfolder.routing.router import Router
from hotfolder.system.logs import brief
from hotfolder.types import Job

log = logging.getLogger(__name__)


class Runs:
    """Asked whenever something of a dropped file has ended, however it ended: nothing hangs on one kind of end.

    What it knows of a run is read from the ledger once; then only seeds in work are looked at, so that an image costs
    the same however many came before.
    """

    def __init__(self, ledger: Ledger, router: Router, clock: Callable[[], float]) -> None:
        self._ledger = ledger
        self._router = router
        self._clock = clock
        self._of_drop: dict[int, list[StoredRun]] = {}
        self._drops: set[int] = set()  # that have runs

    def notice(self, job: Job) -> None:
        """A job has ended."""
        if job.is_of_run:
            self._drops.add(job.drop_id)

    def forget(self, drop_ids: Iterable[int]) -> None:
        """A person has cancelled something, or wants it tried again: they are read anew."""
        for drop_id in drop_ids:
            self._of_drop.pop(drop_id, None)

    def go_on(self, drop_ids: set[int]) -> dict[int, bool]:
        """Of the dropped files known to have runs: whether seeds are in work, or begun just now."""
        return {drop_id: self.goes_on(drop_id) for drop_id in drop_ids & self._drops}

    def goes_on(self, drop_id: int) -> bool:
        """Whether seeds of this dropped file are in work, or were begun just now."""
        runs = self._of_drop.get(drop_id)
        if runs is None:
            runs = self._ledger.runs.of_drop(drop_id)
        else:
            for run in runs:
                self._ledger.runs.follow(run)
        goes_on = [run for run in runs if self._advance(run)]
        if goes_on:
            self._of_drop[drop_id] = goes_on  # a run that has ended is not looked at again
        else:
            self._of_drop.pop(drop_id, None)
            self._drops.discard(drop_id)
        return bool(goes_on)

    def _advance(self, run: StoredRun) -> bool:
        """Begins the seeds that are missing. Whether any is in work."""
        found = self._following(run)
        if found.stopped is not None:
            # A person may have judged otherwise meanwhile: once, before it ends, all of it is counted.
            anew = [each for each in self._ledger.runs.of_drop(run.drop_id) if each.number == run.number]
            if not anew:
                return False  # its file was taken away
            run.open, run.kept = anew[0].open, anew[0].kept
            run.is_cancelled = run.is_cancelled or anew[0].is_cancelled
            found = self._following(run)
        if found.stopped is not None:
            if self._ledger.runs.say_stopped(run, found.stopped):
                said = f"{run.source_file}: {found.stopped}"
                log.info("%s", said, extra=brief(said))
        elif found.more:
            jobs = self._router.seeds(run.source_file, run.generated, run.generated.request.seed, found.more)
            self._ledger.runs.begin(run, jobs, self._clock())
        return bool(run.open)

    def _following(self, run: StoredRun) -> Next:
        request = run.generated.request
        assert request.until_kept is not None
        stands = Run(len(run.kept), run.drawn, len(run.open), run.is_cancelled)
        return following(stands, request.until_kept, most_of(request))
