"""Runs batches on the devices of this machine: a child process for each."""

from __future__ import annotations

import platform
import time
from collections.abc import Collection, Mapping, Sequence
from multiprocessing.connection import wait

from hotfolder.executors.base import Device, DeviceId, Done, vanished
from hotfolder.executors.child import Child
from hotfolder.executors.local_devices import LocalDevice, local_devices
from hotfolder.types import Batch, RunnerSettings


class LocalExecutor:
    """A worker for each device, started by its first batch and ended after `idle_seconds` without work."""

    def __init__(
        self, settings: RunnerSettings, idle_seconds: float, devices: Sequence[LocalDevice] | None = None
    ) -> None:
        """Without `devices` it is the one that the settings name."""
        self._idle_seconds = idle_seconds
        devices = devices or local_devices("auto", settings.device, cards=0, cores=1)
        self._children = {device.id: Child(device, settings) for device in devices}
        self._machine = platform.node()

    def devices(self) -> Sequence[Device]:
        return tuple(Device(child.id, self._machine, child.pid) for child in self._children.values())

    def capacity(self) -> Mapping[DeviceId, int]:
        return {child.id: 1 if child.is_free else 0 for child in self._children.values()}

    def submit(self, batch: Batch, device: DeviceId) -> None:
        if (child := self._children.get(device)) is None:
            raise vanished(device)
        child.submit(batch)

    def poll(self, timeout: float) -> Sequence[Done]:
        busy = {}
        for child in self._children.values():
            child.leave_if_idle(self._idle_seconds)
            if child.is_busy and child.connection is not None:
                busy[child.connection] = child
        if not busy:
            time.sleep(timeout)
            return []
        told: list[Done] = []
        for connection in wait(list(busy), timeout):
            told += busy[connection].hear()  # type: ignore[index]
        return told

    def cancel(self, job_ids: Collection[int], device: DeviceId) -> None:
        if (child := self._children.get(device)) is not None:
            child.cancel(job_ids)

    def interrupt(self) -> None:
        for child in self._children.values():
            child.interrupt()

    def reconfigure(self, settings: RunnerSettings, idle_seconds: float) -> None:
        self._idle_seconds = idle_seconds
        for child in self._children.values():
            child.reconfigure(settings)

    def unload(self, device: DeviceId) -> None:
        if (child := self._children.get(device)) is not None:
            child.let_go()

    def abandon(self, device: DeviceId, why: str) -> None:
        if (child := self._children.get(device)) is not None:
            child.abandon(why)

    def close(self) -> None:
        for child in self._children.values():
            child.let_go()  # all of them at once
        for child in self._children.values():
            child.leave()
