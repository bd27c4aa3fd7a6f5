"""`hotfolder bench line`: how fast the daemon itself is, with an executor that answers at once."""

from __future__ import annotations

import os
import shutil
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hotfolder.bench.fsync import Counts, FsyncCounter
from hotfolder.bench.line_root import LineRoot
from hotfolder.config.settings import Settings
from hotfolder.errors import HotfolderError, UsageError
from hotfolder.files.filesystem import type_of
from hotfolder.status import live

Tell = Callable[[str, int, int], None]
#: Files of the run in which fsyncs are counted, at most.
_COUNTED = 2000
_FSYNCS_TRIED = 25
#: How long one lone file may take, and the daemon to start, in seconds.
_LONGEST = 60.0


@dataclass(frozen=True, slots=True)
class _Run:
    """What became of many files. `seconds` go from the daemon's start to its end; `cpu_seconds` are its own."""

    files: int
    seconds: float
    cpu_seconds: float
    peak_memory_mb: float
    kept: int
    fsyncs: Counts | None

    @property
    def seconds_per_file(self) -> float:
        return self.seconds / self.files

    def told(self) -> dict[str, Any]:
        fsyncs = self.fsyncs and {**asdict(self.fsyncs), "per_file": round(self.fsyncs.all / self.files, 4)}
        return {
            "files": self.files,
            "seconds": round(self.seconds, 3),
            "files_per_second": round(1 / self.seconds_per_file, 1),
            "ms_per_file": round(1000 * self.seconds_per_file, 4),
            "cpu_ms_per_file": round(1000 * self.cpu_seconds / self.files, 4),
            "peak_memory_mb": self.peak_memory_mb,
            "kept": self.kept,
            "rejected": self.files - self.kept,
            **({"fsyncs": fsyncs} if fsyncs else {}),
        }


def bench_line(
    folder: Path, sizes: Sequence[int], *, fsync_delay_ms: float, lone: int, tell: Tell
) -> dict[str, Any]:
    """Works so many files at once, for each of `sizes`, then `lone` files one by one, on new roots below `folder`.

    With `fsync_delay_ms` each fsync takes so much longer, SQLite's too. Raises UsageError for a folder that cannot be
    used, HotfolderError when not every file ended where it should, or when fsyncs are to be delayed and cannot be.
    """
    try:
        place = tempfile.TemporaryDirectory(prefix="hotfolder-bench-", dir=folder)
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be used: {error.strerror}", "name a folder that you can write to"
        ) from None
    with place as name:
        below = Path(name)
        counter, why_not = _counter(below, fsync_delay_ms)
        slow = counter if fsync_delay_ms else None
        found: dict[str, Any] = {
            "folder": str(folder.absolute()),
            "file_system": type_of(folder),
            "cores": os.cpu_count(),
            "fsync_ms": round(1000 * _fsync_seconds(below), 3),
            "fsync_delay_ms": fsync_delay_ms,
        }
        runs = [_many(below, files, slow, tell) for files in sizes]
        found["runs"] = [run.told() for run in runs]
        runs.sort(key=lambda run: run.files)
        if len(runs) > 1:
            ratio = runs[-1].seconds_per_file / runs[0].seconds_per_file
            found["time_per_file_of_most_to_least_files"] = round(ratio, 3)
        counted = runs[0]
        if counter is not None and slow is None:  # whose time was taken was not counted
            counted = _many(below, min(counted.files, _COUNTED), counter, tell)
            found["run_with_fsyncs_counted"] = counted.told()
        found["fsyncs_per_file"] = counted.told()["fsyncs"]["per_file"] if counted.fsyncs else None
        if why_not is not None:
            found["fsyncs_not_counted"] = why_not
        if lone:
            found["lone_file"] = _lone(below, lone, slow, tell)
    return found


def _counter(below: Path, delay_ms: float) -> tuple[FsyncCounter | None, str | None]:
    """What counts and delays fsyncs, or why there is none; raises HotfolderError for that where a delay is wanted."""
    try:
        counter = FsyncCounter(below, delay_ms)
        trial = LineRoot(below / "trial", 0)
        with trial.daemon("once", counter) as process:
            trial.told(process)
        if counter.counts().fdatasync == 0:  # nothing but SQLite calls it, for each commit
            raise HotfolderError(
                "fsyncs cannot be counted or delayed: SQLite's do not go through the C library here",
                "use a Python that is linked with the system's C library",
            )
    except HotfolderError as error:
        if delay_ms:
            raise
        return None, f"{error.message}; {error.fix}"
    return counter, None


def _fsync_seconds(below: Path) -> float:
    """How long it takes to write 4 KiB more to a file and make them durable, without any delay: the median."""
    took = []
    with (below / "fsync").open("wb") as file:
        for _ in range(_FSYNCS_TRIED):
            file.write(bytes(4096))
            file.flush()
            started = time.perf_counter()
            os.fsync(file.fileno())
            took.append(time.perf_counter() - started)
    return statistics.median(took)


def _many(below: Path, files: int, counter: FsyncCounter | None, tell: Tell) -> _Run:
    """So many files that lie there when the daemon starts, and that nobody is writing any more."""
    root, stage = LineRoot(below / "many", 0), f"{files} files"
    with root.daemon("once") as process:  # makes the database: that is no part of what is measured
        root.told(process)
    for number in range(files):
        root.drop(number)
        if number % 1000 == 0:
            tell(f"making {stage}", number, files)
    root.make_durable()  # or the first fsync of the daemon waits for all that was just made
    before = counter.counts() if counter else None
    with root.daemon("once", counter) as process:
        while process.poll() is None:
            now = live.read(root.layout.live_status)
            tell(stage, now.done if now else 0, files)
            time.sleep(0.5)
        told = root.told(process)
    fsyncs = counter.counts() - before if counter and before else None
    kept = root.check(files)
    shutil.rmtree(root.layout.root)
    return _Run(files, told["seconds"], told["cpu_seconds"], told["peak_memory_mb"], kept, fsyncs)


def _lone(below: Path, drops: int, counter: FsyncCounter | None, tell: Tell) -> dict[str, Any]:
    """Files that are dropped one by one into a daemon that has nothing to do, with the usual settings."""
    quiet = Settings().settle.quiet_seconds
    root = LineRoot(below / "lone", quiet)
    took = []
    with root.daemon("serve", counter) as process:
        _wait(root.layout.live_status.exists)
        for number in range(drops):
            tell("one file at a time", number, drops)
            time.sleep(0.5)  # it has come to rest
            name = root.drop(number)
            dropped = time.perf_counter()
            _wait(lambda name=name: root.ended(name))  # type: ignore[misc]
            took.append(1000 * (time.perf_counter() - dropped))
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        root.told(process)
    root.check(drops)
    return {
        "drops": drops,
        "quiet_seconds": quiet,
        "median_ms": round(statistics.median(took), 1),
        "median_ms_beyond_quiet": round(statistics.median(took) - 1000 * quiet, 1),
        "least_ms": round(min(took), 1),
        "most_ms": round(max(took), 1),
    }


def _wait(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _LONGEST
    while not until():
        if time.monotonic() > deadline:
            raise HotfolderError(f"nothing came of it within {_LONGEST:g} s", "see whether the disk is busy")
        time.sleep(0.0005)
