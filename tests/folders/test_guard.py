"""Folders are tried before the daemon relies on them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from hotfolder.errors import UsageError
from hotfolder.folders import guard
from hotfolder.folders.layout import Layout
from tests.support.roots import daemon
from tests.support.scripted import ScriptedExecutor, always


def test_a_folder_that_nothing_can_be_moved_into_stops_the_start(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a bind mount, which has the device number of the root."""
    real = guard.rename_noreplace

    def rename(src: Path, dst: Path) -> None:
        if dst.parent.name == "keep":
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(src), None, str(dst))
        real(src, dst)

    monkeypatch.setattr(guard, "rename_noreplace", rename)
    with pytest.raises(UsageError, match=f"cannot be moved between .* and {layout.root}/keep"):
        daemon(layout, ScriptedExecutor(always(7.0))).run(once=True)
    assert not list(layout.root.rglob(".hotfolder-trial-*"))
    assert not layout.database.exists()


def test_trying_leaves_nothing_behind(layout: Layout) -> None:
    layout.make()
    before = set(layout.root.rglob("*"))
    guard.try_moves(layout)
    assert set(layout.root.rglob("*")) == before
