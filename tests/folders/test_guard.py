"""Whether the root is the one that the daemon was started on."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from hotfolder.errors import EnvironmentTrouble, LedgerError, UsageError
from hotfolder.folders import guard as guard_module
from hotfolder.folders.guard import Guard
from hotfolder.folders.layout import Layout
from hotfolder.ledger import connection
from hotfolder.ledger.ledger import Ledger
from tests.support.roots import daemon
from tests.support.scripted import ScriptedExecutor, always


@pytest.fixture
def guard(layout: Layout) -> Guard:
    layout.lock.touch()
    Ledger.open(layout.database)  # stays open
    return Guard(layout, [layout.lock, *connection.files(layout.database)])


@pytest.mark.parametrize("name", ["hotfolder.db", "hotfolder.db-wal", "hotfolder.db-shm", ".hotfolder/lock"])
@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_each_file_that_is_held_open_has_to_stay(layout: Layout, guard: Guard, name: str, how: str) -> None:
    guard.check_root()
    path = layout.root / name
    if how == "replaced":
        shutil.copy2(path, layout.root / "copy")
        (layout.root / "copy").rename(path)
    else:
        path.unlink()
    with pytest.raises(LedgerError, match=f"removed or replaced.*{name}$"):
        guard.check_root()
    assert guard.lost() == {path}


def test_a_root_that_is_gone_is_waited_for(layout: Layout, guard: Guard) -> None:
    away = layout.root.with_name("away")
    layout.root.rename(away)
    with pytest.raises(EnvironmentTrouble, match="not there any more"):
        guard.check_root()
    layout.inbox("score").mkdir(parents=True)  # the empty folder below a mount
    with pytest.raises(EnvironmentTrouble, match="not there any more"):
        guard.check_root()
    shutil.rmtree(layout.root)
    away.rename(layout.root)
    guard.check_root()


def test_a_root_in_the_place_of_another_one_is_not_waited_for(layout: Layout, guard: Guard) -> None:
    shutil.copytree(layout.root, layout.root.with_name("other"))
    layout.root.rename(layout.root.with_name("away"))
    layout.root.with_name("other").rename(layout.root)
    with pytest.raises(LedgerError, match="removed or replaced"):
        guard.check_root()


def test_a_folder_that_nothing_can_be_moved_into_stops_the_start(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = guard_module.rename_noreplace

    def rename(src: Path, dst: Path) -> None:
        if dst.parent.name == "keep":
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), str(src), None, str(dst))
        real(src, dst)

    monkeypatch.setattr(guard_module, "rename_noreplace", rename)
    with pytest.raises(UsageError, match=f"cannot be moved between .* and {layout.root}/keep"):
        daemon(layout, ScriptedExecutor(always(7.0))).run(once=True)
    assert not list(layout.root.rglob(".hotfolder-trial-*"))
    assert not layout.database.exists()


def test_trying_leaves_nothing_behind(layout: Layout) -> None:
    layout.make()
    before = set(layout.root.rglob("*"))
    guard_module.try_moves(layout)
    assert set(layout.root.rglob("*")) == before
