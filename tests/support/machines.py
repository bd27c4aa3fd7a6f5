"""Machines of a Ray cluster, all of them on this one: each has its own network, processes, host name and `/tmp/ray`.

Linux namespaces do that (unshare(1), nsenter(1), ip(8); root, or a user who may make them). `inside` starts a program
in namespaces of its own, so that nothing of it is left when it ends. There it is the first machine, with a bridge from
which a cable goes to each of the others:

- a machine is switched off: SIGKILL to its process 1, and the kernel ends all others in it at once;
- its network is cut: its cable leaves the bridge. Both ends stay up, packets just do not arrive, in either direction,
  and what runs there goes on running;
- it does not see a folder: an empty file system is mounted over it, there alone.

What runs on a machine is `hotfolder workers up`, begun again whenever it ends, as a unit of systemd with
`Restart=always` does.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from tests.support.live import REPOSITORY, wait_for

#: Of the first machine; the others follow.
HOME = "10.77.0.1"
ADDRESS = f"{HOME}:6379"
_BRIDGE = "hf0"
_UNSHARE = ("unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--mount-proc", "--kill-child")
#: A process of Ray in which a device is.
HOST = "ray::RayHost"


def why_not() -> str | None:
    """Why this cannot be done here, if so."""
    missing = [tool for tool in ("unshare", "nsenter", "ip", "mount", "hostname") if shutil.which(tool) is None]
    if missing:
        return f"there is no {missing[0]} here"
    probe = [*_unshare(), "sh", "-c", f"ip link add name {_BRIDGE} type bridge && mount -t tmpfs none /tmp"]
    done = subprocess.run(probe, capture_output=True, text=True)
    return f"namespaces cannot be made here: {done.stderr.strip()[-200:]}" if done.returncode else None


def _unshare() -> Sequence[str]:
    return _UNSHARE if os.geteuid() == 0 else (*_UNSHARE, "--user", "--map-root-user")


def inside(*arguments: str) -> Sequence[str]:
    """The command that runs a Python program as the first machine."""
    return [*_unshare(), sys.executable, *arguments]


class Machine:
    """One that works; with `hidden`, a folder that it does not see."""

    def __init__(self, folder: Path, number: int, environment: dict[str, str], hidden: Path | None) -> None:
        self.name, self.number = f"node-{number}", number
        self.temporary = folder / self.name
        self.temporary.mkdir()
        self.log = folder / f"{self.name}.log"
        own = f"10.77.0.{number + 1}"
        up = f"{sys.executable} -m hotfolder workers up --join {ADDRESS} --own-address {own} --cpus 1"
        hide = f"mount -t tmpfs none '{hidden}' &&" if hidden else ""
        script = (
            f"read go && hostname {self.name} && ip link set lo up && {_OWN_RAY} && {hide} "
            f"while :; do {up}; sleep 1; done"
        )
        with self.log.open("ab") as log:
            self._outer = subprocess.Popen(
                [*_UNSHARE, "sh", "-c", script], stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=REPOSITORY,
                env={**environment, "TMPDIR": str(self.temporary)},
            )  # fmt: skip
        wait_for(lambda: bool(psutil.Process(self._outer.pid).children()), 300, "the machine is there")
        self._first = psutil.Process(self._outer.pid).children()[0].pid
        here, there = f"hf{number}", f"hfn{number}"
        _run("ip", "link", "add", "name", here, "type", "veth", "peer", "name", there)
        _run("ip", "link", "set", there, "netns", str(self._first))
        within = ("nsenter", "--target", str(self._first), "--net")
        _run(*within, "ip", "addr", "add", f"{own}/24", "dev", there)
        _run(*within, "ip", "link", "set", there, "up")
        _run("ip", "link", "set", here, "up")
        self.mend()
        assert self._outer.stdin is not None
        self._outer.stdin.write(b"go\n")
        self._outer.stdin.close()

    def processes(self) -> list[psutil.Process]:
        return psutil.Process(self._first).children(recursive=True)

    def host(self) -> psutil.Process | None:
        """The process in which its device is."""
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                if " ".join(process.cmdline()).startswith(HOST):
                    return process
        return None

    def switch_off(self) -> None:
        os.kill(self._first, signal.SIGKILL)
        self._outer.wait()

    def cut(self) -> None:
        """Its network."""
        _run("ip", "link", "set", f"hf{self.number}", "nomaster")

    def mend(self) -> None:
        """Its network."""
        _run("ip", "link", "set", f"hf{self.number}", "master", _BRIDGE)

    def left(self) -> list[Path]:
        """Folders that hosts have made there and not removed."""
        return sorted(self.temporary.glob("hotfolder-*"))


class Machines:
    """All of them; this process is on the first, which is the head of the cluster and works nothing itself."""

    def __init__(self, folder: Path, *, hidden: Path | None = None, **environ: str) -> None:
        self.folder, self._hidden = folder, hidden
        self.environment = {
            **os.environ, "PYTHONPATH": str(REPOSITORY), "RAY_AUTH_TOKEN_PATH": str(folder / "token"), **environ,
        }  # fmt: skip
        self._count = 0
        self._head: subprocess.Popen[bytes] | None = None
        _run("sh", "-c", f"ip link set lo up && {_OWN_RAY} && ip link add name {_BRIDGE} type bridge")
        _run("ip", "addr", "add", f"{HOME}/24", "dev", _BRIDGE)
        _run("ip", "link", "set", _BRIDGE, "up")
        self.start_head()
        wait_for((folder / "token").is_file, 300, "the head has made a token")

    def start_head(self) -> None:
        up = f"{sys.executable} -m hotfolder workers up --own-address {HOME} --cpus 0 --gpus 0"
        command = ["sh", "-c", f"while :; do {up}; sleep 1; done"]
        with (self.folder / "head.log").open("ab") as log:
            self._head = subprocess.Popen(
                command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=REPOSITORY
            )

    def kill_head(self) -> None:
        """All processes of it, and so of the node that the daemon's machine is."""
        assert self._head is not None
        processes = [psutil.Process(self._head.pid), *psutil.Process(self._head.pid).children(recursive=True)]
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._head.wait()

    def add(self) -> Machine:
        self._count += 1
        return Machine(self.folder, self._count, self.environment, self._hidden)


#: Machines of one cluster have their own folder for what Ray says of this machine.
_OWN_RAY = "mkdir -p /tmp/ray && mount -t tmpfs none /tmp/ray"


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"


def stopped(process: psutil.Process, seconds: float) -> None:
    """It does nothing for so long."""
    process.suspend()
    time.sleep(seconds)
    with contextlib.suppress(psutil.NoSuchProcess):  # somebody has ended it meanwhile
        process.resume()
