"""Lives on a node of a Ray cluster and holds one of its devices. It knows nothing of Ray but its version.

The models are in a child process of it, the same worker as on the daemon's machine: it dies with this process, and
what breaks in it breaks only there.
"""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hotfolder.executors.base import Done
from hotfolder.executors.carrying import AT_ONCE, Baggage, as_error, clear_left_behind
from hotfolder.executors.local import LocalExecutor
from hotfolder.executors.local_devices import count_cores, local_devices
from hotfolder.executors.node_models import NodeModels
from hotfolder.executors.ray_wire import boot_id
from hotfolder.executors.wire import VERSION
from hotfolder.files.identity import facts_of
from hotfolder.models.receive import received_tastes
from hotfolder.types import Batch, Item, Outcome, RunnerSettings

#: Seconds after which a host that nobody asks for news ends: a link asks every few seconds, and gives up after 60. So
#: one that is cut off works no longer for nobody, and its device is free, whatever becomes of the cluster.
UNASKED_SECONDS = 180.0


class RayHost(NodeModels):
    """One device. Nothing here takes longer than the seconds that it is given, and starting a process."""

    def __init__(self, device: str, *, on_gpu: bool) -> None:
        """Ray has set CUDA_VISIBLE_DEVICES to the card that is meant."""
        super().__init__()
        (found,) = local_devices(("cuda:0" if on_gpu else "cpu",), "auto", cards=1, cores=count_cores())
        environment = dict(found.environment)
        if not on_gpu:  # Ray says 1 for each process that has one core of its book-keeping
            environment["OMP_NUM_THREADS"] = str(count_cores())
        self._device = replace(found, id=device, environment=environment)
        self._executor: LocalExecutor | None = None
        self._sees_root = self._is_same_machine = False
        self._baggage: Baggage | None = None
        self._told: list[Done] = []  # not handed over yet
        clear_left_behind()
        self._asked_at = time.monotonic()
        threading.Thread(target=self._end_unasked, name="end unasked", daemon=True).start()

    def _end_unasked(self) -> None:
        while (left := self._asked_at + UNASKED_SECONDS - time.monotonic()) > 0:
            time.sleep(left)
        if self._baggage is not None:
            self._baggage.close()
        os._exit(1)  # its worker dies with it

    def hello(self, probe: str | None, nonce: str, there: str) -> Mapping[str, Any]:
        """Which programs these are, and whether they see the root: plain values, which every version understands."""
        import ray

        self._is_same_machine = bool(there) and boot_id() == there
        self._sees_root = probe is not None and _sees(Path(probe), nonce)
        return {
            "hotfolder": VERSION, "python": platform.python_version(), "ray": ray.__version__,
            "machine": platform.node(), "sees_root": self._sees_root,
        }  # fmt: skip

    def set_up(self, settings: RunnerSettings, idle_seconds: float) -> None:
        """Before the first batch, and whenever settings are others."""
        if not (self._sees_root and self._is_same_machine):
            settings = replace(settings, database=None)  # SQLite is not for a file system of the network
        if not self._sees_root:
            settings = replace(settings, tastes=str(received_tastes()))
        if self._executor is None:
            self._executor = LocalExecutor(settings, idle_seconds, (self._device,))
        else:
            self._executor.reconfigure(settings, idle_seconds)

    def submit(self, batch: Batch, carried: Sequence[tuple[int, str]] | None, *files: Any) -> str:
        """`carried`: job and role of each of `files`; None: the paths are those of this machine. Why it cannot be,
        else empty."""
        assert self._executor is not None
        try:
            if carried is None:
                items = tuple(map(self._as_here, batch.items))
            else:
                self._baggage = self._baggage or Baggage()
                of: dict[int, dict[str, memoryview]] = {}
                for (job_id, role), data in zip(carried, files, strict=True):
                    of.setdefault(job_id, {})[role] = memoryview(data)
                items = tuple(self._baggage.unpack(item, of.get(item.job_id, {})) for item in batch.items)
            self._executor.submit(replace(batch, items=items), self._device.id)
        except Exception as error:  # noqa: BLE001 - the edge of this process
            return as_error(error).message
        return ""

    def _as_here(self, item: Item) -> Item:
        """Numbers of files and file systems are of one machine alone: size and time still have to be the same."""
        if self._is_same_machine or item.file is None or item.source is None:
            return item
        try:
            facts = facts_of(os.lstat(item.source))
        except OSError:
            return item  # the worker says what is the matter
        return replace(item, file=replace(item.file, inode=facts.inode, device=facts.device))

    def poll(self, seconds: float) -> tuple[int | None, list[tuple[Done, bytes | None]]]:
        """The worker's process id, and what happened, with the bytes of what was made."""
        self._asked_at = time.monotonic()
        if self._executor is None:
            return None, []
        if not self._told:
            self._told = list(self._executor.poll(seconds))
        found: list[tuple[Done, bytes | None]] = []
        size = 0
        while self._told and size < AT_ONCE:
            done, data = self._packed(self._told.pop(0))
            found.append((done, data))
            size += len(data or b"")
        return self._executor.devices()[0].pid, found

    def _packed(self, done: Done) -> tuple[Done, bytes | None]:
        if self._baggage is None:
            return done, None
        if done.outcome is not None:
            try:
                outcome, data = self._baggage.pack(done.outcome)
            except OSError as error:
                failed = Outcome(done.outcome.job_id, done.outcome.claim, error=as_error(error))
                return replace(done, outcome=failed), None
            return replace(done, outcome=outcome), data
        if done.finished is not None or done.lost is not None:
            self._baggage.clear()
        return done, None

    def cancel(self, job_ids: Collection[int]) -> None:
        if self._executor is not None:
            self._executor.cancel(job_ids, self._device.id)

    def interrupt(self) -> None:
        if self._executor is not None:
            self._executor.interrupt()

    def unload(self) -> None:
        if self._executor is not None:
            self._executor.unload(self._device.id)

    def close(self) -> None:
        """Before it is ended: nothing of it stays."""
        if self._executor is not None:
            self._executor.close()
        if self._baggage is not None:
            self._baggage.close()


def _sees(probe: Path, nonce: str) -> bool:
    """Whether this is the root of the daemon, and results may be put there."""
    try:
        return probe.read_text(encoding="ascii") == nonce and os.access(probe.parent, os.W_OK | os.X_OK)
    except (OSError, ValueError):
        return False
