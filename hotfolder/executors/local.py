"""Runs batches in a child process: what breaks there breaks only there."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from multiprocessing.connection import Connection, wait

from hotfolder.errors import EnvironmentTrouble
from hotfolder.executors.base import Done
from hotfolder.executors.wire import CANCEL, FINISHED, OTHER_VERSION, READY, STOP, VERSION
from hotfolder.types import Batch, Outcome, RunnerSettings

#: How long a worker that is told to leave may take, in seconds, before it is killed.
_LEAVE_SECONDS = 5.0


class LocalExecutor:
    """One worker, started by the first batch and ended when idle, so that the device is free.

    `idle_seconds` without work end the worker.
    """

    def __init__(self, settings: RunnerSettings, idle_seconds: float) -> None:
        self._settings = settings
        self._idle_seconds = idle_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection[object, object] | None = None
        self._busy = self._ready = False
        self._idle_since = 0.0
        self._abandoned = ""

    @property
    def worker_pid(self) -> int | None:
        """The worker, while there is one."""
        return self._process.pid if self._process else None

    def capacity(self) -> int:
        return 0 if self._busy else 1

    def submit(self, batch: Batch) -> None:
        if self._process is not None and self._process.poll() is not None:
            self._reap()  # died while idle: nothing is lost with it
        if self._connection is None:
            try:
                self._start()
            except OSError as error:
                raise EnvironmentTrouble(
                    f"the worker cannot start: {error}", "free memory or processes"
                ) from error
        assert self._connection is not None
        self._busy = True
        # Should it just have died: poll finds the end of the connection, and reports the batch as lost.
        with contextlib.suppress(OSError):
            self._connection.send(batch)

    def poll(self, timeout: float) -> Sequence[Done]:
        connection = self._connection
        if connection is None or not self._busy:
            if self._process is not None and time.monotonic() - self._idle_since > self._idle_seconds:
                self._leave()
            time.sleep(timeout)
            return []
        told: list[Done] = []
        while wait([connection], 0 if told else timeout):
            try:
                message = connection.recv()
            except (EOFError, OSError):
                started = self._ready
                told.append(Done(lost=self._reap(), started=started))
                break
            if message == READY:
                self._ready = True
                continue
            if isinstance(message, tuple) and message[0] == OTHER_VERSION:
                self._reap()
                told.append(Done(lost="it is of another version", started=False, other_version=message[1]))
                break
            if isinstance(message, tuple) and message[0] == FINISHED:
                self._busy, self._idle_since = False, time.monotonic()
                told.append(Done(finished=message[1]))
                break
            if isinstance(message, Outcome):
                told.append(Done(outcome=message))
            else:
                told.append(Done(progress=message))  # type: ignore[arg-type]
        return told

    def cancel(self, job_ids: Collection[int]) -> None:
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.send((CANCEL, tuple(job_ids)))

    def interrupt(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.send(STOP)

    def reconfigure(self, settings: RunnerSettings, idle_seconds: float) -> None:
        self._settings, self._idle_seconds = settings, idle_seconds
        if self._process is not None:
            self._leave()

    def abandon(self, why: str) -> None:
        if self._process is not None:
            self._abandoned = why
            self._process.kill()

    def close(self) -> None:
        if self._process is not None:
            if self._busy:
                self._process.kill()
                self._reap()
            else:
                self._leave()

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
                ],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr.fileno(),  # stdout may be somebody's JSON
                env=environment,
            )
        self._connection, self._ready = Connection(ours.detach()), False
        # Should it have died already: poll finds that out.
        with contextlib.suppress(OSError):
            self._connection.send(self._settings)

    def _leave(self) -> None:
        """Ends an idle worker: it leaves when its connection closes."""
        assert self._process is not None and self._connection is not None
        self._connection.close()
        try:
            self._process.wait(_LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._reap()

    def _reap(self) -> str:
        """Clears away a worker that has ended, or is ending; says how it ended."""
        assert self._process is not None and self._connection is not None
        self._connection.close()
        try:
            code = self._process.wait(_LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._process, self._connection, self._busy = None, None, False
        abandoned, self._abandoned = self._abandoned, ""
        if abandoned:
            return abandoned
        if code < 0:
            return f"the worker was killed by {signal.Signals(-code).name}"
        return f"the worker ended with exit code {code}"
