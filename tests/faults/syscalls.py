"""Errors, and kills, at chosen system calls of a running daemon or worker, by strace(1)'s `inject`.

`python -m tests.faults.syscalls --errors 2000 --kills 500` does so many; it needs strace and the right to trace.
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from hotfolder.folders.layout import Layout
from tests.faults.load import accounted_for, fill
from tests.support import forks
from tests.support.live import LiveDaemon, wait_for
from tests.support.roots import QUICK, new_root

#: What a daemon asks of the kernel that may fail.
CALLS = (
    "openat", "newfstatat", "statx", "fstat", "lstat", "stat", "getdents64", "read", "pread64", "write", "pwrite64",
    "fsync", "fdatasync", "syncfs", "ftruncate", "rename", "renameat", "renameat2", "link", "linkat", "unlink",
    "unlinkat", "mkdir", "mkdirat", "rmdir", "fcntl", "flock", "access", "statfs", "utimensat", "fchmod", "close",
)  # fmt: skip
ERRORS = ("EIO", "ENOSPC", "EACCES", "EPERM", "EMFILE", "ENFILE", "ESTALE", "ENOMEM", "EINTR", "EROFS")
#: Errors that these calls give in truth, of all of the above.
_ONLY = {"close": ("EIO", "EINTR"), "flock": ("EINTR", "ENOMEM"), "fcntl": ("EACCES", "EIO")}


def why_not() -> str | None:
    """Why this cannot be done here, if so."""
    if shutil.which("strace") is None:
        return "there is no strace here"
    tried = subprocess.run(["strace", "-qq", "-o", os.devnull, "true"], capture_output=True, text=True)
    return None if tried.returncode == 0 else f"strace may not trace here: {tried.stderr.strip()[-200:]}"


@contextmanager
def injected(pid: int, call: str, what: str, first: int, step: int | None, log: Path) -> Iterator[None]:
    """While the context lasts: `what` ('error=EIO') at the so-manieth call, and at each `step` after."""
    when = f"{first}+{step}" if step else str(first)
    command = [
        "strace",
        "-f",
        "-qq",
        "-e",
        f"trace={call}",
        "-e",
        f"inject={call}:{what}:when={when}",
        "-o",
        str(log),
    ]
    process = subprocess.Popen([*command, "-p", str(pid)], stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()  # it lets the traced ones go
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:  # seldom it waits for one that was killed
            process.kill()
            process.wait()


@dataclass(slots=True)
class Ends:
    """When a daemon ended although it should not have: the call, the error, and what it said last."""

    found: list[tuple[str, str, str]] = field(default_factory=list)

    def told(self) -> str:
        return "; ".join(f"{call} {error}: {last}" for call, error, last in self.found)


class Scripted:
    """A daemon without models that is started anew when it has ended."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.log = layout.root.parent / "scripted.log"
        self.process: forks.Fork | None = None

    def running(self) -> forks.Fork:
        if self.process is None or self.process.poll() is not None:
            self.layout.live_status.unlink(missing_ok=True)
            words = ("tests.support.scripted_daemon", str(self.layout.root), "0.002")
            with self.log.open("wb") as log:
                self.process = forks.start(*words, env={**os.environ, **QUICK}, stderr=log)
            process = self.process
            wait_for(lambda: self.layout.live_status.exists() or process.poll() is not None, 120, "it watches")
        return self.process

    def last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        places = [line.strip() for line in lines if line.strip().startswith("File ")]
        return " | ".join([*lines[-1:], *places[-2:]]) or "nothing"

    def finish(self) -> None:
        """Ends it, and has all that is left done."""
        process = self.running()
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0, self.last_words()
        words = ("tests.support.scripted_daemon", str(self.layout.root), "0.002", "--once")
        ended = forks.run(*words, env={**os.environ, **QUICK}, timeout=300)
        assert ended.returncode == 0, ended.stderr[-2000:]


def errors(layout: Layout, wanted: int, seed: int, seconds: float = 1.0) -> str:
    """So many failing system calls of a daemon, of every kind; it may not end, and nothing may be lost."""
    rng = random.Random(seed)
    daemon, ends = Scripted(layout), Ends()
    dropped: dict[str, str] = {}
    by_call: collections.Counter[str] = collections.Counter()
    trace = layout.root.parent / "strace.log"
    pairs = [(call, error) for call in CALLS for error in _ONLY.get(call, ERRORS)]
    rng.shuffle(pairs)
    turns = 0
    while by_call.total() < wanted and turns < 4 * len(pairs):
        call, error = pairs[turns % len(pairs)]
        turns += 1
        process = daemon.running()
        trace.unlink(missing_ok=True)
        with injected(process.pid, call, f"error={error}", rng.randint(1, 9), rng.randint(3, 30), trace):
            dropped |= fill(layout, 6, rng, first=len(dropped))
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline and process.poll() is None:
                time.sleep(0.05)
        count = len(re.findall(r"\(INJECTED\)", trace.read_text(errors="replace"))) if trace.exists() else 0
        by_call[call] += count
        if process.poll() is not None:
            ends.found.append((call, error, daemon.last_words()))
    daemon.finish()
    told = accounted_for(layout, dropped)
    assert not ends.found, f"{len(ends.found)} ends of the daemon: {ends.told()}"
    kinds = sum(1 for count in by_call.values() if count)
    return f"{by_call.total()} injected errors at {kinds} kinds of calls, 0 ends of the daemon; {told}"


def kills(layout: Layout, wanted: int, seed: int) -> str:
    """SIGKILL at exactly the so-manieth call of a kind, so many times."""
    rng = random.Random(seed)
    daemon = Scripted(layout)
    dropped: dict[str, str] = {}
    done: collections.Counter[str] = collections.Counter()
    trace = layout.root.parent / "strace.log"
    calls = ("renameat2", "fsync", "fdatasync", "pwrite64", "openat", "newfstatat", "unlink", "unlinkat", "write")
    turns = 0
    while done.total() < wanted and turns < 4 * wanted:
        call = calls[turns % len(calls)]
        turns += 1
        process = daemon.running()
        most = 12 if call in ("fsync", "fdatasync", "renameat2", "unlink", "unlinkat") else 120
        with injected(process.pid, call, "signal=SIGKILL", rng.randint(1, most), None, trace):
            dropped |= fill(layout, 8, rng, first=len(dropped))
            deadline = time.monotonic() + 1.0
            while time.monotonic() < deadline and process.poll() is None:
                time.sleep(0.02)
        if process.poll() is not None:
            assert process.returncode == -signal.SIGKILL, daemon.last_words()
            done[call] += 1
    daemon.finish()
    return f"{done.total()} kills at {len(done)} kinds of calls; {accounted_for(layout, dropped)}"


def of_the_worker(layout: Layout, wanted: int, seed: int) -> str:
    """Errors and kills in the worker, with the built-in models: the daemon goes on, nothing is lost."""
    rng = random.Random(seed)
    quick = {
        "HOTFOLDER_RETRY__MAX_DEATHS": "50",
        "HOTFOLDER_GATE__MAX_ATTEMPTS": "1",
        "HOTFOLDER_RETRY__MAX_ATTEMPTS": "50",
    }
    trace = layout.root.parent / "strace.log"
    dropped: dict[str, str] = {}
    count = 0
    with LiveDaemon(layout, **quick) as daemon:
        daemon.watching()
        for turn in range(wanted):
            dropped |= fill(layout, 4, rng, (64, 48), first=len(dropped))
            wait_for(lambda: bool(daemon.workers()), 60, "a worker")
            call = rng.choice(("openat", "write", "fsync", "read", "newfstatat", "mkdir"))
            what = "signal=SIGKILL" if turn % 2 else f"error={rng.choice(('EIO', 'EMFILE', 'EACCES'))}"
            try:
                with injected(daemon.workers()[0].pid, call, what, rng.randint(1, 30), None, trace):
                    time.sleep(rng.uniform(0.3, 1.5))
            except (psutil.NoSuchProcess, IndexError):
                continue
            count += "INJECTED" in trace.read_text(errors="replace") if trace.exists() else 0
            assert daemon.process.poll() is None, daemon.text()[-2000:]
        assert daemon.stop() == 0
    with LiveDaemon(layout, "--once", **quick) as last:
        code = last.process.wait(1200)
    # What an error in the worker is taken for is not held here: its file may have failed. None may be lost.
    assert code in (0, 3), last.text()[-2000:]
    return f"{count} errors and kills in the worker; {accounted_for(layout, dropped)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--errors", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--worker", type=int, default=0, help="errors and kills in the worker")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    reason = why_not()
    if reason is not None:
        sys.exit(reason)
    for wanted, scenario in (
        (arguments.errors, errors),
        (arguments.kills, kills),
        (arguments.worker, of_the_worker),
    ):
        if wanted:
            with tempfile.TemporaryDirectory() as folder:
                sys.stdout.write(scenario(new_root(Path(folder)), wanted, arguments.seed) + "\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
