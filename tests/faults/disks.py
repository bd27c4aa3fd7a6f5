"""Real disks that are full, read-only or gone."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hotfolder.daemon.loop import Daemon
from hotfolder.folders.layout import Layout
from hotfolder.status.live import read
from tests.support.live import wait_for


def run(*command: str) -> bool:
    return subprocess.run(command, capture_output=True).returncode == 0


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    """A file system of its own in `folder`; skips where nothing may be mounted."""
    folder.mkdir(parents=True, exist_ok=True)
    if not run("mount", *options, str(folder)):
        pytest.skip("this user may not mount file systems")
    try:
        yield folder
    finally:
        run("umount", "-l", str(folder))


@contextmanager
def working(daemon: Daemon) -> Iterator[None]:
    """The daemon at work in a thread; its database is there from the beginning."""
    troubles: list[BaseException] = []

    def target() -> None:
        try:
            daemon.run()
        except BaseException as error:  # noqa: BLE001 - told below
            troubles.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    try:
        wait_for(lambda: daemon._is_open or not thread.is_alive(), 20, "it is at work")
        yield
    finally:
        daemon.stop()
        thread.join(240)
    assert not thread.is_alive()
    assert troubles == []


def paused(layout: Layout) -> str:
    """Why the daemon waits, as `status` tells it."""
    snapshot: Any = read(layout.live_status)
    return (snapshot.paused or "") if snapshot else ""


def wait_for_pause(layout: Layout, text: str) -> None:
    wait_for(lambda: text in paused(layout), 60, f"it pauses with '{text}', it says '{paused(layout)}'")


def fill_up(folder: Path) -> Path:
    """Takes all the space there is."""
    filler = folder / "filler"
    with filler.open("ab", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1 << 8, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return filler
