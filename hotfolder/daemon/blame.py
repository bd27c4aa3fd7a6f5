"""Whose fault it is when something fails on a device: the file's, or the device's, which is set aside then."""

from __future__ import annotations

from dataclasses import dataclass

from hotfolder.config.folder_settings import FolderSettings
from hotfolder.core.retry import fault_of_lost_worker
from hotfolder.daemon.device_work import DeviceWork
from hotfolder.daemon.devices import Devices
from hotfolder.errors import DeviceLost, DeviceOccupied, DeviceTooHot, DeviceTrouble, ModelMissing, OutOfMemory
from hotfolder.types import ErrorInfo, FailureClass, Job

#: Errors of a job that are the device's, and no file's.
_OF_THE_DEVICE = (DeviceLost.kind, DeviceTrouble.kind, DeviceOccupied.kind, DeviceTooHot.kind)
#: Those that pass by themselves: they say nothing of how long the next one takes.
_PASSING = (DeviceOccupied.kind, DeviceTooHot.kind)


@dataclass(frozen=True, slots=True)
class Lost:
    """What follows when a worker is lost."""

    for_jobs: ErrorInfo | None = None  # what its jobs are blamed with; None: they go back without blame
    trouble: ErrorInfo | None = None  # nothing can be begun just now


class Blame:
    """Of a single device, everything counts as it always did: there is nobody else to try."""

    def __init__(self, settings: FolderSettings, devices: Devices) -> None:
        self._settings = settings
        self._devices = devices
        self._suspects: set[int] = set()  # jobs with which a device was lost

    def is_of_device(self, error: ErrorInfo | None) -> bool:
        """Whether an error says nothing of the job."""
        return error is not None and error.kind in (*_OF_THE_DEVICE, ModelMissing.kind)

    def goes_elsewhere(self, work: DeviceWork, job: Job, error: ErrorInfo) -> bool:
        """A job has failed: whether it goes back without blame, for another device to do it."""
        if error.kind == OutOfMemory.kind:
            return self._ran_out(work, job, error)
        if error.kind == ModelMissing.kind:  # on that machine; it can do all else
            return self._devices.try_elsewhere(job.id, work)
        if not self.is_of_device(error) or not self._devices.others(work):
            return False
        if error.kind == DeviceLost.kind:
            if job.id in self._suspects:
                return False
            self._suspects.add(job.id)  # should another one be lost with it, the job is to blame
        self._devices.try_elsewhere(job.id, work)
        self._devices.set_aside(work, error.message, grows=error.kind not in _PASSING)
        return True

    def _ran_out(self, work: DeviceWork, job: Job, error: ErrorInfo) -> bool:
        is_for_good = work.health.failed(error.kind)
        if not self._devices.try_elsewhere(job.id, work):
            self._devices.forgive(error.kind)  # it is too large for every one of them
            return False
        if is_for_good:
            self._devices.set_aside(work, f"{error.message}, again and again")
        return True

    def lost(self, work: DeviceWork, how: str, *, started: bool) -> Lost:
        """Its worker is lost, and nobody wanted that."""
        kind, model = work.group or (None, "")
        error = fault_of_lost_worker(
            how, model, started=started, loading=work.heartbeat.loading,
            is_default_model=kind is not None and self._settings.is_own_model(kind, model),
        )  # fmt: skip
        others = self._devices.others(work)
        if error.failure is FailureClass.ENVIRONMENT:
            if not others:
                return Lost(trouble=error)
            self._devices.set_aside(work, error.message)
            return Lost()
        for job_id in work.jobs:
            self._devices.try_elsewhere(job_id, work)
        if work.health.failed(error.kind) and others:
            self._devices.set_aside(work, f"its workers die: {how}")
        return Lost(for_jobs=error)

    def forget(self, job_id: int) -> None:
        """The job has come to its end."""
        self._suspects.discard(job_id)
        self._devices.forget(job_id)
