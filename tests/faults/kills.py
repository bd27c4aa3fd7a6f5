"""SIGKILL at random moments, again and again."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time

import psutil

from hotfolder.folders.layout import Layout
from tests.faults.load import accounted_for, fill
from tests.support import forks
from tests.support.live import LiveDaemon
from tests.support.roots import QUICK


def of_a_daemon_without_models(layout: Layout, kills: int, files: int, seed: int) -> str:
    """Kills as soon and as often as possible: the daemon alone, whose jobs cost next to nothing."""
    rng = random.Random(seed)
    dropped = fill(layout, files, rng)
    words = ("tests.support.scripted_daemon", str(layout.root), "0.002")
    environ = {**os.environ, **QUICK}
    for _ in range(kills):
        layout.live_status.unlink(missing_ok=True)
        process = forks.start(*words, env=environ)
        while not layout.live_status.exists() and process.poll() is None:
            time.sleep(0.005)
        time.sleep(rng.uniform(0.0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.wait()
    ended = forks.run(*words, "--once", env=environ, timeout=300)
    assert ended.returncode == 0, ended.stderr[-2000:]
    return f"{kills} kills of the daemon; {accounted_for(layout, dropped)}"


def of_everything(layout: Layout, kills: int, files: int, seed: int, longest: float) -> str:
    """The real daemon and its worker, with real models: either of them, or both."""
    rng = random.Random(seed)
    dropped = fill(layout, files, rng, (64, 48))
    quick = {"HOTFOLDER_RETRY__MAX_DEATHS": "50", "HOTFOLDER_GATE__MAX_ATTEMPTS": "1"}
    counts = {"daemon": 0, "worker": 0, "both": 0}
    daemon = None
    for _ in range(kills):
        if daemon is None:
            layout.live_status.unlink(missing_ok=True)
            daemon = LiveDaemon(layout, **quick)
            daemon.watching()
        time.sleep(rng.uniform(0.0, longest))
        whom = rng.choice(sorted(counts))
        counts[whom] += 1
        workers = daemon.workers()
        if whom != "daemon":
            for worker in workers:
                with contextlib.suppress(psutil.NoSuchProcess):
                    worker.kill()
        if whom != "worker":
            daemon.kill()
            daemon = None
    if daemon is not None:
        assert daemon.stop() == 0
    with LiveDaemon(layout, "--once", **quick) as last:
        assert last.process.wait(1200) == 0, last.text()[-2000:]
    told = ", ".join(f"{count} of the {whom}" for whom, count in counts.items())
    return f"{kills} kills ({told}); {accounted_for(layout, dropped)}"
