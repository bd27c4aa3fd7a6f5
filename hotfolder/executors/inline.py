"""Runs batches in this process: for tests and for one-shot commands."""

from __future__ import annotations

import os
import platform
from collections.abc import Collection, Mapping, Sequence

from hotfolder.executors.base import Device, DeviceId, Done, vanished
from hotfolder.executors.runner import make_runner
from hotfolder.types import Batch, Outcome, Progress, RunnerSettings

_ID = "inline"


class InlineExecutor:
    """Works when it is polled. A crash of a model is a crash of this process."""

    def __init__(self, settings: RunnerSettings) -> None:
        self._runner = make_runner(settings)
        self._batch: Batch | None = None
        self._stopping = False
        self._cancelled: set[int] = set()

    def devices(self) -> Sequence[Device]:
        return (Device(_ID, platform.node(), os.getpid()),)

    def capacity(self) -> Mapping[DeviceId, int]:
        return {_ID: 0 if self._batch else 1}

    def submit(self, batch: Batch, device: DeviceId) -> None:
        if device != _ID:
            raise vanished(device)
        self._batch = batch
        self._cancelled.difference_update(item.job_id for item in batch.items)

    def poll(self, timeout: float) -> Sequence[Done]:
        batch, self._batch = self._batch, None
        if batch is None:
            return []
        told: list[Done] = []

        def emit(event: Outcome | Progress) -> None:
            told.append(Done(_ID, outcome=event) if isinstance(event, Outcome) else Done(_ID, progress=event))

        self._runner.work(batch, emit, lambda: self._stopping, self._cancelled.__contains__)
        return [*told, Done(_ID, finished=batch.id)]

    def cancel(self, job_ids: Collection[int], device: DeviceId) -> None:
        self._cancelled.update(job_ids)

    def interrupt(self) -> None:
        self._stopping = True

    def reconfigure(self, settings: RunnerSettings, idle_seconds: float) -> None:
        self._runner.close()
        self._runner = make_runner(settings)

    def unload(self, device: DeviceId) -> None:
        self._runner.unload()

    def abandon(self, device: DeviceId, why: str) -> None:
        """It works only while it is polled, so there is nothing to end."""

    def close(self) -> None:
        self._runner.close()
