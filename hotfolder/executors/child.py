"""One worker: a child process on one device. What breaks there breaks only there."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection
from dataclasses import replace
from multiprocessing.connection import Connection

from hotfolder.errors import EnvironmentTrouble
from hotfolder.executors.base import DeviceId, Done
from hotfolder.executors.local_devices import LocalDevice
from hotfolder.executors.wire import CANCEL, FINISHED, OTHER_VERSION, PINNED, READY, STOP, VERSION
from hotfolder.types import Batch, Outcome, Progress, RunnerSettings

#: How long a worker that is told to leave may take, in seconds, before it is killed.
_LEAVE_SECONDS = 5.0


class Child:
    """Started by the first batch and ended when idle, so that the device is free."""

    def __init__(self, device: LocalDevice, settings: RunnerSettings) -> None:
        self._device = device
        self._settings = device.settings(settings)
        self._process: subprocess.Popen[bytes] | None = None
        self.connection: Connection[object, object] | None = None
        self.is_busy = self._ready = False
        self._idle_since = 0.0
        self._batch_id: int | None = None  # in work
        self._abandoned = ""
        self._left_at: float | None = None  # when it was told to leave

    @property
    def id(self) -> DeviceId:
        return self._device.id

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return self._process.pid if self._process else None

    def submit(self, batch: Batch) -> None:
        """Raises EnvironmentTrouble where the worker cannot be started. Waits for one that is leaving."""
        if self._process is not None and (
            self._process.poll() is not None or self._abandoned or self._left_at is not None
        ):
            self._reap()  # died while idle, or is about to end: nothing is lost with it
        if self.connection is None:
            try:
                self._start()
            except OSError as error:
                raise EnvironmentTrouble(
                    f"the worker cannot start: {error}", "free memory or processes"
                ) from error
        assert self.connection is not None
        self.is_busy, self._batch_id = True, batch.id
        # Should it just have died: `hear` finds the end of the connection, and reports the batch as lost.
        with contextlib.suppress(OSError):
            self.connection.send(batch)

    def hear(self) -> list[Done]:
        """What it has told and nobody has heard yet; waits for nothing."""
        told: list[Done] = []
        connection = self.connection
        assert connection is not None
        while connection.poll():
            try:
                message = connection.recv()
            except (EOFError, OSError):
                started, batch_id = self._ready, self._batch_id
                told.append(Done(self.id, lost=self._reap(), batch_id=batch_id, started=started))
                break
            if message == READY:
                self._ready = True
                continue
            if isinstance(message, tuple) and message[0] == OTHER_VERSION:
                self._reap()
                told.append(
                    Done(self.id, lost="it is of another version", started=False, other_version=message[1])
                )
                break
            if isinstance(message, tuple) and message[0] == FINISHED:
                self.is_busy, self._idle_since = False, time.monotonic()
                told.append(Done(self.id, finished=message[1]))
                break
            if isinstance(message, Outcome):
                told.append(Done(self.id, outcome=message))
            elif isinstance(message, Progress):
                is_named = message.device and self._device.is_pinned
                told.append(
                    Done(self.id, progress=replace(message, device=self._device.name) if is_named else message)
                )
        return told

    @property
    def is_free(self) -> bool:
        """Whether it may be given a batch."""
        return not self.is_busy and self._left_at is None

    def leave_if_idle(self, seconds: float) -> None:
        """Lets it go when it has had nothing to do for so long; clears it away once it has left."""
        if self._process is None or self.is_busy:
            return
        now = time.monotonic()
        if self._left_at is None:
            if now - self._idle_since > seconds:
                self.let_go()
        elif self._process.poll() is not None:
            self._reap()
        elif now - self._left_at > _LEAVE_SECONDS:
            self._process.kill()

    def cancel(self, job_ids: Collection[int]) -> None:
        self._tell((CANCEL, tuple(job_ids)))

    def interrupt(self) -> None:
        self._tell(STOP)

    def reconfigure(self, settings: RunnerSettings) -> None:
        self._settings = self._device.settings(settings)
        self.let_go()

    def abandon(self, why: str) -> None:
        if self._process is not None:
            self._abandoned = why
            self._process.kill()

    def let_go(self) -> None:
        """Tells it to end, at once if it is busy: an idle worker leaves when its connection closes.

        `leave_if_idle` finds out when it has; `leave` waits for that.
        """
        if self._process is not None and self.connection is not None and self._left_at is None:
            if self.is_busy:
                self._process.kill()
            self.connection.close()
            self.is_busy, self._left_at = False, time.monotonic()

    def leave(self) -> None:
        """Ends it, and waits for that."""
        self.let_go()
        if self._process is not None:
            self._reap()

    def _tell(self, message: object) -> None:
        if self.connection is not None and self._left_at is None:
            with contextlib.suppress(OSError):
                self.connection.send(message)

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        environment = {
            **os.environ,
            # Nothing is downloaded unless a person asks for it; these make the libraries keep to that.
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            # Large activations come and go with every layer: huge pages spare a fault for each of their 4 KB.
            "GLIBC_TUNABLES": os.environ.get("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"),
            **self._device.environment,
        }
        with theirs:
            self._process = subprocess.Popen(
                # -P: a queue.py in the current folder is not the library's.
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "hotfolder.executors.worker",
                    str(theirs.fileno()),
                    str(os.getpid()),
                    VERSION,
                    *([PINNED] if self._device.is_pinned else []),
                ],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr.fileno(),  # stdout may be somebody's JSON
                env=environment,
            )
        self.connection, self._ready = Connection(ours.detach()), False
        # Should it have died already: `hear` finds that out.
        with contextlib.suppress(OSError):
            self.connection.send(self._settings)

    def _reap(self) -> str:
        """Clears away a worker that has ended, or is ending; says how it ended."""
        assert self._process is not None and self.connection is not None
        self.connection.close()
        try:
            code = self._process.wait(_LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._process, self.connection, self.is_busy = None, None, False
        self._batch_id = self._left_at = None
        abandoned, self._abandoned = self._abandoned, ""
        if abandoned:
            return abandoned
        if code < 0:
            return f"the worker was killed by {signal.Signals(-code).name}"
        return f"the worker ended with exit code {code}"
