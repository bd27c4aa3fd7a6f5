"""An executor without models: what each item comes to is what a function says. To measure the line, and for tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence

from hotfolder.executors.base import Device, DeviceId, Done, vanished
from hotfolder.types import Batch, Item, Kind, Outcome, Progress, RunnerSettings

#: What an item comes to; a text is the reason why the worker died on it.
Answer = Callable[[Kind, Item], Outcome | str]
_ID = "cpu"


class StandInExecutor:
    """Satisfies the Executor protocol. Works when it is polled, in this process."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._batch: Batch | None = None
        self._interrupted = False
        self._cancelled: set[int] = set()

    def devices(self) -> Sequence[Device]:
        return (Device(_ID, "here"),)

    def capacity(self) -> Mapping[DeviceId, int]:
        return {_ID: 0 if self._batch else 1}

    def submit(self, batch: Batch, device: DeviceId) -> None:
        if device != _ID:
            raise vanished(device)
        assert self._batch is None
        self._batch = batch
        self._interrupted = False
        self._cancelled.clear()

    def poll(self, timeout: float) -> Sequence[Done]:
        batch, self._batch = self._batch, None
        if batch is None:
            time.sleep(timeout)
            return []
        told: list[Done] = []
        for item in batch.items:
            if self._interrupted:
                break
            if item.job_id in self._cancelled:
                continue
            outcome = self._answer(batch.kind, item)
            if isinstance(outcome, str):
                return [*told, Done(_ID, progress=Progress(item.job_id, "at work")), Done(_ID, lost=outcome)]
            told.append(Done(_ID, outcome=outcome))
        return [*told, Done(_ID, finished=batch.id)]

    def cancel(self, job_ids: Collection[int], device: DeviceId) -> None:
        self._cancelled.update(job_ids)

    def interrupt(self) -> None:
        self._interrupted = True

    def reconfigure(self, settings: RunnerSettings, idle_seconds: float) -> None:
        """There is nothing to set."""

    def unload(self, device: DeviceId) -> None:
        """Nothing is held."""

    def abandon(self, device: DeviceId, why: str) -> None:
        """It works only while it is polled, so there is nothing to end."""

    def close(self) -> None:
        """Nothing is held."""
