"""Disks that are full, read-only or gone: it pauses, says so, loses nothing and goes on by itself."""

from __future__ import annotations

import random
import shutil
import threading
import time
from pathlib import Path

import pytest

from hotfolder.daemon.line import Line
from hotfolder.errors import UsageError
from hotfolder.folders.layout import Layout
from hotfolder.types import Item, Kind
from tests.faults.disks import fill_up, mounted, paused, run, wait_for_pause, working
from tests.faults.load import accounted_for, fill
from tests.support.live import wait_for
from tests.support.roots import daemon, files_in, is_done, new_root, picture
from tests.support.scripted import ScriptedExecutor, always


@pytest.mark.slow
def test_a_disk_that_fills_up_in_the_middle(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=12m", "none") as disk:
        layout = new_root(disk)
        dropped = fill(layout, 40, random.Random(1))
        in_the_middle, is_full, worked = threading.Event(), threading.Event(), 0

        def script(_: Kind, item: Item) -> float:
            nonlocal worked
            worked += 1
            if worked == 10:
                in_the_middle.set()
                is_full.wait(60)
            return 7.5

        with working(daemon(layout, ScriptedExecutor(script), OUTPUT__MIN_FREE_MB="0")):
            assert in_the_middle.wait(60)
            filler = fill_up(disk)
            is_full.set()
            wait_for(lambda: paused(layout) != "", 60, "it pauses")
            time.sleep(0.5)  # it looks again and again meanwhile
            assert not is_done(layout)
            filler.unlink()
            wait_for(lambda: is_done(layout), 120, "it goes on by itself")
        accounted_for(layout, dropped)


def test_a_disk_that_is_nearly_full_is_noticed_before_work(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=12m", "none") as disk:
        layout = new_root(disk)
        dropped = fill(layout, 5, random.Random(1))
        filler = disk / "filler"
        filler.write_bytes(bytes(8 << 20))
        executor = ScriptedExecutor(always(7.5))
        with working(daemon(layout, executor, OUTPUT__MIN_FREE_MB="6")):
            wait_for_pause(layout, "MiB are free")
            time.sleep(0.5)
            assert executor.batches == []
            filler.unlink()
            wait_for(lambda: is_done(layout), 120, "it goes on by itself")
        accounted_for(layout, dropped)


def test_an_output_folder_that_is_read_only(layout: Layout) -> None:
    keep = layout.root / "keep"
    if not run("chattr", "+i", str(keep)):
        pytest.skip("this file system, or this user, makes no folder immutable")
    try:
        dropped = fill(layout, 10, random.Random(1))
        with working(daemon(layout, ScriptedExecutor(always(7.5)))):
            wait_for_pause(layout, "keep")
            run("chattr", "-i", str(keep))
            wait_for(lambda: is_done(layout), 120, "it goes on by itself")
        accounted_for(layout, dropped)
    finally:
        run("chattr", "-i", str(keep))


def test_a_root_whose_disk_is_unmounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turns, real = [0], Line.take_decisions

    def turn(line: Line) -> None:
        turns[0] += 1
        real(line)

    monkeypatch.setattr(Line, "take_decisions", turn)
    behind = new_root(tmp_path / "behind")
    place = tmp_path / "place"
    with mounted(place, "--bind", str(behind.root)):
        layout = Layout(place)
        dropped = fill(layout, 10, random.Random(1))
        held = threading.Event()

        def script(_: Kind, item: Item) -> float:
            held.wait(60)
            return 7.5

        with working(daemon(layout, ScriptedExecutor(script), WATCH__RESCAN_SECONDS="0.2")) as _:
            wait_for(layout.live_status.exists, 60, "it runs")
            assert run("umount", "-l", str(place))
            (place / "inbox/score").mkdir(parents=True)  # the empty folder below the mount
            held.set()
            before, began = turns[0], time.monotonic()
            time.sleep(1.5)
            turned = turns[0] - before
            assert turned < 60 * (time.monotonic() - began)  # it waits, it does not spin
            assert files_in(Layout(place), ".") == []  # nothing is made where the disk should be
            shutil.rmtree(place / "inbox")
            assert run("mount", "--bind", str(behind.root), str(place))
            wait_for(lambda: is_done(layout), 120, "it goes on by itself")
        accounted_for(layout, dropped)


def test_an_inbox_that_is_removed_is_made_again(layout: Layout) -> None:
    with working(daemon(layout, ScriptedExecutor(always(7.5)), WATCH__RESCAN_SECONDS="0.2")):
        wait_for(layout.live_status.exists, 60, "it runs")
        shutil.rmtree(layout.inbox(Kind.SCORE))
        wait_for(layout.inbox(Kind.SCORE).is_dir, 60, "it is made again")
        time.sleep(0.3)
        picture(layout.inbox(Kind.SCORE) / "a.png")
        wait_for((layout.root / "keep/a.png").exists, 60, "it works on")


@pytest.mark.parametrize(
    ("link", "to"), [("keep", "inbox/score"), ("inbox/score", "keep"), ("inbox/score", "inbox/upscale")]
)
def test_results_that_would_be_taken_for_new_files_are_refused(layout: Layout, link: str, to: str) -> None:
    (layout.root / link).rmdir()
    (layout.root / link).symlink_to(layout.root / to)
    with pytest.raises(UsageError) as caught:
        daemon(layout, ScriptedExecutor(always(7.5))).run(once=True)
    assert str(layout.root / link) in caught.value.message
    assert str(layout.root / to) in caught.value.message


def test_an_output_inside_an_inbox_is_refused(layout: Layout) -> None:
    inside = layout.inbox(Kind.SCORE) / "results"
    inside.mkdir()
    (layout.root / "keep").rmdir()
    (layout.root / "keep").symlink_to(inside)
    with pytest.raises(UsageError, match="one lies in the other"):
        daemon(layout, ScriptedExecutor(always(7.5))).run(once=True)
