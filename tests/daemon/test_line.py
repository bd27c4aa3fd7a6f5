"""The whole line with a scripted executor: real folders, real ledger, no models."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from hotfolder.cli.show import run_show
from hotfolder.cli.why import explain
from hotfolder.daemon.loop import Daemon
from hotfolder.errors import (
    DiskFull,
    EnlargedTooLarge,
    GenerationFailed,
    HotfolderError,
    NotAnImage,
    TruncatedImage,
)
from hotfolder.executors.base import Done
from hotfolder.folders.layout import Layout
from hotfolder.types import Item, Kind
from tests.faults.disks import working
from tests.support.live import wait_for
from tests.support.roots import check_consistent, daemon, files_in, picture, rows, settings
from tests.support.scripted import ScriptedExecutor, always


def drop_prompt(layout: Layout, text: str, name: str = "p.txt") -> Path:
    path = layout.inbox(Kind.GENERATE) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_dropped_images_are_routed_byte_for_byte(layout: Layout) -> None:
    good = picture(layout.inbox(Kind.SCORE) / "trip/day 1/good.png", 1).read_bytes()
    bad = picture(layout.inbox(Kind.SCORE) / "bad.png", 2).read_bytes()

    def script(_: Kind, item: Item) -> float:
        return 6.8 if "good" in Path(str(item.source)).name else 6.2

    report = daemon(layout, ScriptedExecutor(script)).run(once=True)
    assert (report.done, report.failed, report.paused) == (2, 0, None)
    assert (layout.root / "keep/trip/day 1/good.png").read_bytes() == good
    assert (layout.root / "reject/bad.png").read_bytes() == bad
    assert files_in(layout, "inbox", "upscaled", "failed") == []
    assert rows(layout, "SELECT path, role, verdict, score, scorer, width, height FROM results ORDER BY path") == [
        ("keep/trip/day 1/good.png", "dropped", "keep", 6.8, "scripted", 16, 12),
        ("reject/bad.png", "dropped", "reject", 6.2, "scripted", 16, 12),
    ]
    check_consistent(layout)


def test_the_best_are_enlarged_and_scored_again(layout: Layout) -> None:
    picture(layout.inbox(Kind.SCORE) / "a.png")

    def script(kind: Kind, item: Item) -> float:
        return 8.0 if "_4x" in str(item.source) else 7.0

    daemon(layout, ScriptedExecutor(script)).run(once=True)
    assert files_in(layout, "keep", "upscaled") == ["keep/a.png", "upscaled/a_4x.png"]
    assert rows(layout, "SELECT * FROM score_gain") == [("keep/a.png", 7.0, "upscaled/a_4x.png", 8.0, 1.0)]
    assert rows(
        layout, "SELECT role, verdict, parent_path, width, height FROM results WHERE role = 'upscaled'"
    ) == [("upscaled", None, "keep/a.png", 64, 48)]
    check_consistent(layout)


def test_what_a_dropped_picture_cannot_have_is_an_error_or_stands_with_its_job(layout: Layout) -> None:
    info = PngInfo()
    info.add_text(
        "parameters",
        "a cat\nSteps: 8, Sampler: Restart, CFG scale: 3, Seed: 7, Clip skip: 2, Size: 64x64, Model: gone",
    )
    for folder in ("strict", "lenient"):
        (layout.inbox(Kind.GENERATE) / folder).mkdir()
        Image.new("RGB", (8, 8)).save(layout.inbox(Kind.GENERATE) / folder / "a.png", pnginfo=info)
    (layout.inbox(Kind.GENERATE) / "lenient/hotfolder.toml").write_text("[generate]\nadapt = true\n")
    report = daemon(layout, ScriptedExecutor(always(5.5))).run(once=True)
    assert (report.done, report.failed) == (2, 1)
    error = json.loads((layout.root / "failed/strict/a.png.error.json").read_text())
    assert "Clip skip" in error["message"]
    ((params,),) = rows(layout, "SELECT params FROM jobs WHERE kind = 'generate' AND state = 'done'")
    assert json.loads(params)["notes"] == [
        "made with Clip skip: left out",
        "its sampler is 'Restart': 'Heun' is taken",
        "no model is called 'gone': shapes is taken",
    ]
    check_consistent(layout)


def test_enlarging_may_be_left_to_prompts(layout: Layout) -> None:
    picture(layout.inbox(Kind.SCORE) / "a.png")
    drop_prompt(layout, "a cat --seed 1\na dog --seed 2 --upscale yes", "p.txt")
    daemon(layout, ScriptedExecutor(always(9.9)), GATE__UPSCALE="never").run(once=True)
    assert files_in(layout, "upscaled") == ["upscaled/p-L2-s2_4x.png"]
    check_consistent(layout)


def test_what_would_become_too_large_stays_as_it_is_and_says_so(
    layout: Layout, caplog: pytest.LogCaptureFixture
) -> None:
    picture(layout.inbox(Kind.SCORE) / "photo.png")
    picture(layout.inbox(Kind.UPSCALE) / "poster.png", 1)
    told = EnlargedTooLarge("enlarged it would have 384 megapixels", "ask for a size")

    def script(kind: Kind, _: Item) -> float | HotfolderError:
        return told if kind is Kind.UPSCALE else 9.0

    caplog.set_level("INFO")
    report = daemon(layout, ScriptedExecutor(script)).run(once=True)
    # Whoever drops a file to have it enlarged is told that it was not; a kept one is no failure.
    assert (report.done, report.failed) == (2, 1)
    assert files_in(layout, "keep", "upscaled", "failed") == [
        "failed/poster.png", "failed/poster.png.error.json", "keep/photo.png",
    ]  # fmt: skip
    note = "it is not enlarged: enlarged it would have 384 megapixels"
    assert rows(layout, "SELECT settings ->> '$.notes[0]' FROM images") == [(note,)]
    assert rows(layout, "SELECT state, error FROM jobs WHERE kind = 'upscale' AND image_id IS NOT NULL") == [
        ("done", note)
    ]
    for path in ("keep/photo.png", "inbox/score/photo.png"):
        assert note in explain(layout, layout.root / path)["reason"]
    assert "keep/photo.png stays as it is: enlarged it would have 384 megapixels" in caplog.text
    check_consistent(layout)


def test_an_image_to_enlarge_goes_to_the_archive_and_has_a_gain(layout: Layout) -> None:
    data = picture(layout.inbox(Kind.UPSCALE) / "sub/b.png").read_bytes()
    daemon(layout, ScriptedExecutor(always(6.0))).run(once=True)
    assert (layout.root / "archive/sub/b.png").read_bytes() == data
    assert files_in(layout, "upscaled", "keep", "reject", "inbox") == ["upscaled/sub/b_4x.png"]
    assert rows(layout, "SELECT parent_path, gain FROM score_gain") == [("archive/sub/b.png", 0.0)]
    check_consistent(layout)


def test_what_a_person_should_know_of_a_picture_is_told(
    layout: Layout, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    pages = [Image.new("RGB", (16, 12), colour) for colour in ("red", "blue")]
    for kind, name in ((Kind.SCORE, "a.tif"), (Kind.UPSCALE, "b.tif")):
        layout.inbox(kind).mkdir(parents=True, exist_ok=True)
        pages[0].save(layout.inbox(kind) / name, save_all=True, append_images=pages[1:])
        pages.reverse()
    daemon(layout, ScriptedExecutor(always(6.8))).run(once=True)
    said = "it has several pages: only the first is taken"
    noted = "SELECT path FROM images WHERE settings ->> '$.notes[0]' = ? ORDER BY path"
    with closing(sqlite3.connect(layout.database)) as database:
        assert database.execute(noted, (said,)).fetchall() == [("keep/a.tif",), ("upscaled/b_4x.png",)]
    assert f"inbox/score/a.tif: {said}" in caplog.text
    assert f"inbox/upscale/b.tif: {said}" in caplog.text
    for path in ("keep/a.tif", "upscaled/b_4x.png"):
        assert said in explain(layout, layout.root / path)["reason"]
        run_show(layout.root, layout.root / path, as_json=False)
        assert f"note: {said}" in capsys.readouterr().out
    check_consistent(layout)


def test_prompts_become_named_images_and_the_file_is_archived(layout: Layout) -> None:
    drop_prompt(layout, "a red circle --seed 7 --count 2", "set/one.txt")
    drop_prompt(layout, "# two\na --seed 1\nb --seed 2", "two.txt")
    daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    assert files_in(layout, "keep") == [
        "keep/set/one-s7.png",
        "keep/set/one-s8.png",
        "keep/two-L2-s1.png",
        "keep/two-L3-s2.png",
    ]
    assert files_in(layout, "archive") == ["archive/set/one.txt", "archive/two.txt"]
    assert rows(layout, "SELECT prompt, seed, model, source_file FROM results WHERE seed = 8") == [
        ("a red circle", 8, "shapes", "inbox/generate/set/one.txt")
    ]
    check_consistent(layout)


def test_a_bad_image_is_tried_again_with_new_seeds_up_to_the_limit(layout: Layout) -> None:
    drop_prompt(layout, "a --seed 7")
    daemon(layout, ScriptedExecutor(always(2.0))).run(once=True)
    seeds = [seed for (seed,) in rows(layout, "SELECT seed FROM results ORDER BY image_id")]
    assert len(seeds) == len(set(seeds)) == 3
    assert seeds[0] == 7
    assert len(files_in(layout, "reject")) == 3
    check_consistent(layout)


def test_regeneration_stops_at_the_first_good_one(layout: Layout) -> None:
    drop_prompt(layout, "a --seed 7")
    scores = iter([2.0, 6.9])

    def script(kind: Kind, _: Item) -> float:
        return next(scores) if kind is Kind.SCORE else 0.0

    daemon(layout, ScriptedExecutor(script)).run(once=True)
    assert rows(layout, "SELECT verdict FROM results ORDER BY image_id") == [("reject",), ("keep",)]


def test_nothing_is_overwritten(layout: Layout) -> None:
    first = picture(layout.inbox(Kind.SCORE) / "a.png", 1).read_bytes()
    daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    second = picture(layout.inbox(Kind.SCORE) / "a.png", 2).read_bytes()
    daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    assert (layout.root / "keep/a.png").read_bytes() == first
    assert (layout.root / "keep/a-1.png").read_bytes() == second
    check_consistent(layout)


def test_the_same_content_again_is_a_duplicate_and_is_not_lost(layout: Layout) -> None:
    for _ in range(2):
        data = picture(layout.inbox(Kind.SCORE) / "a.png", 1).read_bytes()
        drop_prompt(layout, "x --seed 3")
        daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    assert files_in(layout, "keep") == ["keep/a.png", "keep/p-s3.png"]
    assert (layout.root / "archive/a.png").read_bytes() == data
    assert files_in(layout, "archive") == ["archive/a.png", "archive/p-1.txt", "archive/p.txt"]
    kinds = rows(layout, "SELECT kind, state FROM queue WHERE error_kind = 'duplicate' ORDER BY kind")
    assert kinds == [("generate", "done"), ("score", "done")]
    check_consistent(layout)


def test_one_bad_file_hurts_only_itself(layout: Layout) -> None:
    for name in ("a", "bad", "c"):
        picture(layout.inbox(Kind.SCORE) / f"{name}.png", len(name))
    drop_prompt(layout, "a --stesp 4", "typo.txt")
    drop_prompt(layout, "a --seed 4", "fine.txt")

    def script(_: Kind, item: Item) -> float | NotAnImage:
        return NotAnImage("it is none", "mend it") if "bad" in Path(str(item.source)).name else 6.6

    report = daemon(layout, ScriptedExecutor(script)).run(once=True)
    assert report.failed == 2
    assert files_in(layout, "keep") == ["keep/a.png", "keep/c.png", "keep/fine-s4.png"]
    assert files_in(layout, "failed") == [
        "failed/bad.png",
        "failed/bad.png.error.json",
        "failed/typo.txt",
        "failed/typo.txt.error.json",
    ]
    told = json.loads((layout.root / "failed/typo.txt.error.json").read_text())
    assert told["kind"] == "prompt_syntax"
    assert told["message"] == "typo.txt:1:3: unknown flag '--stesp'"
    assert told["fix"] == "did you mean '--steps'?"
    assert told["source_file"] == "inbox/generate/typo.txt"
    assert files_in(layout, "inbox") == []
    check_consistent(layout)


def test_a_prompt_file_with_one_failed_image_ends_in_failed_with_the_others_made(layout: Layout) -> None:
    drop_prompt(layout, "a --seed 1 --count 3")

    def script(kind: Kind, item: Item) -> float | GenerationFailed:
        failing = kind is Kind.GENERATE and item.params["seed"] == 2
        return GenerationFailed("no numbers", "another seed") if failing else 6.6

    report = daemon(layout, ScriptedExecutor(script)).run(once=True)
    assert report.failed == 1
    assert files_in(layout, "keep", "failed") == [
        "failed/p.txt",
        "failed/p.txt.error.json",
        "keep/p-s1.png",
        "keep/p-s3.png",
    ]
    assert json.loads((layout.root / "failed/p.txt.error.json").read_text())["jobs"][0]["attempts"] == 3


def test_a_generated_image_that_cannot_be_scored_is_not_left_hidden(layout: Layout) -> None:
    drop_prompt(layout, "a --seed 1")

    def script(kind: Kind, _: Item) -> float | NotAnImage:
        return NotAnImage("unreadable", "look at it") if kind is Kind.SCORE else 0.0

    daemon(layout, ScriptedExecutor(script)).run(once=True)
    assert files_in(layout, "failed", ".hotfolder/unscored") == [
        "failed/p-s1.png",
        "failed/p-s1.png.error.json",
        "failed/p.txt",
        "failed/p.txt.error.json",
    ]
    assert rows(layout, "SELECT path, score FROM results") == [("failed/p-s1.png", None)]


def test_a_file_that_looks_broken_is_given_time_to_turn_whole(layout: Layout) -> None:
    path = picture(layout.inbox(Kind.SCORE) / "a.png")
    calls: list[float] = []
    passed = 0.0

    def clock() -> float:
        return time.time() + passed

    class Waiting(ScriptedExecutor):
        """Ten seconds pass each time that it is asked for news and has nothing to do."""

        def poll(self, timeout: float) -> Sequence[Done]:
            nonlocal passed
            passed += 10 if self.capacity()["cpu"] and calls else 0
            return super().poll(timeout)

    def script(_: Kind, __: Item) -> float | TruncatedImage:
        calls.append(clock())
        return TruncatedImage("half of it", "copy it again")

    quick = {"WATCH__MODE": "polling", "WATCH__POLL_SECONDS": "0.05"}
    wanted = settings(layout, SETTLE__INCOMPLETE_GRACE_SECONDS="100", **quick)
    report = Daemon(layout.root, wanted, Waiting(script), clock=clock).run(once=True)
    assert report.failed == 1
    assert len(calls) == 2
    assert calls[1] - calls[0] > 60
    assert not path.exists()
    assert rows(layout, "SELECT attempt FROM queue") == [(1,)]


def test_disk_trouble_pauses_and_spends_no_attempt(layout: Layout) -> None:
    picture(layout.inbox(Kind.SCORE) / "a.png")
    full = [True, True, False]

    def script(_: Kind, __: Item) -> float | DiskFull:
        return DiskFull("no space", "free some") if full.pop(0) else 6.6

    with working(daemon(layout, ScriptedExecutor(script))):
        wait_for((layout.root / "keep/a.png").exists, 10, "it goes on when there is space")
    assert rows(layout, "SELECT state, attempt FROM queue") == [("done", 1)]
    check_consistent(layout)


def test_once_stops_with_a_word_when_the_environment_fails(layout: Layout) -> None:
    data = picture(layout.inbox(Kind.SCORE) / "a.png").read_bytes()
    report = daemon(layout, ScriptedExecutor(lambda *_: DiskFull("no space", "free some"))).run(once=True)
    assert report.paused == "no space"
    assert (layout.inbox(Kind.SCORE) / "a.png").read_bytes() == data
    assert rows(layout, "SELECT state, attempt FROM queue") == [("queued", 0)]


def test_a_file_that_kills_workers_is_quarantined_and_its_neighbours_pass(layout: Layout) -> None:
    for name in ("a", "poison", "c"):
        picture(layout.inbox(Kind.SCORE) / f"{name}.png", len(name))

    def script(_: Kind, item: Item) -> float | str:
        return "the worker was killed by SIGSEGV" if "poison" in Path(str(item.source)).name else 6.6

    executor = ScriptedExecutor(script)
    report = daemon(layout, executor).run(once=True)
    assert report.failed == 1
    assert files_in(layout, "keep") == ["keep/a.png", "keep/c.png"]
    told = json.loads((layout.root / "failed/poison.png.error.json").read_text())
    assert told["kind"] == "worker_lost"
    deaths = sum(
        any("poison" in Path(str(item.source)).name for item in batch.items) for batch in executor.batches
    )
    assert deaths == 3
    check_consistent(layout)


def test_a_file_taken_away_is_cancelled_and_one_that_changed_is_taken_anew(layout: Layout) -> None:
    gone = picture(layout.inbox(Kind.SCORE) / "gone.png", 1)
    changed = picture(layout.inbox(Kind.SCORE) / "changed.png", 2)
    touched: list[str] = []

    def script(_: Kind, item: Item) -> float:
        # While the file is in work, a person acts.
        if item.source == str(gone):
            gone.unlink(missing_ok=True)
        elif not touched:
            touched.append("yes")
            picture(changed, 3)
        return 6.6

    daemon(layout, ScriptedExecutor(script)).run(once=True)
    assert files_in(layout, "keep", "inbox") == ["keep/changed.png"]
    assert (layout.root / "keep/changed.png").read_bytes() == picture(layout.root.parent / "x.png", 3).read_bytes()
    check_consistent(layout)


def test_links_pipes_and_unfinished_names_are_never_touched(layout: Layout, tmp_path: Path) -> None:
    inbox = layout.inbox(Kind.SCORE)
    outside = picture(tmp_path / "outside.png")
    (inbox / "link.png").symlink_to(outside)
    os.mkfifo(inbox / "pipe.png")
    picture(inbox / "movie.png.part")
    picture(inbox / ".hidden.png")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(inbox / "socket.png"))
    before = sorted(path.name for path in inbox.iterdir())
    report = daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    listener.close()
    assert (report.done, report.failed) == (0, 0)
    assert sorted(path.name for path in inbox.iterdir()) == before


def test_a_slow_writer_is_waited_for_and_its_file_is_taken_once(layout: Layout) -> None:
    whole = picture(layout.root.parent / "whole.png", size=(64, 48)).read_bytes()
    executor = ScriptedExecutor(always(6.6))
    with working(daemon(layout, executor)):
        path = layout.inbox(Kind.SCORE) / "slow.png"
        with path.open("wb") as file:
            for start in range(0, len(whole), 1024):
                file.write(whole[start : start + 1024])
                file.flush()
                time.sleep(0.1)
            assert executor.batches == []
        wait_for((layout.root / "keep/slow.png").exists, 10, "it is taken once it is whole")
    assert (layout.root / "keep/slow.png").read_bytes() == whole
    assert len(executor.batches) == 1
    check_consistent(layout)


def test_files_there_before_the_start_and_moved_in_folders_are_found(layout: Layout, tmp_path: Path) -> None:
    for number in range(30):
        picture(tmp_path / "album" / f"{number}.png", number)
    (tmp_path / "album").rename(layout.inbox(Kind.SCORE) / "album")
    report = daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    assert report.done == 30
    assert len(files_in(layout, "keep/album")) == 30
    check_consistent(layout)


def test_a_second_daemon_is_refused(layout: Layout) -> None:
    from hotfolder.errors import AlreadyRunning
    from hotfolder.folders.lock import RootLock

    layout.make()
    lock = RootLock(layout.lock)
    lock.acquire()
    try:
        with pytest.raises(AlreadyRunning, match=str(os.getpid())):
            daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    finally:
        lock.release()
    daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)


def test_an_enlarged_image_that_got_worse_is_held_back(layout: Layout) -> None:
    for name in ("a", "b"):
        picture(layout.inbox(Kind.UPSCALE) / f"{name}.png", ord(name))
    original = (layout.inbox(Kind.UPSCALE) / "b.png").read_bytes()

    def script(kind: Kind, item: Item) -> float:
        path = str(item.source)
        return 5.0 if "_4x" in path and "b_4x" in path else 6.0

    daemon(layout, ScriptedExecutor(script), UPSCALE__MIN_GAIN="0").run(once=True)
    assert files_in(layout, "upscaled", "archive", "failed") == [
        "archive/a.png", "archive/b.png", "upscaled/a_4x.png", "upscaled/b_4x.regressed.png",
    ]  # fmt: skip
    assert (layout.root / "archive/b.png").read_bytes() == original
    assert rows(layout, "SELECT path, verdict FROM results WHERE role = 'upscaled' ORDER BY path") == [
        ("upscaled/a_4x.png", None),
        ("upscaled/b_4x.regressed.png", "reject"),
    ]
    assert rows(layout, "SELECT upscaled_path, gain FROM score_gain ORDER BY 1") == [
        ("upscaled/a_4x.png", 0.0),
        ("upscaled/b_4x.regressed.png", -1.0),
    ]
    check_consistent(layout)


def test_without_a_least_gain_gains_are_only_recorded(layout: Layout) -> None:
    picture(layout.inbox(Kind.UPSCALE) / "b.png", 1)
    daemon(layout, ScriptedExecutor(lambda _, item: 5.0 if "_4x" in str(item.source) else 6.0)).run(once=True)
    assert files_in(layout, "upscaled") == ["upscaled/b_4x.png"]
    assert rows(layout, "SELECT gain FROM score_gain") == [(-1.0,)]


def test_wildcards_are_drawn_from_lists_and_both_texts_are_recorded(layout: Layout) -> None:
    (layout.root / "wildcards").mkdir()
    (layout.root / "wildcards/colours.txt").write_text("# colours\nred\n\nblue\n")
    (layout.root / "wildcards/secret.txt").symlink_to("/etc/hostname")
    (layout.inbox(Kind.GENERATE) / "p.txt").write_text("a __colours__ {cat|dog} --seed 1 --count 6")
    (layout.inbox(Kind.GENERATE) / "q.txt").write_text("a __secret__ cat")
    report = daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    assert (report.done, report.failed) == (12, 1)
    found = rows(layout, "SELECT prompt, json_extract(settings, '$.template') FROM images ORDER BY seed")
    assert {template for _, template in found} == {"a __colours__ {cat|dog}"}
    assert 1 < len({prompt for prompt, _ in found}) <= 4
    assert {prompt for prompt, _ in found} <= {f"a {c} {a}" for c in ("red", "blue") for a in ("cat", "dog")}
    assert "wildcards/secret.txt cannot be read" in (layout.root / "failed/q.txt.error.json").read_text()
