"""How long what waits will take: asked for many times a second, found out seldom."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hotfolder.config.folder_settings import FolderSettings
from hotfolder.core.estimate import Judged, Shares, expected_jobs, seconds_left, shares
from hotfolder.core.pace import Pace, pace_of_batches
from hotfolder.daemon.devices import Devices
from hotfolder.daemon.drawings import Drawings
from hotfolder.ledger.lately import JudgedLately
from hotfolder.ledger.ledger import Ledger
from hotfolder.types import Kind, Role

#: It is found out again after a second, or after so many times as long as that took.
_EVERY, _PART = 1.0, 50.0
#: With so many images judged in this run, drawn or dropped ones, those of earlier ones do not count.
_ENOUGH = 20


@dataclass(frozen=True, slots=True)
class Left:
    """What is left until nothing waits any more."""

    jobs: float = 0.0  # those that wait, and those that will follow
    seconds: float | None = None  # None: not known


class Forecast:
    """Of the jobs that the ledger has. Files that are not taken yet are not foreseen."""

    def __init__(
        self, settings: FolderSettings, ledger: Ledger, devices: Devices, drawings: Drawings, started_at: float
    ) -> None:
        """`started_at` is when this run began, in seconds since the epoch."""
        self._settings = settings
        self._ledger = ledger
        self._devices = devices
        self._drawings = drawings
        self._started_at = started_at
        self._earlier: Mapping[Kind, Pace] | None = None
        self._found, self._found_at, self._next = Left(), 0.0, float("-inf")

    def left(self) -> Left:
        """Raises EnvironmentTrouble, LedgerError."""
        now = time.monotonic()
        if self._ledger.jobs.open_count() == 0:
            self._next = now
            self._devices.idle()
            return Left()
        if now >= self._next:
            self._find_out(now)
            took = time.monotonic() - now
            self._next = now + max(_EVERY, _PART * took)
        found = self._found
        if found.seconds is None:
            return found
        return Left(found.jobs, max(0.0, found.seconds - (now - self._found_at)))

    def _find_out(self, now: float) -> None:
        lately, gate = self._ledger.lately, self._settings.of_root.gate
        if self._earlier is None:
            paces = {kind: pace_of_batches(kind, lately.batches(kind)) for kind in Kind}
            self._earlier = {kind: pace for kind, pace in paces.items() if pace is not None}
        judged = lately.judged()
        self._drawings.learn(judged)
        waiting = map(self._drawings.known, lately.waiting())
        expected = expected_jobs(waiting, self._shares(judged), gate.max_attempts)
        known = self._devices.paces(self._earlier)
        seconds = seconds_left(expected, known)
        if seconds is not None:
            seconds = max(0.0, seconds - self._devices.spent(known, now))
        self._found, self._found_at = Left(sum(each.jobs for each in expected.values()), seconds), now

    def _shares(self, judged: Sequence[JudgedLately]) -> Shares:
        found = []
        drawn = [each for each in judged if each.role is Role.GENERATED]
        dropped = [each for each in judged if each.role is not Role.GENERATED]
        for each in (*self._of_this_run(drawn), *self._of_this_run(dropped)):
            gate, is_drawn = self._settings.policy(each.source_file).gate, each.role is Role.GENERATED
            may_be = is_drawn and not each.is_of_set and each.try_number < gate.max_attempts
            again = each.score < gate.regenerate_below if may_be else None
            found.append(Judged(is_drawn, each.is_enlarged, again, each.megapixels, each.enlarged_megapixels))
        return shares(found, enlarges=self._settings.of_root.gate.upscale != "never")

    def _of_this_run(self, judged: Sequence[JudgedLately]) -> Sequence[JudgedLately]:
        """All of them while this run has too few."""
        found = [each for each in judged if each.at >= self._started_at]
        return found if len(found) >= _ENOUGH else judged
