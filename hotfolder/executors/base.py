"""What every executor is."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from hotfolder.types import Batch, Outcome, Progress, RunnerSettings


@dataclass(frozen=True, slots=True)
class Done:
    """Something that an executor has to tell; only one of the first four is set."""

    outcome: Outcome | None = None
    progress: Progress | None = None
    finished: int | None = None  # id of the batch: it will tell nothing more of it
    lost: str | None = None  # why everything submitted and not reported is lost
    started: bool = True  # with `lost`: False when the worker never came to work, so no file is to blame
    other_version: str = (
        ""  # with `lost`: of the program as it is installed by now, which is not that of this process
    )


class Executor(Protocol):
    """Takes batches, tells outcomes. Retries nothing: that is the ledger's business."""

    def capacity(self) -> int:
        """How many more batches may be submitted now."""
        ...

    def submit(self, batch: Batch) -> None:
        """Takes a batch. The outcomes come from `poll`. Raises EnvironmentTrouble when no worker can be had."""
        ...

    def poll(self, timeout: float) -> Sequence[Done]:
        """What happened, waiting at most `timeout` seconds for it."""
        ...

    def cancel(self, job_ids: Collection[int]) -> None:
        """What is made for these jobs is not wanted any more: they are left as soon as can be, without an outcome."""
        ...

    def interrupt(self) -> None:
        """Asks the batch in work to end after the image in work; its other items get no outcome."""
        ...

    def reconfigure(self, settings: RunnerSettings, idle_seconds: float) -> None:
        """From the next batch on, works by other settings. Only between two batches."""
        ...

    def abandon(self, why: str) -> None:
        """Ends what hangs, by force; `poll` then tells that it is lost, and why."""
        ...

    def close(self) -> None:
        """Ends everything now."""
        ...
