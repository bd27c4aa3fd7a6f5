"""Odd files and odd moments: each hurts at most itself, and nothing is lost or mixed up."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from hotfolder.errors import DiskFull, ModelDamaged, UsageError
from hotfolder.executors.base import Done
from hotfolder.folders.layout import Layout
from hotfolder.ledger.jobs import Jobs
from hotfolder.ledger.journal import Journal
from hotfolder.types import Item, Job, Kind
from tests.support.live import hearing, wait_for
from tests.support.roots import check_consistent, daemon, files_in, picture, rows
from tests.support.scripted import ScriptedExecutor, always


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "a cat --model ~nosuchuser"),
        ("a.txt", "a cat --model /" + "x" * 300),
        ("a.json", '{"prompt": "x", "seed": ' + "9" * 5000 + "}"),
        ("a.json", '{"prompt": "x", "\\ud800": 1}'),
        ("a.toml", "prompt = 'x'\nseed = 0x" + "f" * 5000),
        ("a.toml", "a = " + "[" * 5000),
    ],
)
def test_no_prompt_file_takes_the_daemon_down(layout: Layout, name: str, text: str) -> None:
    (layout.inbox(Kind.GENERATE) / name).write_text(text)
    picture(layout.inbox(Kind.SCORE) / "fine.png")
    report = daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    assert report.failed == 1
    assert files_in(layout, "failed", "keep") == [f"failed/{name}", f"failed/{name}.error.json", "keep/fine.png"]


def test_a_file_in_the_way_of_a_folder_is_walked_around(layout: Layout) -> None:
    picture(layout.inbox(Kind.SCORE) / "cats")
    daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    picture(layout.inbox(Kind.SCORE) / "cats/x.png", 2)
    daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    assert files_in(layout, "keep") == ["keep/cats", "keep/cats-1/x.png"]
    check_consistent(layout)


def test_names_as_long_as_names_can_be(layout: Layout) -> None:
    for number, name in enumerate(("x" * 251 + ".png", "y." + "z" * 253)):
        for seed in (1, 2):
            picture(layout.inbox(Kind.SCORE) / name, 10 * number + seed)
            daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    assert len(files_in(layout, "keep")) == 4
    check_consistent(layout)


def test_a_sidecar_never_overwrites_a_persons_file(layout: Layout) -> None:
    precious = layout.root / "failed/typo.txt.error.json"
    precious.write_text("mine")
    (layout.inbox(Kind.GENERATE) / "typo.txt").write_text("a --stesp 4")
    daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    assert precious.read_text() == "mine"
    assert json.loads((layout.root / "failed/typo-1.txt.error.json").read_text())["file"] == "failed/typo-1.txt"


def test_a_file_removed_while_it_kills_its_last_worker_is_just_gone(layout: Layout) -> None:
    poison = picture(layout.inbox(Kind.SCORE) / "poison.png", 1)
    picture(layout.inbox(Kind.SCORE) / "fine.png", 2)
    deaths: list[int] = []

    def script(_: Kind, item: Item) -> float | str:
        if Path(str(item.source)).name != "poison.png":
            return 6.6
        deaths.append(1)
        if len(deaths) == 3:
            poison.unlink()
        return "the worker was killed by SIGSEGV"

    report = daemon(layout, ScriptedExecutor(script)).run(once=True)
    assert report.paused is None
    assert files_in(layout, "inbox", "failed", "keep") == ["keep/fine.png"]


def test_a_file_replaced_during_a_pause_does_not_get_the_old_ones_score(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = picture(layout.inbox(Kind.SCORE) / "a.png", 1)
    real = Journal.record
    failed: list[int] = []

    def record(self: Journal, *args: object) -> list[int]:
        if not failed:
            failed.append(1)
            picture(path.with_name(".new"), 2, (40, 40)).rename(path)
            raise DiskFull("no space", "free some")
        return real(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Journal, "record", record)
    line = daemon(layout, ScriptedExecutor(always(6.6)))
    thread = threading.Thread(target=line.run)
    thread.start()
    try:
        wait_for(lambda: (layout.root / "keep/a.png").exists(), 60, "the new file is scored")
    finally:
        line.stop()
        thread.join()
    assert rows(layout, "SELECT width, height FROM results") == [(40, 40)]
    check_consistent(layout)


def test_jobs_whose_release_failed_are_not_stranded(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        picture(layout.inbox(Kind.SCORE) / f"{number}.png", number)
    real = Jobs.release
    failed: list[int] = []

    def release(self: Jobs, job: Job, **options: object) -> None:
        if not failed:
            failed.append(1)
            raise DiskFull("no space", "free some")
        real(self, job, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Jobs, "release", release)
    answers = iter(["the worker was killed"])
    line = daemon(layout, ScriptedExecutor(lambda *_: next(answers, 6.6)))
    thread = threading.Thread(target=line.run)
    thread.start()
    try:
        wait_for(lambda: len(files_in(layout, "keep")) == 3, 60, "all three are scored")
    finally:
        line.stop()
        thread.join()
    check_consistent(layout)


class _NeverStarts(ScriptedExecutor):
    def poll(self, timeout: float) -> Sequence[Done]:
        batch, self._batch = self._batch, None
        return [Done("cpu", lost="the worker ended with exit code 1", started=False)] if batch else []


def test_a_worker_that_cannot_start_blames_no_file(layout: Layout) -> None:
    picture(layout.inbox(Kind.SCORE) / "a.png")
    report = daemon(layout, _NeverStarts(always(6.6))).run(once=True)
    assert report.paused == "the worker cannot start: the worker ended with exit code 1"
    assert files_in(layout, "inbox", "failed") == ["inbox/score/a.png"]
    assert rows(layout, "SELECT state, attempt FROM queue") == [("queued", 0)]


def test_a_broken_model_that_one_prompt_asks_for_holds_up_nobody(layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/model_index.json").write_text("{}")
    (layout.inbox(Kind.GENERATE) / "p.txt").write_text(f"a --model {tmp_path / 'broken'}")
    picture(layout.inbox(Kind.SCORE) / "fine.png")

    def script(kind: Kind, _: Item) -> float | ModelDamaged:
        return ModelDamaged("it is broken", "fetch it again") if kind is Kind.GENERATE else 6.6

    known = f'["{tmp_path}"]'
    report = daemon(layout, ScriptedExecutor(script), MODELS__FOLDERS=known).run(once=True)
    assert (report.paused, report.failed) == (None, 1)
    assert files_in(layout, "keep", "failed") == ["failed/p.txt", "failed/p.txt.error.json", "keep/fine.png"]


def test_a_root_that_spans_file_systems_is_refused(layout: Layout, tmp_path: Path) -> None:
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system at hand")
    (layout.root / "keep").rmdir()
    (layout.root / "keep").symlink_to(elsewhere)
    with pytest.raises(UsageError, match="another file system"):
        daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)


class _Slow(ScriptedExecutor):
    """Holds its first batch until it is told to go on; counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__(always(6.6))
        self.go_on = threading.Event()
        self.polls = 0

    def poll(self, timeout: float) -> Sequence[Done]:
        self.polls += 1
        if self._batch is not None and not self.go_on.wait(timeout):
            return []
        return super().poll(timeout)


def test_waiting_for_a_batch_does_not_spin(layout: Layout) -> None:
    for number in range(40):
        picture(layout.inbox(Kind.SCORE) / f"{number}.png", number)
    executor = _Slow()
    line = daemon(layout, executor)
    thread = threading.Thread(target=line.run)
    thread.start()
    try:
        wait_for(lambda: executor.batches != [], 60, "a batch is submitted")
        before, began = executor.polls, time.monotonic()
        time.sleep(1)
        polls = executor.polls - before
        assert polls <= 20 * (time.monotonic() - began)
        executor.go_on.set()
        wait_for(lambda: len(files_in(layout, "keep")) == 40, 60, "all are scored")
    finally:
        executor.go_on.set()
        line.stop()
        thread.join()


def test_removing_a_prompt_file_cancels_what_it_has_not_got(layout: Layout) -> None:
    path = layout.inbox(Kind.GENERATE) / "p.txt"
    path.write_text("a --seed 0 --count 100")
    made: list[int] = []

    def script(kind: Kind, _: Item) -> float:
        if kind is Kind.GENERATE:
            made.append(1)
            path.unlink(missing_ok=True)
        return 6.6

    daemon(layout, ScriptedExecutor(script)).run(once=True)
    assert len(made) == len(files_in(layout, "keep")) <= 4  # one batch
    assert rows(layout, "SELECT count(*) FROM queue WHERE state = 'cancelled'")[0][0] >= 96
    check_consistent(layout)


def test_an_inbox_that_is_removed_is_made_and_watched_again(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = hearing(monkeypatch)
    line = daemon(layout, ScriptedExecutor(always(6.6)), WATCH__RESCAN_SECONDS="0.5")
    thread = threading.Thread(target=line.run)
    thread.start()
    try:
        wait_for(layout.live_status.exists, 60, "it runs")
        observer = line._scans.watcher._observer
        layout.inbox(Kind.SCORE).rmdir()
        wait_for(layout.inbox(Kind.SCORE).is_dir, 60, "the inbox is there again")
        wait_for(
            lambda: line._scans.watcher._observer is not observer and line._scans.watcher.alive, 60, "a new watch"
        )
        path = picture(layout.inbox(Kind.SCORE) / "a.png")
        wait_for(lambda: told(path), 60, "the new watch tells of the file: no scan has to find it")
        wait_for(lambda: (layout.root / "keep/a.png").exists(), 60, "the file is scored")
    finally:
        line.stop()
        thread.join()


@pytest.mark.parametrize("mtime_ns", [2**63 + 10**9, -(10**18)])
@pytest.mark.parametrize("rating", ["off", "in-place", "sidecar"])
def test_a_file_of_another_century_is_worked_like_others(layout: Layout, mtime_ns: int, rating: str) -> None:
    for path in (layout.inbox(Kind.SCORE) / "cat.png", layout.inbox(Kind.UPSCALE) / "dog.png"):
        os.utime(picture(path), ns=(mtime_ns, mtime_ns))
    (layout.inbox(Kind.GENERATE) / "p.txt").write_text("a cat")
    os.utime(layout.inbox(Kind.GENERATE) / "p.txt", ns=(mtime_ns, mtime_ns))
    report = daemon(layout, ScriptedExecutor(always(6.6)), OUTPUT__RATING=rating).run(once=True)
    assert (report.failed, report.paused) == (0, None)
    assert "keep/cat.png" in files_in(layout, "keep")
    assert "archive/p.txt" in files_in(layout, "archive")
    # It is found again after the database is lost.
    layout.database.unlink()
    report = daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    assert rows(layout, "SELECT count(*) FROM results WHERE path = 'keep/cat.png'") == [(1,)]
