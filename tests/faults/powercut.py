"""Power cuts: the disk as it is at some moment, with nothing that only the kernel's memory had.

The root lies on an ext4 image, which lies on a btrfs: a copy-on-write copy of the image is what a cut would leave.
`python -m tests.faults.powercut --cuts 100` does so many; it needs root, loop devices and btrfs-progs.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hotfolder.folders.layout import Layout
from hotfolder.types import Kind
from tests.faults.disks import run
from tests.faults.load import digest
from tests.support import forks
from tests.support.live import wait_for
from tests.support.roots import QUICK, check_consistent, files_in, new_root, picture, rows

_OUTER_MB, _INNER_MB = 1024, 96
#: Seconds between two cuts, at most; a file system commits by itself every 5 seconds.
_LONGEST = 1.5
#: The image is small.
_ENVIRON = {**os.environ, **QUICK, "HOTFOLDER_OUTPUT__MIN_FREE_MB": "1"}
_FOLDERS = ("keep", "reject", "archive", "upscaled", "failed")


def why_not() -> str | None:
    """Why this cannot be done here, if so."""
    if os.geteuid() != 0 or not Path("/dev/loop-control").exists():
        return "only root mounts images"
    missing = [tool for tool in ("mkfs.btrfs", "mkfs.ext4") if shutil.which(tool) is None]
    return f"there is no {missing[0]} here" if missing else None


@contextmanager
def _mounted(image: Path, place: Path, *options: str) -> Iterator[Path]:
    place.mkdir(exist_ok=True)
    assert run("mount", "-o", ",".join(("loop", *options)), str(image), str(place)), f"{image} cannot be mounted"
    try:
        yield place
    finally:
        for _ in range(50):
            if run("umount", str(place)):
                break
            time.sleep(0.1)


def _image(path: Path, megabytes: int, *make: str) -> Path:
    with path.open("wb") as file:
        file.truncate(megabytes << 20)
    assert run(*make, str(path)), f"{make[0]} failed"
    return path


def _command(layout: Layout, *more: str) -> list[str]:
    return ["tests.support.scripted_daemon", str(layout.root), "0.001", *more]


def _drop(layout: Layout, number: int, *, synced: bool) -> tuple[str, str]:
    """A picture, or a prompt; its name and sha256."""
    if number % 5 == 4:
        path = layout.inbox(Kind.GENERATE) / f"{number:05d}.txt"
        path.write_text(f"a red circle --seed {number}\n")
    else:
        path = picture(layout.inbox(Kind.SCORE) / f"{number:05d}{'-bad' if number % 2 else ''}.png", number)
    if synced:
        for each, flags in ((path, os.O_RDONLY), (path.parent, os.O_RDONLY | os.O_DIRECTORY)):
            handle = os.open(each, flags)
            os.fsync(handle)
            os.close(handle)
    return path.name, digest(path)


def _after_a_cut(layout: Layout, must_be_there: dict[str, str]) -> int:
    """What is there is whole and worked to its end; how many results there are."""
    for stage in ("as it was found", "after another start"):
        known = {}
        if layout.database.exists() and rows(layout, "SELECT 1 FROM sqlite_master WHERE name = 'images'"):
            known = dict(rows(layout, "SELECT path, sha256 FROM images WHERE score IS NOT NULL"))
        for path, sha256 in known.items():
            file = layout.root / path
            if file.exists():
                assert digest(file) == sha256, (
                    f"{stage}: {path} has a score and other content, {file.stat().st_size} bytes"
                )
        if stage == "as it was found":
            ended = forks.run(*_command(layout, "--once"), env=_ENVIRON)
            assert ended.returncode == 0, ended.stderr[-2000:]
    check_consistent(layout)
    found = [digest(layout.root / path) for path in files_in(layout, *_FOLDERS)]
    for name, sha256 in must_be_there.items():
        assert found.count(sha256) == 1, f"{name} is there {found.count(sha256)} times"
    return len(known)


def cuts(folder: Path, wanted: int, seed: int, *, synced: bool) -> str:
    """`synced`: whoever drops a file waits until the disk has it; then none may be missing."""
    rng = random.Random(seed)
    results = number = 0
    with _mounted(_image(folder / "outer.img", _OUTER_MB, "mkfs.btrfs", "-q"), folder / "outer") as outer:
        image = _image(outer / "inner.img", _INNER_MB, "mkfs.ext4", "-q", "-F")
        with _mounted(image, folder / "inner") as inner:
            layout = new_root(inner)
            dropped: dict[str, str] = {}
            process = forks.start(*_command(layout), env=_ENVIRON)
            try:
                wait_for(layout.live_status.exists, 120, "it watches")
                for _ in range(wanted):
                    until = time.monotonic() + rng.uniform(0, _LONGEST)
                    while time.monotonic() < until:
                        name, sha256 = _drop(layout, number, synced=synced)
                        number += 1
                        dropped[name] = sha256
                        time.sleep(rng.choice((0, 0.002, 0.03)))
                    sure = dict(dropped) if synced else {}
                    copy = outer / "cut.img"
                    assert run("cp", "--reflink=always", str(image), str(copy)), "no copy-on-write here"
                    with _mounted(copy, folder / "cut") as cut:
                        results = _after_a_cut(Layout(cut / "root"), sure)
                    copy.unlink()
                    assert process.poll() is None
            finally:
                process.terminate()
                process.wait(120)
    kind = "synced" if synced else "not synced"
    return (
        f"{wanted} cuts, {number} files {kind} by whoever dropped them: {results} results at the last, none empty"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=int, default=50, help="with synced files, and as many without")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    reason = why_not()
    if reason is not None:
        sys.exit(reason)
    for synced in (True, False):
        with tempfile.TemporaryDirectory() as folder:
            sys.stdout.write(cuts(Path(folder), arguments.cuts, arguments.seed, synced=synced) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
