"""Hostile files in every inbox, and a daemon that may have little memory: `python -m tests.faults.confined`.

The daemon is put into a memory cgroup of its own (root, cgroup version 1 or 2); its workers, which have a limit
of their own, are put outside.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import time
from pathlib import Path

import psutil

from hotfolder.folders.layout import Layout
from hotfolder.types import Kind
from tests.faults import hostile
from tests.faults.bombs import bombs
from tests.support.live import LiveDaemon
from tests.support.roots import files_in, is_done, new_root

_VERSIONS = (
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
    (Path("/sys/fs/cgroup"), "memory.max"),
)


def cgroup(limit: int) -> tuple[Path, Path]:
    """A new one with this limit in bytes, and the one above it."""
    above, name = next(version for version in _VERSIONS if (version[0] / "cgroup.procs").exists())
    folder = above / f"hotfolder-test-{os.getpid()}"
    folder.mkdir()
    (folder / name).write_text(str(limit))
    return folder, above


def dropped(layout: Layout, images: int) -> int:
    """So many hostile images in each of three inboxes, and what would take the memory of whoever unpacks it."""
    chosen = list(itertools.islice(hostile.files(), images))
    for kind in (Kind.GENERATE, Kind.SCORE, Kind.UPSCALE):
        for name, data in chosen:
            (layout.inbox(kind) / f"{kind}-{name}").write_bytes(data)
    return len(chosen) * 3 + sum(1 for _ in bombs(layout.inbox(Kind.GENERATE)))


def confined(layout: Layout, images: int, limit: int) -> str:
    """The peak of the daemon, and what became of the files. Raises AssertionError where it was ended."""
    count = dropped(layout, images)
    folder, above = cgroup(limit)
    peak, started = 0, time.monotonic()
    try:
        with LiveDaemon(layout, HOTFOLDER_GATE__UPSCALE="10") as line:
            (folder / "cgroup.procs").write_text(str(line.process.pid))
            daemon = psutil.Process(line.process.pid)
            while not is_done(layout):
                assert line.process.poll() is None, line.text()[-2000:]
                for worker in line.workers():
                    try:
                        (above / "cgroup.procs").write_text(str(worker.pid))
                    except ProcessLookupError:
                        continue
                peak = max(peak, daemon.memory_info().rss)
                assert time.monotonic() - started < 3000, files_in(layout, "inbox")
                time.sleep(0.05)
            assert line.stop() == 0
    finally:
        folder.rmdir()
    failed = sum(1 for path in files_in(layout, "failed") if not path.endswith(".error.json"))
    return (
        f"{count} files in {time.monotonic() - started:.0f} s: {failed} failed, the others were worked; the daemon "
        f"was never ended, and held {peak >> 20} MiB at most"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=129, help="in each inbox")
    parser.add_argument("--limit", type=int, default=1024, help="MiB for the daemon")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(confined(new_root(Path(folder) / "root"), arguments.images, arguments.limit << 20))  # noqa: T201


if __name__ == "__main__":
    main()
