"""Works on the devices of a running Ray cluster. Ray itself is in a process of its own: see ray_link."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from hotfolder.errors import EnvironmentTrouble
from hotfolder.executors.base import Device, DeviceId, Done, vanished
from hotfolder.executors.ray_wire import (
    ABANDON,
    ALIVE,
    BROKEN,
    CANCEL,
    DEVICES,
    INTERRUPT,
    RECONFIGURE,
    SUBMIT,
    UNLOAD,
    Setup,
    boot_id,
)  # fmt: skip
from hotfolder.executors.wire import OTHER_VERSION, VERSION
from hotfolder.types import Batch, Group, RunnerSettings

log = logging.getLogger(__name__)
#: Seconds without a sign of life after which the link is ended, and that it may take to leave.
_SILENT_SECONDS, _LEAVE_SECONDS = 120.0, 5.0
#: Seconds that it may take to read an order: what does not fit into the socket before that would hold up the daemon.
_TAKE_SECONDS = 20
#: Seconds until a link that broke is made anew, at least and at most.
_AGAIN, _AGAIN_MOST = 2.0, 60.0
#: Of Ray, where the person has not said otherwise. It would have `uv` make an environment anew on each node, and send
#: figures to its makers; a cluster without a token takes programs from anybody who reaches it.
RAY_ENVIRONMENT = {
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


class RayExecutor:
    """Each card of each node is a device; of a node without, its cores are one. They come and go with their nodes."""

    def __init__(
        self,
        settings: RunnerSettings,
        idle_seconds: float,
        address: str,
        *,
        root: Path | None = None,
        probe: Path | None = None,
        groups: Collection[Group] = (),
        wait_seconds: float = 30.0,
    ) -> None:
        """`root` with `probe`, a file below it that is written: nodes that see it get paths. Of `groups` they are
        asked at once whether they have the models. Waits for the first devices, but not for longer than
        `wait_seconds`."""
        self._groups = tuple(groups)
        self._settings, self._idle_seconds, self._address = settings, idle_seconds, address
        self._root, self._probe, self._nonce = root, probe, secrets.token_hex(16)
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection[Any, Any] | None = None
        self._devices: list[Device] = []
        self._busy: set[DeviceId] = set()
        self._told: list[Done] = []
        self._trouble = "connecting"
        self._again_at, self._again = 0.0, _AGAIN
        self._heard_at = 0.0
        self._is_complete = False
        if probe is not None:
            probe.write_text(self._nonce, encoding="ascii")
        until = time.monotonic() + wait_seconds
        while not self._is_complete and time.monotonic() < until:
            self._hear(0.1)

    def devices(self) -> Sequence[Device]:
        """Where there is no cluster, one stands for it that tells why."""
        return tuple(self._devices) or (Device("ray", self._address, unfit=self._trouble),)

    def capacity(self) -> Mapping[DeviceId, int]:
        return {each.id: int(not each.unfit and each.id not in self._busy) for each in self.devices()}

    def submit(self, batch: Batch, device: DeviceId) -> None:
        if all(device != each.id for each in self._devices):
            raise vanished(device)
        if not self._send((SUBMIT, device, batch)):
            raise EnvironmentTrouble(f"no connection to the cluster {self._address}", "see: hotfolder workers")
        self._busy.add(device)

    def poll(self, timeout: float) -> Sequence[Done]:
        self._hear(0 if self._told else timeout)
        told, self._told = self._told, []
        return told

    def cancel(self, job_ids: Collection[int], device: DeviceId) -> None:
        self._send((CANCEL, device, tuple(job_ids)))

    def interrupt(self) -> None:
        self._send((INTERRUPT,))

    def reconfigure(self, settings: RunnerSettings, idle_seconds: float) -> None:
        self._settings, self._idle_seconds = settings, idle_seconds
        self._send((RECONFIGURE, settings, idle_seconds))

    def unload(self, device: DeviceId) -> None:
        self._send((UNLOAD, device))
        self._devices = [replace(each, pid=None) if each.id == device else each for each in self._devices]

    def abandon(self, device: DeviceId, why: str) -> None:
        self._send((ABANDON, device, why))

    def close(self) -> None:
        self._end_link()
        if self._probe is not None:
            self._probe.unlink(missing_ok=True)

    def _send(self, order: Sequence[Any]) -> bool:
        if self._connection is None:
            return False
        try:
            self._connection.send(order)
        except BlockingIOError:  # a part of it is sent: nothing more can be understood
            self._broken(f"the link to the cluster took no orders for {_TAKE_SECONDS} s")
            return False
        except OSError:
            return False  # `_hear` finds the end of the connection
        return True

    def _hear(self, timeout: float) -> None:
        if self._connection is None:
            if time.monotonic() < self._again_at:
                time.sleep(min(timeout, max(0.0, self._again_at - time.monotonic())))
                return
            self._start()
        connection = self._connection
        if connection is None:
            time.sleep(timeout)
            return
        try:
            if connection.poll(timeout):
                while connection.poll(0):
                    self._take(connection.recv())
                self._heard_at = time.monotonic()
            elif time.monotonic() - self._heard_at > _SILENT_SECONDS:
                self._broken(f"the link to the cluster said nothing for {_SILENT_SECONDS:.0f} s")
        except (EOFError, OSError):
            self._broken(self._trouble or "the connection to the cluster broke")

    def _take(self, message: Any) -> None:
        if isinstance(message, Done):
            if message.finished is not None or message.lost is not None:
                self._busy.discard(message.device)
            self._told.append(message)
            return
        match message:
            case (what, devices, is_complete) if what == DEVICES:
                self._devices, self._is_complete = devices, is_complete and bool(devices)
                self._busy &= {each.id for each in devices}
                self._trouble, self._again = "" if devices else "the cluster has no device", _AGAIN
            case (what, why) if what == BROKEN:
                self._trouble, self._is_complete = why, True
            case (what, version) if what == OTHER_VERSION:
                self._trouble = f"hotfolder was changed to {version} while {VERSION} runs: start it again"
            case (what,) if what == ALIVE:
                pass

    def _broken(self, why: str) -> None:
        """All that was in work is lost, and no file is to blame."""
        self._end_link()
        self._told += [Done(device, lost=why, started=False) for device in sorted(self._busy)]
        log.warning("no connection to the cluster %s: %s", self._address, why)
        # What is gone is not told of any more, and what it had goes back.
        self._trouble, self._devices = why, []
        self._busy.clear()
        self._again_at, self._again = time.monotonic() + self._again, min(_AGAIN_MOST, 2 * self._again)

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _TAKE_SECONDS, 0))
        environment = {**RAY_ENVIRONMENT, **os.environ}
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [
                        sys.executable, "-P", "-m", "hotfolder.executors.ray_link",
                        str(theirs.fileno()), str(os.getpid()), VERSION,
                    ],
                    pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL, stdout=sys.stderr.fileno(), env=environment,
                )  # fmt: skip
            except OSError as error:
                ours.close()
                self._trouble = f"the link to the cluster cannot start: {error}"
                self._again_at = time.monotonic() + self._again
                return
        self._connection, self._heard_at = Connection(ours.detach()), time.monotonic()
        setup = Setup(
            self._settings, self._idle_seconds, self._address,
            str(self._root) if self._root else None, str(self._probe) if self._probe else None, self._nonce, boot_id(),
            self._groups,
        )  # fmt: skip
        with contextlib.suppress(OSError):
            self._connection.send(setup)

    def _end_link(self) -> None:
        if self._process is None or self._connection is None:
            return
        self._connection.close()
        try:
            self._process.wait(_LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process, self._connection = None, None
