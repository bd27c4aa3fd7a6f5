"""A daemon without models, as a process of its own: `python -m hotfolder.bench.line_daemon ROOT once|serve`.

At its end it writes one line of JSON to stdout: what the run came to, how long it took, and the most memory it had.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import signal
import sys
import time
from pathlib import Path

from hotfolder.config import loading
from hotfolder.daemon.loop import Daemon
from hotfolder.executors.limits import die_with_parent
from hotfolder.executors.stand_in import StandInExecutor
from hotfolder.system.logs import log_to_stderr
from hotfolder.types import Item, Kind, Outcome, Score, SourceFacts


def judge(_: Kind, item: Item) -> Outcome:
    """A score from 1 to 9 that depends on the file's content alone."""
    assert item.source is not None
    data = Path(item.source).read_bytes()
    digest = hashlib.sha256(data)
    value = 1 + 8 * int.from_bytes(digest.digest()[:4], "big") / 2**32
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))  # of a PNG
    score = Score(value, "stand-in", "0" * 64, "none", "float64")
    return Outcome(item.job_id, item.claim, score=score, source=SourceFacts(digest.hexdigest(), width, height))


def peak_memory_mb(status: Path = Path("/proc/self/status")) -> float:
    """The most memory that this process has had since it began. (That of getrusage counts its parent's, too.)"""
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
    return round(int(found[1]) / 1024, 1) if found else 0.0


def main(root: Path, mode: str) -> None:
    die_with_parent()  # whoever measures may be killed
    log_to_stderr(logging.INFO, "%(asctime)s %(levelname)-7s %(message)s")
    daemon = Daemon(root, loading.load(root, {}), StandInExecutor(judge))
    signal.signal(signal.SIGTERM, lambda *_: daemon.stop())
    started, worked = time.perf_counter(), time.process_time()
    report = daemon.run(once=mode == "once")
    told = {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - worked,
        "done": report.done,
        "failed": report.failed,
        "paused": report.paused,
        "peak_memory_mb": peak_memory_mb(),
    }
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
