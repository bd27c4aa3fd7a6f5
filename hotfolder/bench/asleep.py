"""An executor without models that takes its time: the same on every machine, whatever else that does."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from hotfolder.bench.line_daemon import judge
from hotfolder.bench.line_root import picture
from hotfolder.errors import HotfolderError, Vanished
from hotfolder.executors.base import Device, DeviceId, Done, Lack, vanished
from hotfolder.types import Batch, Group, Item, Kind, Outcome, Progress, RunnerSettings, SourceFacts, Staged

_SPREAD = (0.7, 1.4)  # a job takes so many times the usual time
_SIDE = 16  # of its pictures
_MACHINE = "here"


@dataclass(slots=True)
class _Sleeper:
    """One device: what it has in work, and what it will tell next."""

    slowness: float  # its jobs take so many times as long
    course: Iterator[tuple[float, Done | None]] | None = (
        None  # of the batch in work: seconds, and what is told then
    )
    next: Done | None = None
    due: float = 0.0  # when that is told
    loaded: dict[Kind, str] = field(default_factory=dict)
    unwanted: set[int] = field(default_factory=set)  # jobs
    abandoned: str = ""


class Asleep:
    """Satisfies the Executor protocol. Scores are spread evenly from 1 to 9.

    Devices fail as they are told to: `broken` says how the worker of a device is lost as soon as it tells something,
    `errors` what each job on a device comes to, `lacks` which groups a device has no models for.
    """

    def __init__(
        self,
        seconds: Mapping[Kind, float],
        load_seconds: Mapping[Kind, float],
        slowness: Mapping[DeviceId, float] = MappingProxyType({"cpu": 1.0}),
        spread: tuple[float, float] = _SPREAD,
    ) -> None:
        """`seconds` a job takes, `load_seconds` its model; `slowness` names the devices, and how slow each is."""
        self.loads: list[str] = []
        self.loaded_on: list[tuple[DeviceId, str]] = []
        self.ended: list[tuple[DeviceId, int]] = []  # where each job has come to its end
        self.slept = 0.0  # seconds that the jobs which have ended take on a device that is not slow
        self.lacks: dict[DeviceId, Mapping[Group, Lack]] = {}
        self.degrees: dict[DeviceId, int] = {}  # how hot devices say that they are
        self.broken: dict[DeviceId, str] = {}
        self.errors: dict[DeviceId, HotfolderError] = {}
        self._seconds, self._load_seconds, self._spread = seconds, load_seconds, spread
        self._random = random.Random(1)
        self._sleepers = {device: _Sleeper(factor) for device, factor in slowness.items()}

    def slow(self, device: DeviceId, slowness: float) -> None:
        """From its next job on, it takes so many times as long as usual."""
        self._sleepers[device].slowness = slowness

    def devices(self) -> Sequence[Device]:
        return tuple(Device(each, _MACHINE, lacks=self.lacks.get(each, {})) for each in self._sleepers)

    def capacity(self) -> Mapping[DeviceId, int]:
        return {device: 0 if each.course else 1 for device, each in self._sleepers.items()}

    def submit(self, batch: Batch, device: DeviceId) -> None:
        if (sleeper := self._sleepers.get(device)) is None:
            raise vanished(device)
        assert sleeper.course is None
        sleeper.unwanted.clear()
        sleeper.abandoned = ""  # that was of what went before
        sleeper.course, sleeper.due = self._course(device, sleeper, batch), time.monotonic()
        self._go_on(sleeper)

    def poll(self, timeout: float) -> Sequence[Done]:
        until = time.monotonic() + timeout
        due = min((each.due for each in self._sleepers.values() if each.course), default=until)
        time.sleep(max(0.0, min(until, due) - time.monotonic()))
        told: list[Done] = []
        for device, sleeper in self._sleepers.items():
            while sleeper.course is not None and (sleeper.due <= time.monotonic() or sleeper.abandoned):
                lost, sleeper.abandoned = sleeper.abandoned or self.broken.get(device, ""), ""
                if lost:
                    sleeper.course, sleeper.loaded = None, {}
                    told.append(Done(device, lost=lost))
                    break
                if sleeper.next is not None:
                    told.append(sleeper.next)
                self._go_on(sleeper)
        return told

    def _go_on(self, sleeper: _Sleeper) -> None:
        assert sleeper.course is not None
        step = next(sleeper.course, None)
        if step is None:
            sleeper.course = None
        else:
            sleeper.due, sleeper.next = sleeper.due + step[0], step[1]

    def _course(self, device: DeviceId, sleeper: _Sleeper, batch: Batch) -> Iterator[tuple[float, Done | None]]:
        """What comes of a batch, each with the seconds until then; read one by one, as it goes on."""
        kind, first = batch.kind, batch.items[0].job_id
        if sleeper.loaded.get(kind) != batch.model:
            sleeper.loaded[kind] = batch.model
            self.loads.append(f"loading {batch.model}")
            self.loaded_on.append((device, batch.model))
            yield 0.0, Done(device, progress=Progress(first, self.loads[-1], loading=True))
            yield self._load_seconds[kind] * sleeper.slowness, None
        at_work = Progress(first, "at work", 0, len(batch.items))
        if degrees := self.degrees.get(device):
            at_work = replace(at_work, device=device, memory_used=2**29, memory_total=2**30, temperature=degrees)
        yield 0.0, Done(device, progress=at_work)
        for item in batch.items:
            if item.job_id in sleeper.unwanted:
                continue
            asleep = self._seconds[kind] * self._random.uniform(*self._spread)
            yield asleep * sleeper.slowness, None
            if item.job_id in sleeper.unwanted:
                continue
            self.ended.append((device, item.job_id))
            self.slept += asleep
            error = self.errors.get(device)
            try:
                outcome = Outcome(item.job_id, item.claim, error=error.info()) if error else _outcome(kind, item)
            except FileNotFoundError:  # another device was quicker
                gone = Vanished(f"{item.source} is gone")
                outcome = Outcome(item.job_id, item.claim, error=gone.info())
            yield 0.0, Done(device, outcome=outcome)
        yield 0.0, Done(device, finished=batch.id)

    def cancel(self, job_ids: Collection[int], device: DeviceId) -> None:
        if (sleeper := self._sleepers.get(device)) is not None:
            sleeper.unwanted.update(job_ids)

    def interrupt(self) -> None:
        """The batches in work end at once."""
        for sleeper in self._sleepers.values():
            sleeper.unwanted = _Everything()

    def reconfigure(self, settings: RunnerSettings, idle_seconds: float) -> None:
        """There is nothing to set."""

    def unload(self, device: DeviceId) -> None:
        if (sleeper := self._sleepers.get(device)) is not None:
            sleeper.loaded.clear()

    def abandon(self, device: DeviceId, why: str) -> None:
        if (sleeper := self._sleepers.get(device)) is not None:
            sleeper.abandoned = why

    def close(self) -> None:
        for sleeper in self._sleepers.values():
            sleeper.course = None


class _Everything(set[int]):
    def __contains__(self, job: object) -> bool:
        return True


def _outcome(kind: Kind, item: Item) -> Outcome:
    if kind is Kind.SCORE:
        return judge(kind, item)
    # Another picture for each seed, and for each original.
    data = picture(int(item.params["seed"]) if kind is Kind.GENERATE else item.job_id + 2**31)
    path = Path(item.staging) / "output.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    staged = Staged(str(path), hashlib.sha256(data).hexdigest(), _SIDE, _SIDE, {**item.params, "scale": 4})
    source = None
    if item.source is not None:
        source = SourceFacts(hashlib.sha256(Path(item.source).read_bytes()).hexdigest(), _SIDE, _SIDE)
    return Outcome(item.job_id, item.claim, staged=staged, source=source)
