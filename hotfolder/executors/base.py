"""What every executor is."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from hotfolder.errors import EnvironmentTrouble
from hotfolder.types import Batch, Group, Outcome, Progress, RunnerSettings

#: Names a device as long as the executor lives, to people, too: 'cpu', 'cuda:1', 'cpu-2'.
DeviceId = str


@dataclass(frozen=True, slots=True)
class Lack:
    """Why a device can do no jobs of a group, though it can do others."""

    why: str
    is_coming: bool = False  # its model is just being sent there


@dataclass(frozen=True, slots=True)
class Device:
    """Something that works one batch at a time, and keeps its own models loaded."""

    id: DeviceId
    machine: str  # on which it is
    pid: int | None = None  # of its worker; None while it has none
    unfit: str = ""  # why it cannot be given work, for as long as that is so
    lacks: Mapping[Group, Lack] = field(default_factory=dict)  # whose models are not there as they are here


@dataclass(frozen=True, slots=True)
class Done:
    """Something that an executor has to tell of a device; only one of the four after it is set.

    What it tells may be late: the job may have been taken back, and be in work elsewhere. Who listens compares the
    claim of an outcome, and the id of a batch, with what is current.
    """

    device: DeviceId
    outcome: Outcome | None = None
    progress: Progress | None = None
    finished: int | None = None  # id of the batch: it will tell nothing more of it
    lost: str | None = None  # why everything submitted to the device and not reported is lost
    batch_id: int | None = None  # with `lost`: of the batch that is lost, where the executor knows it
    started: bool = True  # with `lost`: False when the worker never came to work, so no file is to blame
    other_version: str = (
        ""  # with `lost`: of the program as it is installed by now, which is not that of this process
    )


class Executor(Protocol):
    """Takes batches for its devices, tells outcomes. Retries nothing: that is the ledger's business.

    Items name files by their paths here, and outcomes say what lies in the staging folder here. An executor whose
    device does not see those carries the bytes itself. A device may be gone by the time it is spoken of: to `cancel`,
    `unload` or `abandon` what is not there does nothing.
    """

    def devices(self) -> Sequence[Device]:
        """All that there are now, always in the same order. They may come and go between two calls."""
        ...

    def capacity(self) -> Mapping[DeviceId, int]:
        """How many more batches may be submitted now to each device."""
        ...

    def submit(self, batch: Batch, device: DeviceId) -> None:
        """Takes a batch. The outcomes come from `poll`. Raises EnvironmentTrouble when no worker can be had, also
        where the device has just gone: no job of the batch is to blame."""
        ...

    def poll(self, timeout: float) -> Sequence[Done]:
        """What happened on any device, waiting at most `timeout` seconds for it."""
        ...

    def cancel(self, job_ids: Collection[int], device: DeviceId) -> None:
        """What the device makes for these jobs is not wanted any more: they are left as soon as can be, without an
        outcome."""
        ...

    def interrupt(self) -> None:
        """Asks every batch in work to end after the image in work; its other items get no outcome."""
        ...

    def reconfigure(self, settings: RunnerSettings, idle_seconds: float) -> None:
        """From the next batch on, works by other settings. Only while nothing is in work."""
        ...

    def unload(self, device: DeviceId) -> None:
        """Ends its worker, so that its memory is free; the next batch starts another. Only while it has no batch.

        Waits for nothing: until the worker is gone, the device has no capacity.
        """
        ...

    def abandon(self, device: DeviceId, why: str) -> None:
        """Ends what hangs there, by force; `poll` then tells that it is lost, and why."""
        ...

    def close(self) -> None:
        """Ends everything now."""
        ...


def vanished(device: DeviceId) -> EnvironmentTrouble:
    """It was there when it was chosen, and is not any more."""
    return EnvironmentTrouble(f"the device {device} is gone", "see: hotfolder workers")


def only_device(executor: Executor) -> DeviceId:
    """The first of its devices: for work that is done on one."""
    return executor.devices()[0].id
