"""Roots to test on, and what must be true of any root."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hotfolder.cli.setup import make_root
from hotfolder.config import loading
from hotfolder.config.settings import Settings
from hotfolder.daemon.loop import Daemon
from hotfolder.folders.layout import Layout

#: Quick, so that tests wait little; everything else as delivered.
QUICK = {
    "HOTFOLDER_SETTLE__QUIET_SECONDS": "0.05",
    "HOTFOLDER_SETTLE__INCOMPLETE_GRACE_SECONDS": "0.3",
    "HOTFOLDER_RETRY__BACKOFF_SECONDS": "0.05",
    "HOTFOLDER_RETRY__PAUSE_SECONDS": "0.2",
}


def new_root(folder: Path) -> Layout:
    root = folder / "root"
    make_root(root, "tiny")
    return Layout(root)


def settings(layout: Layout, **overrides: str) -> Settings:
    """The root's settings, quick, with overrides such as GATE__KEEP='7'."""
    return loading.load(layout.root, {**QUICK, **{f"HOTFOLDER_{k}": v for k, v in overrides.items()}})


def daemon(layout: Layout, executor: Any, **overrides: str) -> Daemon:
    return Daemon(layout.root, settings(layout, **overrides), executor)


def picture(path: Path, seed: int = 0, size: tuple[int, int] = (16, 12)) -> Path:
    """A small PNG of coloured noise, different for each seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, "PNG")
    return path


def rows(layout: Layout, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Makes no database where there is none yet: a daemon that starts would take it for a damaged one."""
    connection = sqlite3.connect(f"{layout.database.as_uri()}?mode=rw", uri=True)
    try:
        return connection.execute(sql, values).fetchall()
    finally:
        connection.close()


def files_in(layout: Layout, *folders: str) -> list[str]:
    """Paths of all files in these folders, relative to the root, sorted. A folder may be removed meanwhile."""
    found = [Path(at) / name for f in folders for at, _, names in os.walk(layout.root / f) for name in names]
    return sorted(p.relative_to(layout.root).as_posix() for p in found)


def is_worked(layout: Layout) -> bool:
    """Whether no job waits or is in work."""
    return rows(layout, "SELECT count(*) FROM jobs WHERE state IN ('queued', 'running')") == [(0,)]


def is_done(layout: Layout) -> bool:
    """Whether nothing lies in an inbox, waits or is in work."""
    return not files_in(layout, "inbox") and is_worked(layout)


def check_consistent(layout: Layout) -> None:
    """Each result file has its row, each row its file, nothing is left in the private folders."""
    on_disk = files_in(layout, "keep", "reject", "upscaled")
    in_ledger = sorted(
        path for (path,) in rows(layout, "SELECT path FROM results") if not path.startswith("archive/")
    )
    assert on_disk == in_ledger
    for (path,) in rows(layout, "SELECT path FROM results"):
        assert (layout.root / path).is_file(), path
    assert files_in(layout, ".hotfolder/staging", ".hotfolder/unscored") == []
    assert rows(layout, "SELECT count(*) FROM journal") == [(0,)]
    assert is_worked(layout)
