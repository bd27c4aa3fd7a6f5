"""Hints from the kernel."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from watchdog.utils import delayed_queue

from hotfolder.folders.watch import Watcher
from tests.support.live import hearing, wait_for


def test_news_and_the_end_do_not_wait_for_where_a_file_was_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file that is taken is moved away; the library would hold what comes after, to tell both ends as one."""
    held: list[float] = []
    monkeypatch.setattr(delayed_queue, "time", SimpleNamespace(time=time.time, sleep=held.append))
    hears = hearing(monkeypatch)
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / "a.png").touch()
    watcher = Watcher([inbox], threading.Event(), "events")
    watcher.ensure()
    (inbox / "a.png").rename(tmp_path / "a.png")
    (inbox / "b.png").touch()
    wait_for(lambda: hears(inbox / "b.png"), 60, "the news of the next file")
    (inbox / "b.png").rename(inbox / "c.png")  # within the inbox: the new name is told
    wait_for(lambda: str(inbox / "c.png") in watcher._names, 60, "the news of its new name")
    (inbox / "c.png").rename(tmp_path / "c.png")
    watcher.stop()
    assert not watcher.alive
    assert held == []
