"""Very many files at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from hotfolder.folders.layout import Layout
from hotfolder.folders.scan import scan
from hotfolder.status.live import read
from hotfolder.types import Kind
from tests.support.live import REPOSITORY, wait_for
from tests.support.roots import QUICK, rows, settings

#: Of a core: less than a daemon may take that has nothing to do. Of its own time, whatever else works meanwhile.
_IDLE = 0.03
#: How many events the kernel keeps for a watch that does not read them.
_QUEUE = Path("/proc/sys/fs/inotify/max_queued_events")


def make(inbox: Path, count: int) -> None:
    for number in range(count):
        handle = os.open(inbox / f"{number:06d}.png", os.O_CREAT | os.O_WRONLY)
        os.write(handle, b"x")
        os.close(handle)


@contextmanager
def daemon_whose_worker_never_ends(layout: Layout, **more: str) -> Iterator[psutil.Process]:
    """So that every file stays where it is; with more settings, as variables of the environment."""
    command = [sys.executable, "-m", "tests.support.scripted_daemon", str(layout.root), "-1"]
    environ = {**os.environ, **QUICK, **more}
    process = subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL, cwd=REPOSITORY)
    try:
        wait_for(layout.live_status.exists, 120, "it runs")
        yield psutil.Process(process.pid)
    finally:
        process.kill()
        process.wait()


def taken(layout: Layout) -> int:
    return int(rows(layout, "SELECT count(*) FROM drops")[0][0])


def while_it_is_stopped(layout: Layout, count: int) -> str:
    """SIGSTOP, so many files, SIGCONT: the kernel's queue overflows."""
    # What was missed is told with the next regular look, which comes every half a minute else.
    with daemon_whose_worker_never_ends(layout, HOTFOLDER_WATCH__RESCAN_SECONDS="5") as process:
        time.sleep(1)
        process.send_signal(signal.SIGSTOP)
        make(layout.inbox(Kind.SCORE), count)
        process.send_signal(signal.SIGCONT)
        seconds = wait_for(lambda: taken(layout) >= count, 300, "all are taken")
        assert rows(layout, "SELECT count(*), count(DISTINCT path) FROM drops") == [(count, count)]
        told = ""
        if count >= 20_000 and count > int(_QUEUE.read_text()):
            wait_for(lambda: "without an event" in str(read(layout.live_status)), 300, "status says so")
            snapshot = read(layout.live_status)
            assert snapshot is not None
            told = f"; status: {snapshot.watcher}"
    return f"{count:,} files made while it was stopped, all taken {seconds:.1f} s after it went on{told}"


def _share_of_a_core(process: psutil.Process, seconds: float) -> float:
    before = process.cpu_times()
    time.sleep(seconds)
    after = process.cpu_times()
    return (after.user + after.system - before.user - before.system) / seconds


def at_start(layout: Layout, count: int) -> str:
    """So many files lie there before it starts."""
    inbox = layout.inbox(Kind.SCORE)
    make(inbox, count)
    started, worked = time.perf_counter(), time.process_time()
    assert sum(1 for _ in scan(layout.root, "inbox/score", settings(layout).watch.ignore, [])) == count
    scanned, cost = time.perf_counter() - started, time.process_time() - worked
    peak = 0
    with daemon_whose_worker_never_ends(layout) as process:
        began = time.monotonic()
        while taken(layout) < count:
            peak = max(peak, process.memory_info().rss)
            assert time.monotonic() - began < 300
            time.sleep(0.2)
        took = time.monotonic() - began
        time.sleep(3)
        share = _share_of_a_core(process, 8)
        idle = max(
            _IDLE, cost
        )  # a second costs no more than one look at all of them, on a machine that is slow, too
        if share >= idle:  # perhaps the regular scan of all files, which does not come twice in that time
            share = _share_of_a_core(process, 8)
        peak = max(peak, process.memory_info().rss)
    assert share < idle
    assert peak < 150e6
    return (
        f"{count:,} files at the start: read in {scanned:.2f} s, {peak / 1e6:.0f} MB at most, taken in {took:.0f} s, "
        f"{share:.2%} of a core when idle"
    )
