"""Publishing many at a time: one that cannot be carried out holds back no other; unreadable entries end loudly."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from hotfolder.cli.run import run_daemon
from hotfolder.cli.why import explain
from hotfolder.errors import LedgerError
from hotfolder.files.beneath import Beneath
from hotfolder.folders.layout import Layout
from hotfolder.ledger.ledger import Ledger
from hotfolder.publishing.entries import VERSION, UnreadableEntry, decode, encode
from hotfolder.transitions import Duplicate, Move, NewImage, Retried, Scored, SourceFinished, Transition
from hotfolder.types import ErrorInfo, FailureClass, FileIdentity, Kind, Role, Score
from tests.support.live import wait_for
from tests.support.roots import check_consistent, daemon, files_in, picture, rows
from tests.support.scripted import ScriptedExecutor, always

SCORE = Score(7.0, "s", "w", "p", "float32")
SCORED = Scored(
    drop_id=1, source_file="inbox/score/a.png", job_id=3, sha256="x", score=SCORE,
    new_image=NewImage(Role.DROPPED, "x", 1, 1), image=Move("inbox/score/a.png", "keep/a.png", FileIdentity(5, 6, 7)),
)  # fmt: skip


def interrupted(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """A root with one picture that was journalled, and the daemon died."""

    class Dies(BaseException):
        pass

    def die(*_: object) -> None:
        raise Dies

    picture(layout.inbox(Kind.SCORE) / "a.png", 1)
    with monkeypatch.context() as patch:
        patch.setattr(Beneath, "rename", die)
        with pytest.raises(Dies):
            daemon(layout, ScriptedExecutor(always(7.0))).run(once=True)
    assert rows(layout, "SELECT count(*) FROM journal") == [(1,)]


def write(layout: Layout, sql: str, *values: object) -> None:
    connection = sqlite3.connect(layout.database)
    with connection:
        connection.execute(sql, values)
    connection.close()


def test_an_entry_says_all_of_its_transition() -> None:
    entry = encode(SCORED)
    assert (entry.version, entry.job_id) == (VERSION, 3)
    assert decode(entry.version, entry.text) == SCORED


@pytest.mark.parametrize(
    ("transition", "added"),
    [
        (SCORED, ("gate_keep",)),
        (Retried(drop_id=1, source_file="a", job_ids=(1, 2)), ("action_id", "source")),
        (SourceFinished(drop_id=1, source_file="a", source=Move("a", "b")), ()),
    ],
)
def test_an_entry_of_the_third_version_is_read(transition: Transition, added: tuple[str, ...]) -> None:
    told = json.loads(encode(transition).text)
    for key in added:
        assert told["transition"].pop(key) is None
    assert decode(3, json.dumps(told)) == transition


def test_an_entry_of_the_fourth_version_is_read() -> None:
    note = ErrorInfo("duplicate", FailureClass.BAD_INPUT, "the same picture is keep/a.png already")
    duplicate = Duplicate(drop_id=1, source_file="a", job_id=3, note=note)
    told = json.loads(encode(duplicate).text)
    assert told["transition"].pop("image_id") is None
    assert decode(4, json.dumps(told)) == decode(3, json.dumps(told)) == duplicate
    told["transition"]["image_id"] = 7
    assert decode(VERSION, json.dumps(told)) == replace(duplicate, image_id=7)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "no JSON",
        lambda text: "[]",
        lambda text: text.replace('"Scored"', '"Painted"'),
        lambda text: text.replace('"sha256"', '"sha512"'),
        lambda text: text.replace('"is_drop":false', '"is_drop":false,"colour":1'),
        lambda text: text.replace('"verdict":null', '"judgement":null'),
    ],
)
def test_an_entry_that_says_something_else_is_not_guessed_at(change: object) -> None:
    text = change(encode(SCORED).text)  # type: ignore[operator]
    with pytest.raises(UnreadableEntry):
        decode(VERSION, text)


def test_a_corrupt_entry_fails_its_job_and_the_run_ends(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(layout, monkeypatch)
    write(layout, "UPDATE journal SET entry = substr(entry, 1, 40)")
    report = daemon(layout, ScriptedExecutor(always(7.0))).run(once=True)
    assert (report.done, report.failed, report.paused) == (0, 1, None)
    ((state, kind, message),) = rows(layout, "SELECT state, error_kind, error FROM queue")
    assert (state, kind) == ("failed", "journal")
    assert "cannot be read" in message
    assert rows(layout, "SELECT count(*) FROM journal WHERE unreadable IS NOT NULL") == [(1,)]
    assert files_in(layout, "inbox", "failed") == ["failed/a.png", "failed/a.png.error.json"]
    again = daemon(layout, ScriptedExecutor(always(7.0))).run(once=True)
    assert (again.done, again.failed) == (0, 0)


def test_the_journal_of_a_newer_version_stops_the_start(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(layout, monkeypatch)
    write(layout, "UPDATE journal SET version = ?", VERSION + 1)
    with pytest.raises(LedgerError, match="newer hotfolder") as caught:
        daemon(layout, ScriptedExecutor(always(7.0))).run(once=True)
    assert "start the newer one" in caught.value.fix
    assert files_in(layout, "inbox", "keep") == ["inbox/score/a.png"]
    assert rows(layout, "SELECT state FROM queue") == [("running",)]


def test_one_that_cannot_be_moved_holds_back_no_other(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        picture(layout.inbox(Kind.SCORE) / f"{number}.png", number)
    real = Beneath.rename

    def refuses(beneath: Beneath, src: str, dst: str) -> None:
        if src.endswith("2.png"):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), src, None, dst)
        real(beneath, src, dst)

    with monkeypatch.context() as patch:
        patch.setattr(Beneath, "rename", refuses)
        report = daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
        assert (report.done, report.failed, report.unplaced, report.paused) == (4, 0, 1, None)
        assert files_in(layout, "inbox", "keep") == ["inbox/score/2.png", *(f"keep/{n}.png" for n in (0, 1, 3, 4))]
        answer = explain(layout, Path("inbox/score/2.png"))
        assert answer["state"] == "waiting"
        assert "cannot be moved" in answer["reason"]
    report = daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)  # it can be moved now
    assert (report.done, report.unplaced) == (1, 0)
    assert files_in(layout, "keep") == [f"keep/{n}.png" for n in range(5)]
    check_consistent(layout)


def test_a_daemon_tries_again_by_itself(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(layout.inbox(Kind.SCORE) / "a.png", 1)
    real, tries = Beneath.rename, 0

    def refuses_twice(beneath: Beneath, src: str, dst: str) -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), src, None, dst)
        real(beneath, src, dst)

    monkeypatch.setattr(Beneath, "rename", refuses_twice)
    line = daemon(layout, ScriptedExecutor(always(6.6)))
    thread = threading.Thread(target=line.run)
    thread.start()
    try:
        wait_for((layout.root / "keep/a.png").exists, 60, "it is moved in the end")
    finally:
        line.stop()
        thread.join()
    assert tries == 3
    check_consistent(layout)


def test_a_finished_prompt_file_that_cannot_be_moved_does_not_keep_the_run_from_ending(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    (layout.inbox(Kind.GENERATE) / "p.txt").write_text("a --seed 1\n")
    real = Beneath.rename

    def refuses(beneath: Beneath, src: str, dst: str) -> None:
        if src.endswith("p.txt"):
            raise OSError(errno.EPERM, os.strerror(errno.EPERM), src, None, dst)
        real(beneath, src, dst)

    monkeypatch.setattr(Beneath, "rename", refuses)
    report = daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    assert (report.failed, report.unplaced) == (0, 1)
    assert files_in(layout, "inbox", "keep") == ["inbox/generate/p.txt", "keep/p-s1.png"]


def test_a_picture_with_the_inode_of_another_is_not_moved_for_it(layout: Layout) -> None:
    """After a crash an inode may be another file's: size and time have to be the same, too."""
    path = picture(layout.inbox(Kind.SCORE) / "a.png", 1)
    ledger = Ledger.open(layout.database)
    move = Move("inbox/score/a.png", "archive/a.png", FileIdentity(path.stat().st_ino, 1, 1))
    ledger.journal.record([encode(SourceFinished(drop_id=1, source_file="inbox/score/a.png", source=move))], 1.0)
    ledger.close()
    daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    assert files_in(layout, "archive", "keep") == ["keep/a.png"]


def test_the_command_says_what_waits(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    picture(layout.inbox(Kind.SCORE) / "a.png", 1)

    def refuses(beneath: Beneath, src: str, dst: str) -> None:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), src, None, dst)

    monkeypatch.setattr(Beneath, "rename", refuses)
    monkeypatch.setenv("HOTFOLDER_EXECUTOR__KIND", "inline")
    monkeypatch.setenv("HOTFOLDER_SETTLE__QUIET_SECONDS", "0")
    assert run_daemon(layout.root, once=True) == 3
    assert "1 results wait, because their files cannot be moved" in capsys.readouterr().err


def test_a_result_that_the_ledger_refuses_is_the_only_one_that_is_not_recorded(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when somebody has changed rows by hand: it must not be met at each start again, nor hold back others."""
    for number in range(4):
        picture(layout.inbox(Kind.SCORE) / f"{number}.png", number)
    Ledger.open(layout.database).close()
    write(
        layout,
        "CREATE TRIGGER refuse BEFORE INSERT ON images WHEN NEW.path = 'keep/2.png' "
        "BEGIN SELECT RAISE(ABORT, 'not this one'); END",
    )
    report = daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    assert (report.done, report.failed, report.paused) == (3, 1, None)
    assert files_in(layout, "inbox", "keep") == [f"keep/{n}.png" for n in range(4)]
    assert len(rows(layout, "SELECT path FROM results")) == 3
    ((state, message),) = rows(layout, "SELECT state, error FROM queue WHERE state != 'done'")
    assert state == "failed"
    assert "keep/2.png is in its place, but cannot be recorded" in message
    assert "not this one" in message
    again = daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    assert (again.done, again.failed, again.paused) == (0, 0, None)
