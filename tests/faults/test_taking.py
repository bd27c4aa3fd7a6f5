"""However a file comes, it is taken once, and whole."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hotfolder.cli import why
from hotfolder.core.settle import Observation, SettlePolicy, Writers, observe, settle
from hotfolder.files import filesystem
from hotfolder.folders import lease
from hotfolder.folders.layout import Layout
from hotfolder.folders.watch import Watcher
from hotfolder.status.live import read
from hotfolder.types import Item, Kind, Sighting
from tests.faults.disks import working
from tests.support.live import hearing, wait_for
from tests.support.roots import check_consistent, daemon, files_in, is_worked, picture, rows
from tests.support.scripted import ScriptedExecutor, always

pytestmark = pytest.mark.slow

#: Seconds that a writer pauses in the middle; the soak has them pause longer.
PAUSE = float(os.environ.get("HOTFOLDER_TEST_PAUSE", "2"))


@pytest.fixture
def at_work(layout: Layout) -> Iterator[Layout]:
    overrides = {"SETTLE__INCOMPLETE_GRACE_SECONDS": str(PAUSE + 20), "SETTLE__QUIET_SECONDS": "0.2"}
    with working(daemon(layout, ScriptedExecutor(always(6.6)), **overrides)):
        wait_for(layout.live_status.exists, 60, "it runs")
        yield layout


def taken_once(layout: Layout, name: str, whole: bytes, folder: str = "keep") -> None:
    def is_so() -> bool:
        drops = rows(layout, "SELECT state FROM drops WHERE path LIKE '%' || ?", [name])
        placed = [state for (state,) in drops if state != "gone"] == ["placed"]
        return placed and files_in(layout, "inbox", "failed") == []

    wait_for((layout.root / folder / name).exists, 60, f"{name} is in {folder}, {files_in(layout, 'failed')}")
    assert (layout.root / folder / name).read_bytes() == whole
    wait_for(is_so, 60, f"{name} is placed, and nothing else is left: {files_in(layout, 'inbox', 'failed')}")
    time.sleep(0.5)
    assert is_so()


@pytest.fixture
def whole(tmp_path: Path) -> bytes:
    return picture(tmp_path / "whole.png", 1, (64, 48)).read_bytes()


def test_a_writer_that_pauses_with_the_file_open(at_work: Layout, whole: bytes) -> None:
    with (at_work.inbox(Kind.SCORE) / "a.png").open("wb") as file:
        file.write(whole[:1000])
        file.flush()
        time.sleep(PAUSE)
        file.write(whole[1000:])
    taken_once(at_work, "a.png", whole)


def test_a_writer_that_closes_the_file_and_goes_on_later(at_work: Layout, whole: bytes) -> None:
    path = at_work.inbox(Kind.SCORE) / "a.png"
    path.write_bytes(whole[:1000])
    time.sleep(PAUSE)
    with path.open("ab") as file:
        file.write(whole[1000:])
    taken_once(at_work, "a.png", whole)


def test_a_writer_that_begins_with_an_empty_file(at_work: Layout, whole: bytes) -> None:
    path = at_work.inbox(Kind.SCORE) / "a.png"
    path.touch()
    prompt = at_work.inbox(Kind.GENERATE) / "p.txt"
    prompt.touch()
    time.sleep(1.5)
    path.write_bytes(whole)
    prompt.write_text("a --seed 1")
    taken_once(at_work, "a.png", whole)
    wait_for((at_work.root / "keep/p-s1.png").exists, 60, "what was asked for is drawn")
    assert files_in(at_work, "keep") == ["keep/a.png", "keep/p-s1.png"]


def test_cp_r_and_mv_of_a_folder(at_work: Layout, tmp_path: Path) -> None:
    for number in range(30):
        picture(tmp_path / f"one/{number}/{number}.png", number)
        picture(tmp_path / f"two/deep/{number}.png", 100 + number)
    subprocess.run(["cp", "-r", tmp_path / "one", at_work.inbox(Kind.SCORE)], check=True)
    (tmp_path / "two").rename(at_work.inbox(Kind.SCORE) / "two")
    wait_for(lambda: len(files_in(at_work, "keep")) == 60, 120, "all are kept")
    placed = "SELECT count(*), count(DISTINCT path) FROM drops WHERE state = 'placed'"
    wait_for(lambda: rows(at_work, placed) == [(60, 60)], 120, "the ledger has them all, each once")
    assert files_in(at_work, "inbox", "failed") == []
    assert (at_work.root / "keep/two/deep/29.png").exists()


def test_rsync_browsers_and_renames(at_work: Layout, whole: bytes) -> None:
    inbox = at_work.inbox(Kind.SCORE)
    (inbox / ".a.png.Xy12ab").write_bytes(whole[:1500])  # as rsync names it
    (inbox / "b.png.crdownload").write_bytes(whole[:1500])
    time.sleep(1)
    (inbox / ".a.png.Xy12ab").write_bytes(whole)
    (inbox / ".a.png.Xy12ab").rename(inbox / "a.png")
    (inbox / "b.png.crdownload").write_bytes(whole)
    (inbox / "b.png.crdownload").rename(inbox / "b.png")
    taken_once(at_work, "a.png", whole)
    taken_once(at_work, "b.png", whole)


def test_an_editor_that_saves_by_renaming(layout: Layout) -> None:
    # Within the time that a file has to be quiet for, also where this test is held up between two of its steps.
    with working(daemon(layout, ScriptedExecutor(always(6.6)), SETTLE__QUIET_SECONDS="2.5")):
        wait_for(layout.live_status.exists, 60, "it runs")
        inbox = layout.inbox(Kind.GENERATE)
        (inbox / ".p.txt.swp").write_bytes(b"b0VIM")
        (inbox / "4913").touch()  # vim looks whether it may make files
        (inbox / "4913").unlink()
        (inbox / "p.txt").write_text("a --seed 1")
        (inbox / "p.txt").rename(inbox / "p.txt~")
        (inbox / "p.txt").write_text("a --seed 2")
        (inbox / "p.txt~").unlink()
        (inbox / ".p.txt.swp").unlink()
        wait_for((layout.root / "archive/p.txt").exists, 60, "it is done")
    assert files_in(layout, "keep", "failed") == ["keep/p-s2.png"]


def test_the_same_file_dropped_again_while_it_is_in_work(layout: Layout) -> None:
    in_work, go_on = threading.Event(), threading.Event()

    def script(_: Kind, item: Item) -> float:
        in_work.set()
        go_on.wait(60)
        return 6.6

    path = layout.inbox(Kind.SCORE) / "a.png"
    first = picture(path, 1).read_bytes()
    with working(daemon(layout, ScriptedExecutor(script))):
        assert in_work.wait(60)
        again = picture(path.with_name("new.part"), 2)
        second = again.read_bytes()
        again.rename(path)
        go_on.set()
        taken_once(layout, "a.png", second)
        picture(path, 2)  # the very same once more
        wait_for((layout.root / "archive/a.png").exists, 60, "a duplicate goes to the archive")
        wait_for(lambda: is_worked(layout), 60, "nothing is left to do")
    assert first != second
    assert files_in(layout, "keep", "reject") == ["keep/a.png"]
    check_consistent(layout)


NAMES: list[bytes] = [
    "caf\u00e9 \u732b.png".encode(), b"caf\xe9.png", b"5%.png", b"\xff\xfe" * 60 + b".png", b"new\nline.png",
    b"tab\tand\x1b[31m.png", b"-rf.png", b"$(touch x).png", b"a;b&c.png", b"%s%n.png", b" .png",
    b"x" * 251 + b".png", ("a" + "\u6f22" * 84).encode() + b"\xe6\xbc", b"\xff" * 255, "\u202egnp.png".encode(),
    b"CON.png", b"A.png", b"a.png", b"quote'\".png", b"back\\slash.png",
]  # fmt: skip


def test_every_name_that_a_file_may_have(layout: Layout) -> None:
    contents = set()
    for number, name in enumerate(NAMES):
        made = picture(layout.root / "made.part", number)
        contents.add(made.read_bytes())
        os.rename(os.fsencode(made), os.fsencode(layout.inbox(Kind.SCORE)) + b"/" + name)  # noqa: PTH104
        made = picture(layout.root / "made.part", 100 + number)
        contents.add(made.read_bytes())
        folder = os.fsencode(layout.inbox(Kind.SCORE)) + b"/sub-" + name[:200]
        os.mkdir(folder)  # noqa: PTH102
        os.rename(os.fsencode(made), folder + b"/x.png")  # noqa: PTH104
    report = daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    assert (report.done, report.failed) == (2 * len(NAMES), 0)
    kept = files_in(layout, "keep")
    assert {(layout.root / path).read_bytes() for path in kept} == contents
    assert files_in(layout, "inbox", "failed") == []
    assert "keep/caf%E9.png" in kept
    check_consistent(layout)


def test_hard_links_are_files_like_others(layout: Layout, tmp_path: Path) -> None:
    inbox = layout.inbox(Kind.SCORE)
    outside = picture(tmp_path / "outside.png", 1)
    os.link(outside, inbox / "a.png")
    os.link(outside, inbox / "b.png")
    (inbox / "sub").mkdir()
    os.link(outside, inbox / "sub/a.png")
    report = daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    assert (report.done, report.failed) == (3, 0)
    assert files_in(layout, "keep") == ["keep/a.png", "keep/b.png", "keep/sub/a.png"]
    assert outside.exists()
    assert files_in(layout, "inbox") == []


# --- where the kernel tells nothing --------------------------------------------------------------


def test_without_leases_a_file_that_grows_slowly_is_given_more_time() -> None:
    policy = SettlePolicy(0.5, 3.0, 5.0)
    seen: Observation | None = None
    for size, moment in ((1, 0.0), (2, 2.0), (3, 10.0)):
        seen = observe(seen, Sighting("a", size, size, 1, 1), moment)
    assert seen is not None
    assert seen.longest_pause == 8.0
    assert not settle(seen, Writers.UNKNOWN, policy, 25.9).ready
    assert settle(seen, Writers.UNKNOWN, policy, 26.1).ready
    assert settle(seen, Writers.NONE, policy, 10.6).ready  # the kernel knows better
    slow = Observation(seen.sighting, 10.0, 10_000.0)
    assert settle(slow, Writers.UNKNOWN, policy, 10.0 + 61).ready  # but not for ever


def test_without_leases_a_slow_writer_is_waited_for(
    layout: Layout, whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EINVAL, "no leases here")

    monkeypatch.setattr(lease.fcntl, "fcntl", refuse)
    with working(daemon(layout, ScriptedExecutor(always(6.6)), SETTLE__QUIET_SECONDS_WITHOUT_LEASE="2.5")):
        with (layout.inbox(Kind.SCORE) / "a.png").open("wb") as file:
            for start in range(0, len(whole), 2000):
                file.write(whole[start : start + 2000])
                file.flush()
                time.sleep(0.2)
        taken_once(layout, "a.png", whole)


MOUNTS = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 27 0:40 / /srv/hot rw,relatime shared:1 - nfs4 server:/x rw
31 27 0:41 / /srv/hot\040folder rw - fuse.sshfs me@there:/x rw
32 30 0:42 / /srv/hot/inner rw - xfs /dev/vdb rw
33 27 0:43 / /srv/hot/inner rw - cifs //server/x rw
"""


@pytest.mark.parametrize(
    ("path", "type_", "tells"),
    [
        ("/srv/hot", "nfs4", False),
        ("/srv/hot/root/inbox", "nfs4", False),
        ("/srv/hotter", "ext4", True),
        ("/srv/hot folder/x", "fuse.sshfs", False),
        ("/srv/hot/inner/x", "cifs", False),
        ("/home", "ext4", True),
    ],
)
def test_the_type_of_a_file_system(tmp_path: Path, path: str, type_: str, tells: bool) -> None:
    (tmp_path / "mountinfo").write_text(MOUNTS)
    assert filesystem.type_of(Path(path), tmp_path / "mountinfo") == type_
    assert filesystem.tells_events(type_) is tells


def test_where_it_is_unknown_events_are_tried(tmp_path: Path) -> None:
    assert filesystem.type_of(tmp_path, tmp_path / "nothing") == ""
    assert filesystem.tells_events("")


def test_a_network_file_system_is_polled(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hotfolder.folders.watch.type_of", lambda _: "nfs4")
    polled = {"WATCH__POLL_SECONDS": "0.2", "WATCH__RESCAN_SECONDS": "600"}
    with working(daemon(layout, ScriptedExecutor(always(6.6)), **polled)):
        wait_for(layout.live_status.exists, 60, "it runs")
        snapshot = read(layout.live_status)
        assert snapshot is not None
        assert snapshot.watcher == "polling (nfs4 tells no events)"
        picture(layout.inbox(Kind.SCORE) / "a.png")
        wait_for((layout.root / "keep/a.png").exists, 60, "it is found")


def _deaf(monkeypatch: pytest.MonkeyPatch, when: Callable[[], bool]) -> None:
    real = Watcher.on_any_event

    def hear(self: Watcher, event: object) -> None:
        if not when():
            real(self, event)  # type: ignore[arg-type]

    monkeypatch.setattr(Watcher, "on_any_event", hear)


def test_events_that_are_missing_are_noticed_and_polling_takes_over(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    _deaf(monkeypatch, lambda: True)
    overrides = {"WATCH__POLL_SECONDS": "0.3", "WATCH__RESCAN_SECONDS": "0.5"}
    with working(daemon(layout, ScriptedExecutor(always(6.6)), **overrides)):
        wait_for(layout.live_status.exists, 60, "it runs")
        time.sleep(1)
        picture(layout.inbox(Kind.SCORE) / "a.png")
        wait_for((layout.root / "keep/a.png").exists, 60, "the scan finds it")
        wait_for(lambda: "polling" in str(read(layout.live_status)), 60, "it polls from then on")


def test_a_queue_that_overflows_is_counted_and_shown(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    overflowing = threading.Event()
    _deaf(monkeypatch, overflowing.is_set)
    with working(daemon(layout, ScriptedExecutor(always(6.6)), WATCH__RESCAN_SECONDS="0.5")):
        wait_for(layout.live_status.exists, 60, "it runs")
        time.sleep(1)
        picture(layout.inbox(Kind.SCORE) / "told.png", 1)
        wait_for((layout.root / "keep/told.png").exists, 60, "it is found")
        overflowing.set()
        for number in range(3):
            picture(layout.inbox(Kind.SCORE) / f"{number}.png", 10 + number)
        wait_for(lambda: len(files_in(layout, "keep")) == 4, 60, "the scan finds them")
        wait_for(lambda: "3 files found without an event" in str(read(layout.live_status)), 60, "it says so")
        overflowing.clear()
        picture(layout.inbox(Kind.SCORE) / "again.png", 20)
        wait_for((layout.root / "keep/again.png").exists, 60, "events are still used")
        time.sleep(2.5)
        assert "inotify (" in str(read(layout.live_status))
        assert "3 files found without an event" in str(read(layout.live_status))


def test_a_watch_that_dies_is_started_anew(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    told = hearing(monkeypatch)
    line = daemon(layout, ScriptedExecutor(always(6.6)), WATCH__RESCAN_SECONDS="0.5")
    with working(line):
        wait_for(layout.live_status.exists, 60, "it runs")
        observer = line._scans.watcher._observer
        assert observer is not None
        for emitter in observer.emitters:
            emitter.stop()
        wait_for(
            lambda: line._scans.watcher._observer is not observer and line._scans.watcher.alive, 60, "a new watch"
        )
        path = picture(layout.inbox(Kind.SCORE) / "a.png")
        wait_for(lambda: told(path), 60, "the new watch tells of the file: no scan has to find it")
        wait_for((layout.root / "keep/a.png").exists, 60, "it works on")


def test_a_link_put_in_the_place_of_a_taken_file_is_not_followed(layout: Layout, tmp_path: Path) -> None:
    secret = picture(tmp_path / "secret.png", 9)
    path = picture(layout.inbox(Kind.SCORE) / "a.png", 1)

    def script(_: Kind, item: Item) -> float:
        if not path.is_symlink():
            path.unlink()
            path.symlink_to(secret)
        return 6.6

    daemon(layout, ScriptedExecutor(script)).run(once=True)
    assert files_in(layout, "keep", "reject", "failed") == []
    assert secret.exists()
    shutil.rmtree(layout.root)


def test_a_file_that_could_not_be_moved_holds_up_nobody(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = picture(layout.inbox(Kind.SCORE) / "theirs/a.png", 1)
    picture(layout.inbox(Kind.SCORE) / "b.png", 2)
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "theirs" and real(path, mode))
    report = daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    assert (report.done, report.failed, report.paused) == (1, 0, None)
    assert theirs.exists()
    assert "may not be written" in why.explain(layout, theirs)["reason"]
    monkeypatch.undo()
    daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    assert files_in(layout, "keep") == ["keep/b.png", "keep/theirs/a.png"]


def test_a_folder_that_cannot_be_read_for_a_moment_costs_nothing(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    (layout.inbox(Kind.GENERATE) / "sub").mkdir()
    (layout.inbox(Kind.GENERATE) / "sub/p.txt").write_text("a --count 3")
    real, blind = os.lstat, threading.Event()

    def lstat(path: object, **options: object) -> os.stat_result:
        if blind.is_set() and "generate/sub" in str(path):
            raise PermissionError(errno.EACCES, "not just now", str(path))
        return real(path, **options)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(os, "lstat", lstat)

    def script(kind: Kind, _: Item) -> float:
        if kind is Kind.GENERATE:
            blind.set()
        else:
            blind.clear()
        return 6.6

    daemon(layout, ScriptedExecutor(script)).run(once=True)
    assert len(files_in(layout, "keep/sub")) == 3
    assert rows(layout, "SELECT state, count(*) FROM queue GROUP BY state") == [("done", 6)]
    assert files_in(layout, "archive") == ["archive/sub/p.txt"]


def test_a_watch_that_cannot_be_had_leaves_no_threads_behind(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    from watchdog.observers.inotify_c import Inotify

    real = Inotify._add_watch

    def refuse(self: Inotify, path: bytes, mask: int) -> int:
        if b"upscale" in path:
            raise OSError(errno.ENOSPC, "inotify watch limit reached")
        return real(self, path, mask)

    monkeypatch.setattr(Inotify, "_add_watch", refuse)
    before = threading.active_count()
    watcher = Watcher([layout.inbox(kind) for kind in Kind], threading.Event(), "auto")
    for _ in range(5):
        watcher.ensure()
        assert not watcher.alive
    wait_for(lambda: threading.active_count() <= before, 60, "no thread is left")
    assert "limit reached" in watcher.mode
    watcher.stop()
