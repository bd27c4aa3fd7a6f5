"""Companions go where their picture goes, come back with it, and are never parted from it."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest
from PIL import Image

from hotfolder.cli.why import explain
from hotfolder.files.beneath import Beneath
from hotfolder.folders.layout import Layout
from hotfolder.publishing.entries import decode, encode
from hotfolder.status import mailbox
from hotfolder.transitions import Companion, Move, Rerouted
from hotfolder.types import Kind, Verdict
from tests.support.roots import daemon, files_in, picture, rows
from tests.support.scripted import ScriptedExecutor, always

BESIDE = (
    "a.png.xmp",
    "a.xmp",
    "a.json",
    "a.txt",
    "a.aae",
    "a.mov",
    "a.cr3",
    "a.cr3.xmp",
    "a.png.supplemental-metadata.json",
)
OUTPUTS = ("keep", "reject", "failed", "archive", "upscaled")


def drop(layout: Layout, *names: str, kind: Kind = Kind.SCORE, seed: int = 1, sub: str = "sub") -> None:
    """A picture, and files beside it whose contents are their names."""
    folder = layout.inbox(kind) / sub
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        if name.endswith(".png"):
            picture(folder / name, seed)
        else:
            (folder / name).write_text(name)


def work(layout: Layout, score: float = 8.0, **overrides: str) -> None:
    report = daemon(layout, ScriptedExecutor(always(score)), GATE__UPSCALE="9", **overrides).run(once=True)
    assert report.paused is None


@pytest.mark.parametrize(("score", "into"), [(8.0, "keep"), (2.0, "reject")])
def test_they_go_where_their_picture_goes(layout: Layout, score: float, into: str) -> None:
    drop(layout, "a.png", *BESIDE)
    work(layout, score)
    assert files_in(layout, "inbox", *OUTPUTS) == sorted(f"{into}/sub/{name}" for name in ("a.png", *BESIDE))
    for name in BESIDE:
        assert (layout.root / into / "sub" / name).read_text() == name
    assert len(rows(layout, "SELECT path FROM results")) == 1


def test_with_what_was_dropped_to_be_enlarged_they_go_to_the_archive(layout: Layout) -> None:
    drop(layout, "a.png", "a.txt", "a.png.xmp", kind=Kind.UPSCALE)
    work(layout)
    assert files_in(layout, "inbox", *OUTPUTS) == [
        "archive/sub/a.png", "archive/sub/a.png.xmp", "archive/sub/a.txt", "upscaled/sub/a_4x.png",
    ]  # fmt: skip


def test_they_get_the_number_that_their_picture_gets(layout: Layout) -> None:
    drop(layout, "a.png", "a.xmp")
    work(layout)
    drop(layout, "a.png", "a.png.xmp", "a.txt", seed=2)
    work(layout)
    (layout.root / "keep/sub/b.txt").write_text("a person's own")
    drop(layout, "b.png", "b.txt", seed=3)
    work(layout)
    assert files_in(layout, "keep") == [
        "keep/sub/a-1.png", "keep/sub/a-1.png.xmp", "keep/sub/a-1.txt", "keep/sub/a.png", "keep/sub/a.xmp",
        "keep/sub/b-1.png", "keep/sub/b-1.txt", "keep/sub/b.txt",
    ]  # fmt: skip
    assert (layout.root / "keep/sub/b.txt").read_text() == "a person's own"


def test_they_fail_with_a_damaged_picture_and_come_back_with_retry(layout: Layout) -> None:
    drop(layout, "a.txt", "a.png.xmp")
    (layout.inbox(Kind.SCORE) / "sub/a.png").write_bytes(b"\x89PNG\r\n\x1a\n no picture")
    work(layout)
    there = ["failed/sub/a.png", "failed/sub/a.png.error.json", "failed/sub/a.png.xmp", "failed/sub/a.txt"]
    assert files_in(layout, "inbox", *OUTPUTS) == there
    mailbox.ask(layout, {"do": "retry", "jobs": [rows(layout, "SELECT id FROM jobs")[0][0]]})
    picture(layout.root / "failed/sub/a.png", 1)
    work(layout)
    assert files_in(layout, "inbox", *OUTPUTS) == ["keep/sub/a.png", "keep/sub/a.png.xmp", "keep/sub/a.txt"]


def test_a_prompt_that_failed_is_no_caption_of_a_picture_that_did(layout: Layout) -> None:
    (layout.inbox(Kind.GENERATE) / "a.txt").write_text("a cat --stesp 3")
    (layout.inbox(Kind.SCORE) / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n no picture")
    work(layout)
    (job,) = rows(layout, "SELECT id FROM jobs WHERE kind = 'score'")
    mailbox.ask(layout, {"do": "retry", "jobs": [job[0]]})
    picture(layout.root / "failed/a.png", 1)
    work(layout)
    assert files_in(layout, "inbox", *OUTPUTS) == ["failed/a.txt", "failed/a.txt.error.json", "keep/a.png"]


def test_they_are_sorted_anew_with_their_picture_and_that_is_undone(layout: Layout) -> None:
    drop(layout, "a.png", *BESIDE)
    work(layout)
    (layout.root / "keep/sub/a.dop").write_text("added later")
    mailbox.ask(layout, {"do": "reroute", "keep": 9})
    work(layout)
    names = ("a.dop", "a.png", *BESIDE)
    assert files_in(layout, *OUTPUTS) == sorted(f"reject/sub/{name}" for name in names)
    mailbox.ask(layout, {"do": "undo"})
    work(layout)
    assert files_in(layout, *OUTPUTS) == sorted(f"keep/sub/{name}" for name in names)


def test_one_that_comes_after_its_picture_follows_it(layout: Layout) -> None:
    drop(layout, "a.png")
    drop(layout, "a.png", seed=2, sub="other")
    work(layout)
    drop(layout, "a.png.xmp", "a.cr3")
    mailbox.ask(layout, {"do": "reroute", "keep": 9})
    work(layout)
    assert files_in(layout, "inbox", *OUTPUTS) == [
        "reject/other/a.png", "reject/sub/a.cr3", "reject/sub/a.png", "reject/sub/a.png.xmp",
    ]  # fmt: skip


def test_one_that_comes_after_its_picture_overwrites_nothing(layout: Layout) -> None:
    drop(layout, "a.png", "a.xmp")
    work(layout)
    drop(layout, "a.xmp")
    (layout.inbox(Kind.SCORE) / "sub/a.xmp").write_text("another one")
    work(layout)
    assert (layout.root / "keep/sub/a.xmp").read_text() == "a.xmp"
    assert files_in(layout, "inbox") == ["inbox/score/sub/a.xmp"]


def test_one_without_a_picture_waits_for_it(layout: Layout) -> None:
    drop(layout, "a.xmp")
    work(layout)
    assert files_in(layout, "inbox", *OUTPUTS) == ["inbox/score/sub/a.xmp"]
    assert "it is no picture but may belong to one" in explain(layout, Path("inbox/score/sub/a.xmp"))["reason"]
    drop(layout, "a.png")
    assert (
        explain(layout, Path("inbox/score/sub/a.xmp"))["reason"] == "it belongs to a.png, and goes where that goes"
    )
    work(layout)
    assert files_in(layout, "inbox", *OUTPUTS) == ["keep/sub/a.png", "keep/sub/a.xmp"]


def test_one_that_is_still_being_written_comes_after_its_picture(layout: Layout) -> None:
    drop(layout, "a.png", "a.mov")
    film = layout.inbox(Kind.SCORE) / "sub/a.mov"

    def score_then_finish(_kind: object, _item: object) -> float:
        film.write_text("grown")
        return 8.0

    daemon(layout, ScriptedExecutor(score_then_finish), GATE__UPSCALE="9", WATCH__MODE="polling").run(once=True)
    assert files_in(layout, "inbox", *OUTPUTS) == ["keep/sub/a.mov", "keep/sub/a.png"]
    assert (layout.root / "keep/sub/a.mov").read_text() == "grown"


def test_raw_alone_is_worked_itself(layout: Layout) -> None:
    drop(layout, "a.cr3", "a.cr3.xmp")
    work(layout)
    assert files_in(layout, "inbox", "keep") == []
    assert files_in(layout, "failed") == [  # there is nothing in it
        "failed/sub/a.cr3", "failed/sub/a.cr3.error.json", "failed/sub/a.cr3.xmp",
    ]  # fmt: skip


def test_names_that_are_no_text_stay_together(layout: Layout) -> None:
    folder = os.fsencode(layout.inbox(Kind.SCORE))
    for ending in (b".png", b".png.xmp"):
        Path(os.fsdecode(folder + b"/caf\xe9" + ending)).write_bytes(
            picture(layout.root / "outside.png").read_bytes()
        )
    work(layout)
    assert files_in(layout, "inbox", *OUTPUTS) == ["keep/caf%E9.png", "keep/caf%E9.png.xmp"]


@pytest.mark.parametrize("die_at", range(1, 9))
def test_a_crash_parts_none_of_them(layout: Layout, monkeypatch: pytest.MonkeyPatch, die_at: int) -> None:
    class Dies(BaseException):
        pass

    steps = 0
    real = Beneath.rename

    def rename(beneath: Beneath, src: str, dst: str) -> None:
        nonlocal steps
        for before in (True, False):
            steps += 1
            if steps == die_at:
                raise Dies
            if before:
                real(beneath, src, dst)

    drop(layout, "a.png", "a.xmp", "a.txt", "a.png.xmp")
    with monkeypatch.context() as patch:
        patch.setattr(Beneath, "rename", rename)
        with pytest.raises(Dies):
            work(layout)
    work(layout)
    assert files_in(layout, "inbox", *OUTPUTS) == [
        "keep/sub/a.png", "keep/sub/a.png.xmp", "keep/sub/a.txt", "keep/sub/a.xmp",
    ]  # fmt: skip


def test_one_that_cannot_be_moved_stays_and_holds_nothing_back(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Beneath.rename

    def refuses(beneath: Beneath, src: str, dst: str) -> None:
        if src.endswith("a.txt"):
            raise PermissionError(1, "Operation not permitted", beneath.full(src), None, beneath.full(dst))
        real(beneath, src, dst)

    drop(layout, "a.png", "a.txt")
    with monkeypatch.context() as patch:
        patch.setattr(Beneath, "rename", refuses)
        work(layout)
    assert files_in(layout, "inbox", *OUTPUTS) == ["inbox/score/sub/a.txt", "keep/sub/a.png"]
    work(layout)
    assert files_in(layout, "inbox", *OUTPUTS) == ["keep/sub/a.png", "keep/sub/a.txt"]


def test_a_database_that_is_made_anew_has_the_pictures_alone(layout: Layout) -> None:
    drop(layout, "a.png", "a.txt")
    Image.new("RGB", (8, 8)).save(layout.inbox(Kind.SCORE) / "sub/a.nef", "TIFF")
    work(layout)
    layout.database.write_bytes(b"no database")
    work(layout)
    assert rows(layout, "SELECT path FROM results") == [("keep/sub/a.png",)]
    assert files_in(layout, "keep") == ["keep/sub/a.nef", "keep/sub/a.png", "keep/sub/a.txt"]


def test_an_entry_says_what_goes_along_and_older_ones_do_not() -> None:
    moved = Rerouted(
        drop_id=1, source_file="inbox/score/a.png", image_id=2, verdict=Verdict.KEEP, reroute_id=None,
        image=Move("reject/a.png", "keep/a.png"), companions=(Companion("image", Move("reject/a.xmp", "keep/a.xmp")),),
    )  # fmt: skip
    entry = encode(moved)
    assert decode(entry.version, entry.text) == moved
    second = (
        '{"kind":"Rerouted","transition":{"drop_id":1,"source_file":"inbox/score/a.png","image_id":2,'
        '"verdict":"keep","image":{"src":"reject/a.png","dst":"keep/a.png","file":null},"reroute_id":null}}'
    )
    assert decode(2, second).companions == ()


def test_a_root_of_the_version_before_is_finished(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    class Dies(BaseException):
        pass

    def die(*_: object) -> None:
        raise Dies

    drop(layout, "a.png")
    with monkeypatch.context() as patch:
        patch.setattr(Beneath, "rename", die)
        with pytest.raises(Dies):
            work(layout)
    connection = sqlite3.connect(layout.database)
    with connection:
        (text,) = connection.execute("SELECT entry FROM journal").fetchone()
        assert '"companions":[],' in text
        connection.execute("UPDATE journal SET version = 2, entry = ?", (text.replace('"companions":[],', ""),))
    connection.close()
    work(layout)
    assert files_in(layout, "keep") == ["keep/sub/a.png"]
