"""Coming back: damaged databases, older ones, backups, and what is tried again."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin
from sqlite_utils import Database

from hotfolder.daemon import dispatcher
from hotfolder.errors import TruncatedImage
from hotfolder.executors.base import DeviceId, Done
from hotfolder.folders.layout import Layout
from hotfolder.ledger import health, migrations
from hotfolder.ledger.images import Images
from hotfolder.ledger.ledger import Ledger
from hotfolder.status import mailbox
from hotfolder.types import Batch, Item, Kind, Progress
from tests.faults.disks import working
from tests.support import forks
from tests.support.live import wait_for
from tests.support.roots import check_consistent, daemon, files_in, is_worked, picture, rows
from tests.support.scripted import Script, ScriptedExecutor, always

pytestmark = pytest.mark.slow


def hotfolder(layout: Layout, *arguments: str) -> subprocess.CompletedProcess[str]:
    return forks.hotfolder(*arguments, "--root", layout.root)


# --- the database --------------------------------------------------------------------------------


def prepare(layout: Layout) -> list[tuple[object, ...]]:
    """A root with one of everything; its images as the database had them."""
    picture(layout.inbox(Kind.SCORE) / "sub/kept.png", 1)
    picture(layout.inbox(Kind.SCORE) / "bad.png", 2)
    picture(layout.inbox(Kind.UPSCALE) / "large.png", 3)
    (layout.inbox(Kind.GENERATE) / "p.txt").write_text("a cat --seed 7")
    script: Script = lambda _, item: 3.0 if "bad" in str(item.source) else 7.5  # noqa: E731
    daemon(layout, ScriptedExecutor(script)).run(once=True)
    for number in range(60):  # more pages, so that some can be damaged
        picture(layout.inbox(Kind.SCORE) / f"more/{number}.png", 100 + number)
    daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    return rows(layout, IMAGES)


IMAGES = "SELECT path, sha256, role, verdict, width, height, parent_path FROM results ORDER BY path"


@pytest.mark.parametrize("how", ["header", "pages", "cut", "text"])
def test_a_damaged_database_is_set_aside_and_made_anew(
    layout: Layout, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = prepare(layout)
    data = bytearray(layout.database.read_bytes())
    rng = random.Random(1)
    if how == "header":
        data[:100] = bytes(100)
    elif how == "pages":
        for _ in range(6):
            start = rng.randrange(1, len(data) // 4096) * 4096
            data[start : start + 4096] = rng.randbytes(4096)
    elif how == "cut":
        data = data[: len(data) // 2 // 4096 * 4096]
    else:
        data = bytearray(b"this is no database at all\n" * 400)
    layout.database.write_bytes(data)
    new = picture(layout.inbox(Kind.SCORE) / "new.png", 50).read_bytes()
    report = daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    assert (report.done, report.failed, report.paused) == (1, 0, None)
    assert "THE DATABASE IS DAMAGED" in caplog.text
    (aside,) = layout.root.glob("hotfolder.damaged-*.db")
    assert aside.read_bytes() == data
    assert (layout.root / "keep/new.png").read_bytes() == new
    after = rows(layout, IMAGES)
    # A scripted picture says nothing of itself, so what was drawn counts as dropped.
    expected = [(p, sha, "dropped" if r == "generated" else r, *rest) for p, sha, r, *rest in before]
    assert [row for row in after if row[0] != "keep/new.png"] == expected
    check_consistent(layout)
    if how == "pages":  # of one that was cut, SQLite reads nothing
        assert rows(layout, "SELECT count(*) FROM results WHERE score IS NOT NULL")[0][0] > 1
    daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)  # whole again
    assert len(list(layout.root.glob("hotfolder.damaged-*.db"))) == 1


@pytest.mark.parametrize("cut_at", ["restore", "adopt", "close", "set_aside"])
def test_a_power_cut_while_the_database_is_made_anew(
    layout: Layout, cut_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = prepare(layout)
    layout.database.write_bytes(b"no database" * 1000)

    def cut(*_: object) -> None:
        raise _Dies

    with monkeypatch.context() as patch:
        patch.setattr({"set_aside": health, "close": Ledger}.get(cut_at, Images), cut_at, cut)
        with pytest.raises(_Dies):
            daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    assert [row[0] for row in rows(layout, IMAGES)] == [row[0] for row in before]
    assert [path.name for path in layout.root.glob("*.db") if "damaged" not in path.name] == ["hotfolder.db"]
    check_consistent(layout)


@pytest.mark.parametrize("how", ["removed", "emptied"])
def test_a_database_that_is_gone_is_made_anew(layout: Layout, how: str) -> None:
    before = prepare(layout)
    waiting = picture(layout.root / ".hotfolder/unscored/x-s1.png", 7).read_bytes()
    for path in layout.root.glob("hotfolder.db*"):
        path.unlink() if how == "removed" else path.write_bytes(b"")
    daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    assert {row[0] for row in rows(layout, IMAGES)} == {row[0] for row in before} | {"keep/x-s1.png"}
    assert (layout.root / "keep/x-s1.png").read_bytes() == waiting


@pytest.mark.parametrize(
    "told",
    ['{"prompt": "a", "seed": "x"}', f'{{"prompt": "a", "seed": {10**20}}}', "[" * 100_000, '{"prompt": 7}'],
)
def test_what_images_say_cannot_stop_a_rebuild(layout: Layout, told: str) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("hotfolder", told)
    Image.new("RGB", (8, 8)).save(layout.root / "keep/a.png", pnginfo=text)
    picture(Path(os.fsdecode(os.fsencode(layout.root / "keep") + b"/odd-\xff.png")), 3)
    (layout.root / "keep/notes.txt").write_text("no image")
    layout.database.write_bytes(b"no database" * 1000)
    daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    assert rows(layout, "SELECT path, role FROM results") == [("keep/a.png", "dropped")]


def test_a_picture_that_waited_for_its_score_is_not_lost_with_the_database(layout: Layout) -> None:
    waiting = picture(layout.root / ".hotfolder/unscored/sub/p-s1.png", 1).read_bytes()
    layout.database.write_bytes(b"no database" * 1000)
    daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    assert (layout.root / "keep/sub/p-s1.png").read_bytes() == waiting
    check_consistent(layout)


NAMES = [migration.name for migration in migrations.steps.pending(Database(memory=True))]


@pytest.mark.parametrize("newest", NAMES[1:])
def test_a_database_of_any_earlier_schema_is_brought_up_to_date(layout: Layout, newest: str) -> None:
    old = sqlite3.connect(layout.database, isolation_level=None)
    migrations.steps.apply(Database(old), stop_before=newest)
    old.execute(
        "INSERT INTO drops (kind, path, size, mtime_ns, inode, device, seen_at, created_at) "
        "VALUES ('score', 'inbox/score/gone.png', 1, 1, 1, 1, 1, 1)"
    )
    old.execute(
        "INSERT INTO jobs (kind, drop_id, source_file, source, model, created_at) "
        "VALUES ('score', 1, 'inbox/score/gone.png', 'inbox/score/gone.png', 'm', 1)"
    )
    old.execute(
        "INSERT INTO images (path, sha256, role, verdict, width, height, created_at) "
        "VALUES ('keep/old.png', 'x', 'dropped', 'keep', 1, 1, 1)"
    )
    old.execute(
        "INSERT INTO scores (image_id, score, scorer, weights_sha256, preprocessing, precision, created_at) "
        "VALUES (1, 7.0, 's', 'w', 'p', 'float32', 1)"
    )
    old.close()
    picture(layout.root / "keep/old.png", 1)
    picture(layout.inbox(Kind.SCORE) / "new.png")
    daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    found = rows(layout, "SELECT path, score FROM results ORDER BY path")
    assert found == [("keep/new.png", 6.6), ("keep/old.png", 7.0)]
    assert rows(layout, "SELECT state FROM queue ORDER BY job_id") == [("cancelled",), ("done",)]


def test_a_backup_is_whole_though_the_daemon_writes(layout: Layout, tmp_path: Path) -> None:
    for number in range(200):
        picture(layout.inbox(Kind.SCORE) / f"{number}.png", number)

    worked, copied = 0, threading.Event()

    def slowly(_: Kind, item: Item) -> float:
        nonlocal worked
        worked += 1
        if worked > 150:  # it is at work until the copy is made, however long that takes
            copied.wait(300)
        time.sleep(0.01)
        return 6.6

    hotfolder(layout, "status")  # what makes commands is there: the next one is quick
    with working(daemon(layout, ScriptedExecutor(slowly), SCORE__BATCH_SIZE="4")):
        try:
            wait_for(lambda: len(files_in(layout, "keep")) > 20, 60, "it works")
            done = hotfolder(layout, "backup", str(tmp_path / "copy.db"), "--json")
            assert done.returncode == 0, done.stderr
            assert len(files_in(layout, "keep")) < 200
        finally:
            copied.set()
    told = json.loads(done.stdout)
    assert told["bytes"] == (tmp_path / "copy.db").stat().st_size
    copy = sqlite3.connect(tmp_path / "copy.db")
    assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert copy.execute("SELECT count(*) FROM results").fetchone()[0] >= 20
    again = hotfolder(layout, "backup", str(tmp_path / "copy.db"))
    assert again.returncode == 2
    assert "exists already" in again.stderr
    assert sorted(path.name for path in tmp_path.glob("*copy*")) == ["copy.db"]


# --- what kills the daemon itself ----------------------------------------------------------------


class _Dies(BaseException):
    """The whole daemon, as by the out-of-memory killer."""


class _Deadly(ScriptedExecutor):
    """Reports each item before it is worked, as a worker does; one kind of file takes the daemon with it."""

    def __init__(self) -> None:
        super().__init__(always(6.6))
        self._reported = False

    def poll(self, timeout: float) -> Sequence[Done]:
        batch: Batch | None = self._batch
        if batch is None:
            return []
        if not self._reported:
            self._reported = True
            return [Done("cpu", progress=Progress(batch.items[0].job_id, "scoring", 0, len(batch.items)))]
        self._reported = False
        if any("deadly" in str(item.source) for item in batch.items):
            raise _Dies
        return super().poll(timeout)


def test_what_kills_the_daemon_again_and_again_is_quarantined(layout: Layout) -> None:
    picture(layout.inbox(Kind.SCORE) / "a.png", 1)
    picture(layout.inbox(Kind.SCORE) / "deadly.png", 2)
    picture(layout.inbox(Kind.SCORE) / "z.png", 3)
    deaths = 0
    for _ in range(10):
        try:
            daemon(layout, _Deadly()).run(once=True)
            break
        except _Dies:
            deaths += 1
    assert deaths == 4  # once with others, three times alone
    assert files_in(layout, "keep", "inbox") == ["keep/a.png", "keep/z.png"]
    told = json.loads((layout.root / "failed/deadly.png.error.json").read_text())
    assert told["kind"] == "worker_lost"
    assert "the daemon died 3 times" in told["message"]
    check_consistent(layout)


def test_power_cuts_blame_nobody(layout: Layout) -> None:
    for number in range(5):
        picture(layout.inbox(Kind.SCORE) / f"{number}.png", number)
    for _ in range(6):

        def cut(_kind: Kind, _item: Item) -> float:
            raise _Dies

        with pytest.raises(_Dies):
            daemon(layout, ScriptedExecutor(cut)).run(once=True)
    report = daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    assert (report.done, report.failed) == (5, 0)


# --- retry ---------------------------------------------------------------------------------------


def failing(times: int, what: str) -> Script:
    """Fails the first so many times that it meets something of this name."""
    left = [times]

    def script(kind: Kind, item: Item) -> float | TruncatedImage:
        if what in f"{kind} {item.source} {item.params.get('prompt')}" and left[0]:
            left[0] -= 1
            return TruncatedImage("it is broken", "mend it")
        return 7.5

    return script


def retried(layout: Layout, *arguments: str) -> None:
    done = hotfolder(layout, "retry", *arguments)
    assert done.returncode == 0, done.stderr
    assert "will be tried again" in done.stdout


def test_a_failed_file_is_tried_again_and_done(layout: Layout) -> None:
    whole = picture(layout.inbox(Kind.SCORE) / "sub/a.png").read_bytes()
    script = failing(1, "score")
    daemon(layout, ScriptedExecutor(script), SETTLE__INCOMPLETE_GRACE_SECONDS="0").run(once=True)
    assert files_in(layout, "failed") == ["failed/sub/a.png", "failed/sub/a.png.error.json"]
    retried(layout, "failed/sub/a.png")
    report = daemon(layout, ScriptedExecutor(script)).run(once=True)
    assert report.failed == 0
    assert (layout.root / "keep/sub/a.png").read_bytes() == whole
    assert files_in(layout, "failed", "inbox") == []
    done = rows(layout, "SELECT state, attempt FROM queue WHERE kind = 'score' ORDER BY job_id LIMIT 1")
    assert done == [("done", 1)]
    check_consistent(layout)


def test_only_the_jobs_that_failed_are_done_again(layout: Layout) -> None:
    (layout.inbox(Kind.GENERATE) / "p.txt").write_text("a --seed 1\nb --seed 2\nc --seed 3")
    script = failing(1, "generate None b")
    daemon(layout, ScriptedExecutor(script), GATE__UPSCALE="10").run(once=True)
    assert files_in(layout, "keep", "failed") == [
        "failed/p.txt", "failed/p.txt.error.json", "keep/p-L1-s1.png", "keep/p-L3-s3.png",
    ]  # fmt: skip
    retried(layout, "--all")
    executor = ScriptedExecutor(script)
    daemon(layout, executor, GATE__UPSCALE="10").run(once=True)
    assert files_in(layout, "archive", "failed", "inbox") == ["archive/p.txt"]
    assert len(files_in(layout, "keep")) == 3
    generated = [batch for batch in executor.batches if batch.kind is Kind.GENERATE]
    assert [item.params["prompt"] for batch in generated for item in batch.items] == ["b"]
    check_consistent(layout)


def test_a_file_that_was_mended_is_taken_anew(layout: Layout) -> None:
    (layout.inbox(Kind.GENERATE) / "p.txt").write_text("a --stesp 4 --seed 1")
    daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    (layout.root / "failed/p.txt").write_text("a --steps 4 --seed 1")
    retried(layout, "failed/p.txt.error.json")
    daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    assert files_in(layout, "keep", "failed", "archive", "inbox") == ["archive/p.txt", "keep/p-s1.png"]


def test_images_that_failed_further_down_the_line(layout: Layout) -> None:
    (layout.inbox(Kind.GENERATE) / "p.txt").write_text("a --seed 1")
    picture(layout.inbox(Kind.SCORE) / "photo.png")
    unscored = failing(1, "unscored")
    enlarging = failing(1, "upscale")

    def script(kind: Kind, item: Item) -> float | TruncatedImage:
        first = unscored(kind, item)
        return enlarging(kind, item) if isinstance(first, float) else first  # type: ignore[return-value]

    daemon(layout, ScriptedExecutor(script)).run(once=True)
    failed = files_in(layout, "failed")
    assert "failed/p-s1.png" in failed
    assert "failed/photo.png.error.json" in failed
    retried(layout, "--all")
    daemon(layout, ScriptedExecutor(script)).run(once=True)
    assert [path for path in files_in(layout, "failed") if "p.txt" not in path] == []
    assert files_in(layout, "keep") == ["keep/p-s1.png", "keep/photo.png"]
    assert files_in(layout, "upscaled") == ["upscaled/p-s1_4x.png", "upscaled/photo_4x.png"]
    check_consistent(layout)


def test_retry_of_what_is_gone_or_in_the_way(layout: Layout) -> None:
    for name in ("gone.png", "here.png"):
        picture(layout.inbox(Kind.SCORE) / name, len(name))
    old = (layout.inbox(Kind.SCORE) / "here.png").read_bytes()
    script = failing(2, "score")
    daemon(layout, ScriptedExecutor(script), SETTLE__INCOMPLETE_GRACE_SECONDS="0").run(once=True)
    (layout.root / "failed/gone.png").unlink()
    assert hotfolder(layout, "retry", "nothing.png").returncode == 2
    assert hotfolder(layout, "retry").returncode == 2
    new = picture(layout.inbox(Kind.SCORE) / "here.png", 77).read_bytes()
    with working(daemon(layout, ScriptedExecutor(script))):
        wait_for((layout.root / "keep/here.png").exists, 60, "the new one is kept")
        done = hotfolder(layout, "retry", "--all", "--json")
        assert done.returncode == 3, done.stderr
        told = json.loads(done.stdout)
        assert told["files"] == [
            {"file": "inbox/score/here.png"},
            {"file": "failed/gone.png", "error": "it is not there any more"},
        ]
        wait_for((layout.root / "keep/here-1.png").exists, 60, "the old one, too")
        wait_for(lambda: is_worked(layout), 60, "nothing is left to do")
    assert (layout.root / "keep/here.png").read_bytes() == new
    assert (layout.root / "keep/here-1.png").read_bytes() == old
    check_consistent(layout)


def test_retry_while_the_name_is_taken_by_one_that_is_gone(layout: Layout) -> None:
    old = picture(layout.inbox(Kind.SCORE) / "a.png", 1).read_bytes()
    script = failing(1, "score")
    daemon(layout, ScriptedExecutor(script), SETTLE__INCOMPLETE_GRACE_SECONDS="0").run(once=True)
    in_work, go_on = threading.Event(), threading.Event()

    def slowly(_: Kind, item: Item) -> float:
        in_work.set()
        go_on.wait(60)
        return 6.6

    picture(layout.inbox(Kind.SCORE) / "a.png", 2)
    with working(daemon(layout, ScriptedExecutor(slowly))):
        assert in_work.wait(60)
        (layout.inbox(Kind.SCORE) / "a.png").unlink()
        mailbox.ask(layout, {"do": "retry", "jobs": [1]})
        go_on.set()
        wait_for((layout.root / "keep/a.png").exists, 60, "the old one is kept")
        wait_for(lambda: is_worked(layout), 60, "nothing is left to do")
    assert (layout.root / "keep/a.png").read_bytes() == old
    assert files_in(layout, "inbox", "failed") == []
    check_consistent(layout)


def test_retry_leaves_the_sidecars_of_others_alone(layout: Layout) -> None:
    picture(layout.inbox(Kind.SCORE) / "a.png", 1)
    script = failing(1, "score")
    daemon(layout, ScriptedExecutor(script), SETTLE__INCOMPLETE_GRACE_SECONDS="0").run(once=True)
    picture(layout.inbox(Kind.SCORE) / "a.png", 2)
    enlarging = failing(1, "upscale")
    daemon(layout, ScriptedExecutor(enlarging)).run(once=True)
    assert files_in(layout, "failed") == ["failed/a-1.png.error.json", "failed/a.png", "failed/a.png.error.json"]
    (job,) = rows(layout, "SELECT job_id FROM queue WHERE kind = 'upscale'")
    mailbox.ask(layout, {"do": "retry", "jobs": list(job)})
    daemon(layout, ScriptedExecutor(enlarging)).run(once=True)
    assert files_in(layout, "failed", "upscaled") == [
        "failed/a.png", "failed/a.png.error.json", "upscaled/a_4x.png",
    ]  # fmt: skip


def test_retry_of_a_name_that_two_had_takes_the_one_that_is_there(layout: Layout) -> None:
    picture(layout.inbox(Kind.UPSCALE) / "a.png", 1)
    quickly = {"SETTLE__INCOMPLETE_GRACE_SECONDS": "0"}
    daemon(layout, ScriptedExecutor(failing(1, "upscale")), **quickly).run(once=True)
    (layout.root / "failed/a.png").unlink()
    (layout.root / "failed/a.png.error.json").unlink()
    picture(layout.inbox(Kind.SCORE) / "a.png", 2)
    daemon(layout, ScriptedExecutor(failing(1, "score")), **quickly).run(once=True)
    retried(layout, "failed/a.png")
    daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    assert files_in(layout, "keep", "upscaled", "failed", "inbox") == ["keep/a.png"]
    done = hotfolder(layout, "retry", "--all", "--json")
    assert json.loads(done.stdout)["jobs"] == 1  # the one that is gone
    daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    assert hotfolder(layout, "retry", "--all").stdout == "nothing has failed\n"


WISHES = [
    "{", '{"do": "dance"}', '{"do": "retry", "jobs": ["x"]}', '{"do": "retry", "jobs": null}', "[" * 100_000, "[]",
    '{"do": "retry", "jobs": [1e400]}', '{"do": "retry", "jobs": [99999999999999999999]}', "7", "",
]  # fmt: skip


def test_a_wish_that_cannot_be_read_harms_nobody(layout: Layout) -> None:
    layout.control.mkdir(parents=True, exist_ok=True)
    for number, wish in enumerate(WISHES):
        (layout.control / f"{number}.json").write_text(wish)
    os.mkfifo(layout.control / "pipe.json")
    picture(layout.inbox(Kind.SCORE) / "a.png")
    report = daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    assert (report.done, report.failed) == (1, 0)
    assert list(layout.control.glob("*.json")) == []


# --- workers -------------------------------------------------------------------------------------


class _Hanging(ScriptedExecutor):
    """Reports that it works, and hangs on one file until it is abandoned."""

    def __init__(self, loading: bool) -> None:
        super().__init__(always(6.6))
        self.abandoned: list[str] = []
        self._loading = loading
        self._told = self._ended = False
        self.hangs = threading.Event()
        self.hangs.set()

    def poll(self, timeout: float) -> Sequence[Done]:
        batch = self._batch
        if (
            batch is None
            or not any(Path(str(item.source)).name == "hang.png" for item in batch.items)
            or not self.hangs.is_set()
        ):
            return super().poll(timeout)
        if self._ended:
            self._batch, self._told, self._ended = None, False, False
            return [Done("cpu", lost=self.abandoned[-1])]
        if not self._told:
            self._told = True
            job = batch.items[0].job_id
            return [
                Done(
                    "cpu",
                    progress=Progress(job, "loading x" if self._loading else "scoring", loading=self._loading),
                )
            ]
        time.sleep(timeout)
        return []

    def abandon(self, device: DeviceId, why: str) -> None:
        self.abandoned.append(why)
        self._ended = True


def test_a_worker_that_hangs_on_a_file_is_replaced(layout: Layout) -> None:
    picture(layout.inbox(Kind.SCORE) / "hang.png", 1)
    picture(layout.inbox(Kind.SCORE) / "fine.png", 2)
    executor = _Hanging(loading=False)
    report = daemon(layout, executor, EXECUTOR__HANG_SECONDS="0.3").run(once=True)
    assert (report.done, report.failed) == (1, 1)
    assert len(executor.abandoned) == 3
    assert files_in(layout, "keep", "failed")[:2] == ["failed/hang.png", "failed/hang.png.error.json"]
    assert "said nothing for" in (layout.root / "failed/hang.png.error.json").read_text()
    check_consistent(layout)


class _Stuck(_Hanging):
    """Goes on saying that it lives."""

    def poll(self, timeout: float) -> Sequence[Done]:
        told = super().poll(min(timeout, 0.05))
        if told or self._batch is None or not self._told:
            return told
        return [Done("cpu", progress=Progress(self._batch.items[0].job_id, "scoring"))]


def test_a_worker_that_does_not_leave_what_is_cancelled_is_ended(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it says that it lives; the other jobs of its batch are done without blame."""
    monkeypatch.setattr(dispatcher, "CANCEL_SECONDS", 0.5)
    for number, name in enumerate(("hang.png", "fine.png", "other.png")):
        picture(layout.inbox(Kind.SCORE) / name, number)
    executor = _Stuck(loading=False)
    with working(daemon(layout, executor)):
        wait_for(lambda: executor.batches != [], 60, "a batch is in work")
        assert len(executor.batches[0].items) == 3
        time.sleep(1)
        assert executor.abandoned == []
        (drop,) = rows(layout, "SELECT id FROM drops WHERE path LIKE '%hang.png'")
        mailbox.ask(layout, {"do": "cancel", "drops": [drop[0]]})
        wait_for(lambda: len(executor.abandoned) == 1, 60, "the worker is ended")
        wait_for(lambda: len(files_in(layout, "keep")) == 2, 60, "the others are done")
        wait_for((layout.root / "archive/hang.png").exists, 60, "the cancelled one is put away")
        wait_for(lambda: is_worked(layout), 60, "nothing is left to do")
    assert len(executor.abandoned) == 1
    assert rows(layout, "SELECT source_file, state, attempt, deaths FROM jobs ORDER BY source_file") == [
        ("inbox/score/fine.png", "done", 1, 0),
        ("inbox/score/hang.png", "cancelled", 1, 0),
        ("inbox/score/other.png", "done", 1, 0),
    ]
    check_consistent(layout)


def test_a_worker_that_hangs_while_it_loads_pauses_the_queue(layout: Layout) -> None:
    picture(layout.inbox(Kind.SCORE) / "hang.png", 1)
    executor = _Hanging(loading=True)
    with working(daemon(layout, executor, EXECUTOR__LOAD_SECONDS="0.3")):
        wait_for(lambda: len(executor.abandoned) >= 4, 60, "it is tried again and again")
        executor.hangs.clear()
        wait_for((layout.root / "keep/hang.png").exists, 60, "it goes on by itself")
    assert rows(layout, "SELECT state, attempt FROM queue") == [("done", 1)]


def test_the_ledger_holds_one_writer(layout: Layout) -> None:
    ledger = Ledger.open(layout.database)
    assert rows(layout, "PRAGMA journal_mode") == [("wal",)]
    assert ledger.database.execute("PRAGMA synchronous").rows[0][0] == 2
    ledger.close()
