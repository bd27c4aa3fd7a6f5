"""All devices: which of them may be given work, which one is set aside and why, and what is to be known of each."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hotfolder.config.folder_settings import FolderSettings
from hotfolder.core.health import Health
from hotfolder.core.heartbeat import Heartbeat
from hotfolder.core.pace import Pace
from hotfolder.core.pooled_rates import pooled_paces, pooled_spent
from hotfolder.core.times import span
from hotfolder.daemon.device_work import DeviceWork
from hotfolder.executors.base import DeviceId, Executor
from hotfolder.files.durable import write_durably
from hotfolder.types import Group, Kind, Progress

log = logging.getLogger(__name__)
#: What a device is that nothing is asked of: there is nothing to do, or a person wants it so.
_UNASKED = ("idle", "unloaded", "draining", "drained")


@dataclass(frozen=True, slots=True)
class DeviceNews:
    """A device was set aside, or is back."""

    device: DeviceId
    is_back: bool
    reason: str = ""


class Devices:
    """Those of an executor. Which of them a person has drained is kept in a file, so that a restart remembers it."""

    def __init__(self, executor: Executor, settings: FolderSettings, file: Path) -> None:
        self._executor = executor
        self._settings = settings
        self._file = file
        self._drained = self._read_drained()
        self._works: dict[DeviceId, DeviceWork] = {}
        self._not_on: dict[int, set[DeviceId]] = {}  # jobs, and the devices that they are not to be tried on again
        self._news: list[DeviceNews] = []
        self._shown: DeviceWork | None = None
        self.look()

    def look(self) -> list[DeviceWork]:
        """Finds those that have come; gives those that are gone, with what they had in work."""
        there = {device.id: device for device in self._executor.devices()}
        for new in there.keys() - self._works.keys():
            work = DeviceWork(new, self._new_heartbeat(), self._new_health())
            work.is_drained = new in self._drained
            self._works[new] = work
        self._works = {id_: self._works[id_] for id_ in (*there, *(self._works.keys() - there.keys()))}
        for device in there.values():
            work = self._works[device.id]
            work.unfit, work.lacks = device.unfit, device.lacks
            work.unfit_since = (work.unfit_since or time.monotonic()) if device.unfit else None
        return [self._works.pop(gone) for gone in [each for each in self._works if each not in there]]

    def settings_changed(self) -> None:
        for work in self._works.values():
            work.heartbeat = self._new_heartbeat()
            work.health.first_wait = self._settings.of_root.executor.set_aside_seconds

    def __getitem__(self, device: DeviceId) -> DeviceWork:
        return self._works[device]

    def get(self, device: DeviceId) -> DeviceWork | None:
        return self._works.get(device)

    @property
    def all(self) -> list[DeviceWork]:
        return list(self._works.values())

    @property
    def able(self) -> list[DeviceWork]:
        """Those that may be given work."""
        return [work for work in self._works.values() if work.is_able]

    @property
    def why_none(self) -> str | None:
        """Why nothing is begun on any of them, in words, where a person has drained them all and they are through."""
        works = self._works.values()
        if works and all(work.is_drained and work.batch_id is None for work in works):
            return "every device is drained; go on with: hotfolder workers resume DEVICE"
        return None

    def free(self) -> list[DeviceWork]:
        """Those that may be given work now."""
        capacity = self._executor.capacity()
        return [work for work in self.able if not work.jobs and capacity.get(work.id, 0) > 0]

    def others(self, work: DeviceWork) -> list[DeviceWork]:
        """Those that may be given work, beside one."""
        return [other for other in self.able if other is not work]

    def helpers(self, work: DeviceWork, group: Group | None) -> list[DeviceWork]:
        """Those of them that have what a group needs."""
        return [other for other in self.others(work) if group not in other.lacks]

    def why_nobody_can(self, groups: Collection[Group]) -> str | None:
        """Why none of these groups can be begun, in words: every device lacks their models, and none is coming."""
        lacks = []
        for work in self._works.values():
            if work.unfit or work.is_drained:
                continue
            if work.jobs or not all(group in work.lacks for group in groups):
                return None
            lacks += [(work.id, work.lacks[group]) for group in groups]
        if not lacks or any(lack.is_coming for _, lack in lacks):
            return None
        return f"no device has the models for what waits; {lacks[0][0]}: {lacks[0][1].why}"

    def back_in(self) -> float | None:
        """Seconds until the next one is tried again that is set aside; None where there is none."""
        now = time.monotonic()
        waits = [work.health.back_in(now) for work in self._works.values() if not work.is_drained]
        return min((wait for wait in waits if wait is not None), default=None)

    def try_elsewhere(self, job_id: int, work: DeviceWork) -> bool:
        """A job failed here, perhaps because of the device: whether there is another one for it."""
        tried = self._not_on.setdefault(job_id, set())
        tried.add(work.id)
        return any(other.id not in tried for other in self.helpers(work, work.group))

    def avoids(self, job_id: int, work: DeviceWork, group: Group) -> bool:
        """Whether a job of a group is left to another device, because it failed here."""
        tried = self._not_on.get(job_id, ())
        return work.id in tried and any(other.id not in tried for other in self.helpers(work, group))

    def forget(self, job_id: int) -> None:
        """The job has come to its end."""
        self._not_on.pop(job_id, None)

    def set_aside(self, work: DeviceWork, why: str, *, grows: bool = True) -> None:
        """It is given nothing for a while: the others go on."""
        now = time.monotonic()
        if work.health.back_in(now) is not None:
            return  # for what was in work with what it failed on
        is_known = work.health.reason == why
        wait = work.health.set_aside(why, now, grows=grows)
        work.turns.give_up(now)
        log.warning("%s is set aside and tried again in %s: %s", work.id, span(wait), why)
        if not is_known:
            self._news.append(DeviceNews(work.id, is_back=False, reason=why))

    def forgive(self, how: str) -> None:
        """A job has failed in this way on every device: none of them is to blame."""
        for work in self._works.values():
            work.health.forgive(how)

    def worked(self, work: DeviceWork) -> None:
        """A job was done on it."""
        if work.health.worked():
            log.info("%s works again", work.id)
            self._news.append(DeviceNews(work.id, is_back=True))

    def note(self, work: DeviceWork, told: Progress) -> None:
        """How far a device is."""
        work.note(told)
        self._shown = work

    @property
    def shown(self) -> DeviceWork | None:
        """Which of those at work told something last; where none is, which did before."""
        if self._shown is not None and self._shown.progress is not None:
            return self._shown
        return next((work for work in self._works.values() if work.progress is not None), self._shown)

    @property
    def is_loading(self) -> bool:
        """Whether a model is being loaded somewhere."""
        return any(work.progress is not None and work.progress.loading for work in self._works.values())

    def paces(self, earlier: Mapping[Kind, Pace]) -> dict[Kind, Pace]:
        """How long each kind takes on all of them together; `earlier` of one, in earlier runs."""
        return pooled_paces([work.rates for work in self.able or self.all], earlier)

    def spent(self, paces: Mapping[Kind, Pace], now: float) -> float:
        """Seconds of what is left that the batches in work have had already."""
        return pooled_spent([work.rates for work in self.able or self.all], paces, now)

    def idle(self) -> None:
        """Nothing waits: the time until the next batch is nobody's."""
        for work in self._works.values():
            work.rates.idle()

    def take_news(self) -> Sequence[DeviceNews]:
        """What has happened since this was asked last."""
        news, self._news = self._news, []
        return news

    def drain(self, device: DeviceId) -> bool:
        """It is given nothing more, also if it is not there yet; whether something is in work on it, which it ends.

        Raises OSError.
        """
        self._write_drained({*self._drained, device})
        work = self._works.get(device)
        if work is None:
            return False
        work.is_drained = True
        self.unload_drained(work)
        return bool(work.jobs)

    def unload_drained(self, work: DeviceWork) -> None:
        """Whoever drains a device wants its memory."""
        if work.is_drained and not work.jobs and self._executor.capacity().get(work.id, 0) > 0:
            self._executor.unload(work.id)
            work.worker_ended()

    def go_on(self, device: DeviceId) -> bool:
        """It is given work again, also where it was set aside; whether it was not. Raises OSError."""
        was_drained, work = device in self._drained, self._works.get(device)
        self._write_drained(self._drained - {device})
        if work is None:
            return was_drained
        was_out = not work.is_able
        work.is_drained = False
        work.health.try_now()
        return was_out

    def _read_drained(self) -> set[DeviceId]:
        try:
            found = json.loads(self._file.read_text(encoding="utf-8"))
            return {str(device) for device in found["drained"]}
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            log.warning("%s cannot be read and does not count: %s", self._file, error)
        return set()

    def _write_drained(self, drained: Collection[DeviceId]) -> None:
        if set(drained) != self._drained:
            write_durably(self._file, json.dumps({"drained": sorted(drained)}))
            self._drained = set(drained)

    def told(self) -> list[Mapping[str, Any]]:
        """Each device, for people and programs."""
        now = time.monotonic()
        found: list[Mapping[str, Any]] = []
        for device in self._executor.devices():
            work = self._works.get(device.id)
            if work is None:
                continue
            progress, back_in = work.progress if work.jobs else None, work.health.back_in(now)
            state = _state(work, back_in, has_worker=device.pid is not None)
            out = work.health.out_for(now) if work.unfit_since is None else now - work.unfit_since
            if state in _UNASKED:  # whether it would work now, nobody knows
                out = None
            paces = {kind: work.rates.measured(kind) for kind in work.holds}
            found.append(
                {
                    "device": device.id,
                    "machine": device.machine,
                    "pid": device.pid,
                    "state": state,
                    "holds": sorted(set(work.holds.values())),
                    "kind": work.group[0].value if work.jobs and work.group else None,
                    "jobs": len(work.jobs),
                    "stage": progress.stage if progress else None,
                    "step": progress.step if progress else 0,
                    "steps": progress.steps if progress else 0,
                    "pace": {kind.value: round(1 / pace, 4) for kind, pace in paces.items() if pace},
                    "memory_used": work.memory[1] or None,
                    "memory_total": work.memory[2] or None,
                    "temperature": work.temperature or None,
                    "reason": device.unfit or work.health.reason or None,
                    "lacks": [
                        {"kind": kind.value, "model": model, "why": lack.why, "is_coming": lack.is_coming}
                        for (kind, model), lack in device.lacks.items()
                    ],
                    "back_in_seconds": None if back_in is None else round(back_in, 1),
                    "out_seconds": None if out is None else round(out, 1),
                }
            )
        return found

    def _new_heartbeat(self) -> Heartbeat:
        executor = self._settings.of_root.executor
        return Heartbeat(executor.hang_seconds, executor.load_seconds)

    def _new_health(self) -> Health:
        return Health(self._settings.of_root.executor.set_aside_seconds)


def _state(work: DeviceWork, back_in: float | None, *, has_worker: bool) -> str:
    if work.is_drained:
        return "draining" if work.batch_id is not None else "drained"
    if work.unfit:
        return "unfit"
    if back_in is not None:
        return "set aside"
    if work.jobs:
        is_loading = work.progress is not None and work.progress.loading
        return "loading" if is_loading else "working"
    if work.has_remnants:
        return "leaving"
    return "idle" if has_worker else "unloaded"
