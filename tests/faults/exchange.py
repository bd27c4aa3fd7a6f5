"""Somebody who may write into sub-folders of the inboxes exchanges them for links to a private folder, all the time.

As a script, `python -m tests.faults.exchange --seconds 60`: as long, with the built-in models, as another user where
this one is root. What it prints is what became of the private files.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hotfolder.folders.layout import Layout
from hotfolder.types import Kind
from tests.support.live import LiveDaemon, wait_for
from tests.support.roots import files_in, new_root, picture, rows

_RENAME_EXCHANGE = 2
_NOBODY = 65534
#: Pictures that have the same names in the private folder and in the sub-folders.
_NAMES = [f"p{number}.png" for number in range(12)]
_KINDS = (Kind.SCORE, Kind.UPSCALE)


def attack(folders: list[Path], private: Path) -> None:
    """Never ends: sub-folder and link change places, and new pictures come into the real one."""
    if os.geteuid() == 0:
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)
    library, choose = ctypes.CDLL(None, use_errno=True), random.Random(1)
    seed = 0
    links = []
    for folder in folders:
        links.append(folder.with_name("away"))
        links[-1].symlink_to(private)
    while True:
        for folder, link in zip(folders, links, strict=True):
            for _ in range(choose.randrange(1, 40)):
                library.renameat2(-100, bytes(folder), -100, bytes(link), _RENAME_EXCHANGE)
                time.sleep(choose.choice((0, 0, 0.0005, 0.002)))
            real = next(path for path in (folder, link) if not path.is_symlink())
            name = choose.choice(_NAMES)
            if not (real / name).exists():
                seed += 1
                picture(real / f".{name}", 1000 + seed).rename(real / name)


@contextmanager
def attacked(layout: Layout, private: Path) -> Iterator[None]:
    """While the context lasts."""
    layout.root.parent.chmod(0o755)
    for parent in layout.root.parent.parents:
        if not parent.stat().st_mode & 0o001 and os.geteuid() == 0:
            parent.chmod(parent.stat().st_mode | 0o001)  # another user has to come that far
    private.mkdir()
    for number, name in enumerate(_NAMES):
        picture(private / name, number)
    private.chmod(0o700)
    folders = []
    for kind in _KINDS:
        folder = layout.inbox(kind) / "shared"
        folder.mkdir()
        for place in (folder, folder.parent):
            place.chmod(0o777)
        folders.append(folder)
    command = [sys.executable, "-m", "tests.faults.exchange", "--attack", str(private), *map(str, folders)]
    process = subprocess.Popen(command, cwd=Path(__file__).resolve().parents[2])
    try:
        yield
        assert process.poll() is None, "the attack ended by itself"
    finally:
        process.kill()
        process.wait()


def contents(private: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(private.iterdir())}


def exchange(layout: Layout, seconds: float) -> str:
    """Nothing of the private folder is read, moved or enlarged; what the other user dropped is worked."""
    private = layout.root.parent / "private"
    with attacked(layout, private):
        before = contents(private)
        with LiveDaemon(layout, HOTFOLDER_GATE__UPSCALE="10", HOTFOLDER_GATE__KEEP="9.9") as daemon:
            daemon.watching()
            time.sleep(seconds)
            # The exchange holds up the work on the pictures that are meant, too.
            wait_for(
                lambda: bool(rows(layout, "SELECT 1 FROM images")), 300, "a picture of the other user is judged"
            )
            assert daemon.process.poll() is None, daemon.text()[-2000:]
    assert contents(private) == before
    known = {sha256 for (sha256,) in rows(layout, "SELECT sha256 FROM images")}
    made = {
        hashlib.sha256((layout.root / path).read_bytes()).hexdigest()
        for path in files_in(layout, "keep", "reject", "upscaled", "failed", "archive")
    }
    assert not (known | made) & set(before.values())
    judged, enlarged = (
        len(rows(layout, f"SELECT 1 FROM images WHERE role {r}")) for r in ("!= 'upscaled'", "= 'upscaled'")
    )
    theirs = f"{judged} pictures of the other user judged, {enlarged} enlarged"
    return f"{seconds:g} s: {theirs}; {len(before)} private files untouched"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--attack", nargs="+", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.attack:
        attack(arguments.attack[1:], arguments.attack[0])
    with tempfile.TemporaryDirectory() as folder:
        sys.stdout.write(exchange(new_root(Path(folder)), arguments.seconds) + "\n")


if __name__ == "__main__":
    main()
