"""`why` and `show` know a file wherever it lies, and by what is in it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from hotfolder.cli import why
from hotfolder.cli.doctor.folders import left_alone
from hotfolder.cli.restore import run_restore
from hotfolder.cli.show import run_show
from hotfolder.cli.top import show_top
from hotfolder.cli.verdicts import run_verdict
from hotfolder.cli.why import explain, show_why
from hotfolder.config import loading
from hotfolder.errors import BadInput, DiskFull, HotfolderError, UsageError
from hotfolder.folders.layout import Layout
from hotfolder.status import mailbox
from hotfolder.status.live import snapshot
from hotfolder.types import Item, Kind, Progress, Verdict
from tests.support.roots import daemon, picture, rows
from tests.support.scripted import ScriptedExecutor


@pytest.fixture
def worked(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """Two kept pictures, one that failed, and a prompt file that is done."""

    def script(_: Kind, item: Item) -> float | HotfolderError:
        return BadInput("it is damaged", "copy it again") if "bad" in str(item.source) else 6.6

    picture(layout.inbox(Kind.SCORE) / "a.png", 1)
    picture(layout.inbox(Kind.SCORE) / "holiday/b.png", 2)
    picture(layout.inbox(Kind.SCORE) / "bad.png", 3)
    picture(layout.inbox(Kind.SCORE) / "bad (1).png", 5)
    (layout.inbox(Kind.GENERATE) / "p.txt").write_text("a cat --seed 1\n")
    daemon(layout, ScriptedExecutor(script)).run(once=True)
    monkeypatch.chdir(layout.root)
    return layout


def reason(layout: Layout, path: str) -> str:
    answer = explain(layout, Path(path))
    return f"{answer['state']}: {answer['reason']} | {answer['fix']}"


def test_what_lies_in_failed_and_archive_is_known(worked: Layout) -> None:
    assert "failed: inbox/score/bad.png failed: it is damaged" in reason(worked, "failed/bad.png")
    assert "copy it again; then: hotfolder retry failed/bad.png" in reason(worked, "failed/bad.png")
    assert "then: hotfolder retry 'failed/bad (1).png'" in reason(
        worked, "failed/bad (1).png"
    )  # as a shell takes it
    assert "done: inbox/generate/p.txt is done: 2 of 2 jobs" in reason(worked, "archive/p.txt")
    assert "says why the file beside it failed" in reason(worked, "failed/bad.png.error.json")


def test_a_folder_is_told_by_what_lies_in_it(worked: Layout) -> None:
    assert "nothing that could be worked lies in it" in reason(worked, "inbox/score")
    picture(worked.inbox(Kind.SCORE) / "new/c.png", 4)
    (worked.inbox(Kind.SCORE) / "new/link.png").symlink_to("c.png")
    told = reason(worked, "inbox/score/new")
    assert (
        "1 files lie in it, 1 links or the like are left alone; the first, inbox/score/new/c.png: no daemon"
        in told
    )
    assert "it is a folder | name a file of it" in reason(worked, "keep")


def test_what_belongs_to_a_result_is_told_with_it(worked: Layout) -> None:
    for name in ("keep/a.xmp", "keep/stranger.txt"):
        (worked.root / name).write_text("x")
    picture(worked.root / "keep/stranger.png", 6)
    assert reason(worked, "keep/a.xmp") == "done: it belongs to a.png, and goes where that goes | "
    assert "which never saw it" in reason(worked, "keep/stranger.txt")  # nor its picture


def test_where_a_caption_went_with_its_picture_is_told(worked: Layout) -> None:
    picture(worked.inbox(Kind.SCORE) / "d.png", 7)
    (worked.inbox(Kind.SCORE) / "d.txt").write_text("a dog")
    daemon(worked, ScriptedExecutor(lambda *_: 6.6)).run(once=True)
    assert reason(worked, "inbox/score/d.txt") == "done: it went along with its picture: it is keep/d.txt now | "
    (worked.root / "keep/d.txt").unlink()
    assert "there is no such file" in reason(worked, "inbox/score/d.txt")


def test_a_result_under_a_name_that_is_not_utf_8_is_to_be_renamed(worked: Layout) -> None:
    name = os.fsdecode(b"keep/\xe4.png")
    (worked.root / "keep/a.png").rename(worked.root / name)
    assert reason(worked, name) == "waiting: its name is not UTF-8, and nothing is known of such names | rename it"
    daemon(worked, ScriptedExecutor(lambda *_: 6.6)).run(once=True)
    (worked.root / name).rename(worked.root / "keep/ae.png")
    daemon(worked, ScriptedExecutor(lambda *_: 6.6)).run(once=True)
    assert reason(worked, "keep/ae.png").startswith("done: dropped from inbox/score/a.png")


def test_where_an_image_came_from_may_not_be_known(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(layout.root / "keep/a.png", 1)  # before there was a database
    daemon(layout, ScriptedExecutor(lambda *_: 6.6)).run(once=True)
    monkeypatch.chdir(layout.root)
    assert "dropped from a file that is not known, not scored yet" in reason(layout, "keep/a.png")
    with pytest.raises(UsageError, match=r"where keep/a\.png was dropped is not known"):
        run_restore(layout.root, [Path("keep/a.png")], everything=False, to=None, dry_run=False, as_json=False)


@pytest.mark.parametrize("name", ["keep", "keep/holiday", "holiday"])
def test_a_folder_is_no_result(worked: Layout, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(worked.root / "keep" if name == "holiday" else worked.root)
    with pytest.raises(UsageError, match=f"{name} is a folder"):
        run_show(worked.root, Path(name), as_json=False)


def test_what_was_moved_or_renamed_by_hand_is_known_by_its_content(
    worked: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    (worked.root / "keep/best").mkdir()
    (worked.root / "keep/a.png").rename(worked.root / "keep/best/renamed.png")
    told = reason(worked, "keep/best/renamed.png")
    assert "dropped from inbox/score/a.png, 6.60" in told
    assert "moved or renamed by hand: the database has it as keep/a.png" in told
    run_show(worked.root, Path("keep/best/renamed.png"), as_json=False)
    assert "the database has it as keep/a.png" in capsys.readouterr().out


def test_a_copy_is_told_from_the_result(worked: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    (worked.root / "reject/copy.png").write_bytes((worked.root / "keep/a.png").read_bytes())
    run_show(worked.root, Path("reject/copy.png"), as_json=False)
    assert "a copy: the result itself is keep/a.png" in capsys.readouterr().out
    with pytest.raises(
        UsageError, match="no result, but a copy of one"
    ) as error:  # the result is not moved for it
        run_verdict(worked.root, Verdict.REJECT, [Path("reject/copy.png")], dry_run=False, as_json=False)
    assert "keep/a.png" in error.value.fix


def test_where_a_result_of_that_name_is_now_is_told(worked: Layout) -> None:
    told = explain(worked, worked.root / "reject/a.png")
    assert (told["state"], told["fix"]) == ("unknown", "results of that name: keep/a.png")


def test_a_bare_name_is_looked_for(worked: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    run_show(worked.root, Path("b.png"), as_json=False)
    assert "keep/holiday/b.png" in capsys.readouterr().out
    picture(worked.inbox(Kind.SCORE) / "b.png", 9)
    daemon(worked, ScriptedExecutor(lambda *_: 6.6)).run(once=True)
    with pytest.raises(UsageError, match=r"several results are called b\.png: keep/b\.png, keep/holiday/b\.png"):
        run_show(worked.root, Path("b.png"), as_json=False)


@pytest.mark.parametrize("name", ["none.png", "keep/none.png", "100%_.png"])
def test_what_was_never_there_is_said_so(worked: Layout, name: str) -> None:
    with pytest.raises(UsageError, match=r"is not in the database of .*: nothing of this path, name or content"):
        run_show(worked.root, Path(name), as_json=False)
    assert reason(worked, name).startswith("unknown: ")


def test_a_command_that_waits_is_known(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(layout.inbox(Kind.SCORE) / "a.png", 1)
    daemon(layout, ScriptedExecutor(lambda *_: DiskFull("full", "free some"))).run(once=True)
    monkeypatch.chdir(layout.root)
    assert "no daemon runs" in reason(layout, "inbox/score/a.png")
    ((drop_id,),) = rows(layout, "SELECT id FROM drops WHERE state = 'open'")
    mailbox.ask(layout, {"do": "cancel", "drops": [drop_id]})
    assert "it is cancelled as soon as a daemon runs" in reason(layout, "inbox/score/a.png")


def test_who_works_the_root_is_asked_once_for_an_answer(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that ends just then is there for all of the answer, or for none of it."""
    file = picture(layout.inbox(Kind.SCORE) / "a.png", 1)
    answers: list[int | None] = [os.getpid()]  # and no second one
    monkeypatch.setattr(why, "holder", lambda _: answers.pop())
    assert "no daemon runs" not in explain(layout, file)["reason"]
    assert answers == []


def test_documents_name_the_root_that_they_are_about(worked: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    show_why(worked.root, Path("keep/a.png"), as_json=True)
    run_show(worked.root, Path("keep/a.png"), as_json=True)
    show_top(worked.root, 5, "score", None, None, as_json=True)
    documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [document["root"] for document in documents] == [str(worked.root)] * 3
    assert {document["schema_version"] for document in documents} == {1}
    assert (documents[0]["file"], documents[1]["path"]) == ("keep/a.png", "keep/a.png")
    assert documents[2]["top"][0]["score"] == 6.6


def test_a_step_is_told_only_where_it_is_surely_of_that_work() -> None:
    """What a daemon told last may be of another device, and of another kind of work."""

    def told(*kinds: str | None) -> str:
        devices = [{"kind": kind, "step": 3, "steps": 8} for kind in kinds]
        snap = snapshot(
            started_at=0.0, now=1.0, watcher="inotify", progress=Progress(1, "upscaling", 1, 2), since=0.0, done=0,
            failed=0, open_jobs=2, unsettled=0, paused=None, unplaced=0, taking=True, left_alone={}, expected=0.0,
            left_seconds=None, devices=devices,
        )  # fmt: skip
        return why._step(snap, "generate")

    assert told("upscale", "generate") == ", step 3 of 8"
    assert told("upscale", None) == ""
    assert told("generate", "generate") == ""
    assert why._step(None, "generate") == ""


def test_what_lies_in_no_inbox_is_told_where_it_should(worked: Layout) -> None:
    """Also by doctor: nothing else would ever speak of it."""
    (worked.root / "inbox/empty").mkdir()
    stray = [picture(worked.root / path) for path in ("inbox/stray.png", "inbox/typo/a.png")]
    for file in stray:
        answer = explain(worked, file)
        assert (answer["state"], answer["reason"]) == ("unknown", "it lies in no inbox")
        assert answer["fix"].startswith("drop it into inbox/generate")
    (check,) = left_alone(worked, loading.load(worked.root, {}))
    assert check.message == "inbox/stray.png, and 1 more: it lies in no inbox, and is never taken"
    for name, target in {"loop": "loop", "away": "/usr"}.items():  # links are not followed
        (worked.root / "inbox" / name).symlink_to(target)
    (check,) = left_alone(worked, loading.load(worked.root, {}))
    assert check.message.startswith("inbox/away, and 3 more: ")
    assert check.fix == "move it into one of inbox/generate, inbox/score, inbox/upscale"
