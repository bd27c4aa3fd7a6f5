"""Which device gets which jobs next: work goes to whom it is done by soonest, and models are loaded seldom."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hotfolder.config.folder_settings import FolderSettings
from hotfolder.core.batching import BatchPolicy, pick_batch
from hotfolder.core.sharing import Able, is_worth_loading, own_share, portion
from hotfolder.daemon.device_work import DeviceWork
from hotfolder.daemon.devices import Devices
from hotfolder.ledger.jobs import RUNNABLE_AT_ONCE, Prior
from hotfolder.ledger.ledger import Ledger
from hotfolder.types import Group, Job


@dataclass(frozen=True, slots=True)
class Chosen:
    """Jobs for a device."""

    work: DeviceWork
    jobs: Sequence[Job]
    goes_first: bool  # they are led by one that has a priority


@dataclass(frozen=True, slots=True)
class _Queue:
    """What waits just now."""

    now: float  # seconds since the epoch
    groups: Sequence[Group]
    front: Sequence[Prior]
    policy: BatchPolicy
    runnable: dict[Group, Sequence[Job]] = field(default_factory=dict)  # those that were read already

    @property
    def priorities(self) -> Mapping[Group, float]:
        """The highest of each group that has any."""
        found: dict[Group, float] = {}
        for prior in self.front:
            found.setdefault(prior.group, prior.priority)
        return found


class Choice:
    """Of what waits, for devices that ask."""

    def __init__(self, settings: FolderSettings, ledger: Ledger, devices: Devices) -> None:
        self._settings = settings
        self._jobs = ledger.jobs
        self._devices = devices
        self.declined: Sequence[Group] = ()  # what waits, where those that asked last leave it to the others

    def choose(self, free: Sequence[DeviceWork], now: float) -> Chosen | None:
        """The next batch, and for which of these devices; None where there is none for any of them.

        `now` is seconds since the epoch.
        """
        groups = self._jobs.groups(now)
        self.declined = groups
        if not groups:
            return None
        queue = _Queue(now, groups, self._jobs.front(now), self._settings.of_root.batch_policy())
        # Whom should it be left to, if nobody is at work?
        must = not any(work.jobs for work in self._devices.all)
        asking = [(work, self._group(work, queue, must=must)) for work in free]
        asking.sort(key=lambda each: _preference(*each))
        for work, group in asking:
            if group is None:
                continue
            chosen = self._pick(work, group, queue, must=must)
            if chosen.jobs:
                self.declined = ()
                return chosen
        return None

    def _group(self, work: DeviceWork, queue: _Queue, *, must: bool) -> Group | None:
        """Whose turn it is on a device. What others are at is left to them, as long as there is something else."""
        others = self._devices.others(work)
        groups = [group for group in queue.groups if group not in work.lacks]
        held = [group for group in groups if work.has_loaded_model(group)]
        served = {other.turns.current for other in others if other.turns.current not in other.lacks}
        for group in groups:
            if group not in held and any(other.has_loaded_model(group) for other in others):
                served.add(group)
        own = [group for group in groups if group == work.turns.current or group not in served]
        if not own:
            own = held or [group for group in groups if must or self._may_load(work, group, queue)]
        return work.turns.choose(own, time.monotonic(), queue.policy.fairness_seconds, queue.priorities)

    def _runnable(self, queue: _Queue, group: Group) -> Sequence[Job]:
        """The oldest jobs of a group, read once for all devices that ask."""
        if group not in queue.runnable:
            queue.runnable[group] = self._jobs.runnable(queue.now, group)
        return queue.runnable[group]

    def _may_load(self, work: DeviceWork, group: Group, queue: _Queue) -> bool:
        """Whether it pays to load a model that others have loaded already."""
        others = [
            other
            for other in self._devices.helpers(work, group)
            if other.turns.current == group or other.has_loaded_model(group)
        ]
        count = len(self._runnable(queue, group))
        if count >= RUNNABLE_AT_ONCE:
            return True
        usual, load = _usual((work, *others), group)
        able = [other.able(group, usual, load or 0.0) for other in others]
        return is_worth_loading(load, Able(work.seconds_per_job(group[0]) or usual), able, count)

    def _pick(self, work: DeviceWork, group: Group, queue: _Queue, *, must: bool) -> Chosen:
        oldest = found = self._runnable(queue, group)
        goes_first = group in queue.priorities and not work.turns.oldest_lead(group)
        if goes_first:
            first = self._jobs.queued([prior.id for prior in queue.front if prior.group == group][: len(oldest)])
            ids = {job.id for job in first}
            found = [*first, *(job for job in oldest if job.id not in ids)]
        # Of jobs that were in work when a daemon died, one at a time, on all devices together: else nobody could tell
        # with which of them the next one dies.
        suspect = any(job.crashes for other in self._devices.all for job in other.jobs.values())
        found = [
            job for job in found if not (suspect and job.crashes) and not self._devices.avoids(job.id, work, group)
        ]
        is_all = len(oldest) < RUNNABLE_AT_ONCE and len(queue.groups) == 1
        most = max(must, self._portion(work, group, found, is_all=is_all))
        return Chosen(work, pick_batch(found, queue.policy)[:most], goes_first)

    def _portion(self, work: DeviceWork, group: Group, found: Sequence[Job], *, is_all: bool) -> int:
        """How many of these jobs the device takes at most, so that all of those who can do them end together."""
        others = [
            other
            for other in self._devices.helpers(work, group)
            if (is_all or other.turns.current == group)
            and not all(self._devices.avoids(job.id, other, group) for job in found)
        ]
        if not others:
            return len(found)
        usual, load = _usual((work, *others), group)
        own, *able = (each.able(group, usual, load or 0.0) for each in (work, *others))
        is_known = work.rates.measured(group[0]) is not None
        return portion(own_share(len(found), own, able), is_known=is_known, is_all=is_all)


def _usual(works: Sequence[DeviceWork], group: Group) -> tuple[float, float | None]:
    """Seconds for a job, for devices of which that is not known; and for loading the model, None if nobody knows."""
    known = [seconds for work in works if (seconds := work.seconds_per_job(group[0])) is not None]
    loads = [seconds for work in works if (seconds := work.rates.load_seconds(group[0])) is not None]
    return sum(known) / len(known) if known else 1.0, max(loads, default=None)


def _preference(work: DeviceWork, group: Group | None) -> tuple[bool, float]:
    """The less, the sooner it is asked: first those who have the model, and the fastest of them."""
    if group is None:
        return True, 0.0
    return not work.has_loaded_model(group), work.seconds_per_job(group[0]) or 0.0
