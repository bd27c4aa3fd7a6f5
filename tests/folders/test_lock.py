"""One daemon per root."""

from __future__ import annotations

from pathlib import Path

import pytest

from hotfolder.errors import AlreadyRunning
from hotfolder.folders import lock
from hotfolder.folders.lock import RootLock


def test_it_tells_whether_the_one_before_ended_in_order(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first = RootLock(path)
    assert first.acquire()
    first.release(in_order=False)
    assert lock.holder(path) is None
    second = RootLock(path)
    assert not second.acquire()
    second.release()
    third = RootLock(path)
    assert third.acquire()
    third.release()


def test_a_lock_that_was_removed_while_it_was_waited_for_is_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    real, removed = lock.fcntl.flock, []

    def flock(handle: int, how: int) -> None:
        if not removed:
            removed.append(path.unlink())
        real(handle, how)

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    mine = RootLock(path)
    mine.acquire()
    with pytest.raises(AlreadyRunning):
        RootLock(path).acquire()
    mine.release()
