"""A person keeps, rejects, takes back and has put back: carried out here, as where no daemon runs."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from hotfolder.cli.queue import run_reroute
from hotfolder.cli.restore import run_restore
from hotfolder.cli.retry import run_retry
from hotfolder.cli.show import run_show
from hotfolder.cli.verdicts import run_undo, run_verdict
from hotfolder.cli.why import explain
from hotfolder.daemon.loop import Daemon
from hotfolder.errors import DiskFull, ExitCode, HotfolderError, UsageError
from hotfolder.executors.stand_in import StandInExecutor
from hotfolder.folders.layout import Layout
from hotfolder.status import mailbox
from hotfolder.types import Item, Kind, Verdict
from tests.faults.disks import working
from tests.support.live import wait_for
from tests.support.roots import check_consistent, daemon, files_in, picture, rows
from tests.support.scripted import ScriptedExecutor, always

SCORES = {"a": 4.0, "b": 6.0, "c": 6.6, "d": 6.9}


def work(layout: Layout, executor: ScriptedExecutor | None = None) -> None:
    daemon(layout, executor or ScriptedExecutor(always(6.6)), WATCH__MODE="polling").run(once=True)


@pytest.fixture
def judged(layout: Layout) -> Layout:
    """Two that were rejected, a and b, and two that were kept, c and d."""
    for number, name in enumerate(SCORES):
        picture(layout.inbox(Kind.SCORE) / f"sub/{name}.png", number)
    work(layout, ScriptedExecutor(lambda _, item: SCORES[str(item.source)[-5]]))
    assert sorted_into(layout) == "ab cd"
    return layout


def sorted_into(layout: Layout) -> str:
    return " ".join(
        "".join(path[-5] for path in files_in(layout, folder)) for folder in ("reject/sub", "keep/sub")
    )


class Hand:
    """Commands as a person gives them; each gives the exit code and the JSON document."""

    def __init__(self, layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
        self.root = layout.root
        self._capsys = capsys

    def keep(self, *files: str, dry_run: bool = False) -> tuple[ExitCode, Any]:
        return self._give(Verdict.KEEP, files, dry_run)

    def reject(self, *files: str, dry_run: bool = False) -> tuple[ExitCode, Any]:
        return self._give(Verdict.REJECT, files, dry_run)

    def _give(self, verdict: Verdict, files: tuple[str, ...], dry_run: bool) -> tuple[ExitCode, Any]:
        paths = [Path(file) for file in files]
        return run_verdict(self.root, verdict, paths, dry_run=dry_run, as_json=True), self.told()

    def undo(self, count: int = 1) -> tuple[ExitCode, Any]:
        return run_undo(self.root, count, dry_run=False, as_json=True), self.told()["undone"]

    def restore(self, *files: str, to: Path | None = None) -> tuple[ExitCode, Any]:
        paths = [Path(file) for file in files]
        code = run_restore(self.root, paths, to, everything=not files, dry_run=False, as_json=True)
        return code, self.told()["files"]

    def told(self) -> Any:
        return json.loads(self._capsys.readouterr().out)


@pytest.fixture
def hand(layout: Layout, capsys: pytest.CaptureFixture[str]) -> Hand:
    return Hand(layout, capsys)


def obeyed(layout: Layout, **command: Any) -> None:
    """A command that waits in the mailbox is carried out."""
    mailbox.ask(layout, command)
    daemon(layout, ScriptedExecutor(always(6.6))).obey()


# --- keep, reject ---------------------------------------------------------------------------------


def test_keep_and_reject_move_the_file_and_say_who_said_so(judged: Layout, hand: Hand) -> None:
    (judged.root / "reject/sub/a.png.xmp").write_text("<mine/>")
    code, told = hand.keep("reject/sub/a.png", "keep/sub/d.png")
    assert (code, told["waits"]) == (ExitCode.DONE, False)
    assert told["files"] == [
        {"file": "reject/sub/a.png", "path": "keep/sub/a.png"},
        {"file": "keep/sub/d.png", "path": "keep/sub/d.png"},
    ]
    assert files_in(judged, "keep/sub") == [
        f"keep/sub/{name}" for name in ("a.png", "a.png.xmp", "c.png", "d.png")
    ]
    assert (judged.root / "keep/sub/a.png.xmp").read_text() == "<mine/>"
    assert rows(judged, "SELECT path, verdict, by, how, score, gate_keep FROM verdicts WHERE by = 'person'") == [
        ("keep/sub/a.png", "keep", "person", "command", 4.0, 6.5),
        ("keep/sub/d.png", "keep", "person", "command", 6.9, 6.5),
    ]
    assert "keep by you" in explain(judged, judged.root / "keep/sub/a.png")["reason"]
    run_show(judged.root, judged.root / "keep/sub/a.png", as_json=True)
    shown = hand.told()
    assert (shown["verdict"], shown["verdict_by"]) == ("keep", "person")
    assert [each["given_by"] for each in shown["verdicts"]] == ["gate", "person"]


def test_why_knows_where_it_went_from_the_place_that_the_gate_gave_it(judged: Layout, hand: Hand) -> None:
    hand.reject("keep/sub/d.png")
    assert explain(judged, judged.root / "keep/sub/d.png")["reason"] == "it is reject/sub/d.png now"


def test_a_dry_run_does_nothing(judged: Layout, hand: Hand) -> None:
    _, told = hand.reject("keep/sub/c.png", "reject/sub/a.png", dry_run=True)
    assert told["files"] == [
        {"file": "keep/sub/c.png", "path": "reject/sub/c.png"},
        {"file": "reject/sub/a.png", "path": "reject/sub/a.png"},
    ]
    assert sorted_into(judged) == "ab cd"
    assert rows(judged, "SELECT count(*) FROM actions") == [(0,)]


def test_what_waits_is_not_done_to_be_undone(judged: Layout, hand: Hand) -> None:
    hand.reject("keep/sub/c.png")
    command = mailbox.ask(judged, {"do": "reroute", "keep": 8.0})
    with pytest.raises(UsageError, match="reroute --keep 8 waits for a daemon") as error:
        hand.undo()
    assert "hotfolder withdraw" in error.value.fix
    assert mailbox.withdraw(command)
    assert hand.undo()[1][0]["created_at"].endswith("Z")
    assert sorted_into(judged) == "ab cd"


def test_a_command_that_is_told_to_have_failed_is_not_done_later(
    judged: Layout, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Daemon) -> None:
        raise DiskFull("the disk is full", "make space")

    with monkeypatch.context() as patch:
        patch.setattr(Daemon, "obey", full)
        with pytest.raises(DiskFull):
            hand.reject("keep/sub/c.png")
    assert list(mailbox.waiting(judged)) == []


def test_what_cannot_be_kept_is_said_and_the_others_are(judged: Layout, hand: Hand) -> None:
    with pytest.raises(UsageError, match="not in the database"):
        hand.keep("keep/sub/never.png", "reject/sub/a.png")
    (judged.root / "reject/sub/b.png").unlink()
    code, told = hand.keep("reject/sub/a.png", "reject/sub/b.png")
    assert code == ExitCode.PARTLY_FAILED
    assert {each["file"]: each.get("path") for each in told["files"]} == {
        "reject/sub/a.png": "keep/sub/a.png", "reject/sub/b.png": None,
    }  # fmt: skip
    assert "gone" in next(each["error"] for each in told["files"] if "error" in each)


def test_an_image_that_was_renamed_by_hand_is_found_where_it_is(judged: Layout, hand: Hand) -> None:
    (judged.root / "keep/sub/c.png").rename(judged.root / "keep/better.png")
    _, told = hand.reject("keep/better.png")
    assert told["files"] == [{"file": "keep/better.png", "path": "reject/better.png"}]
    (judged.root / "reject/better.png").rename(judged.root / "reject/sub/c2.png")
    _, undone = hand.undo()
    assert undone[0]["files"] == [{"file": "reject/sub/c2.png", "path": "keep/sub/c2.png"}]
    check_consistent(judged)


def test_a_name_that_is_taken_gets_a_number(judged: Layout, hand: Hand) -> None:
    theirs = picture(judged.root / "keep/sub/a.png", 99).read_bytes()
    _, told = hand.keep("reject/sub/a.png")
    assert told["files"][0]["path"] == "keep/sub/a-1.png"
    assert (judged.root / "keep/sub/a.png").read_bytes() == theirs


def test_no_link_is_followed_to_where_it_leads(judged: Layout, hand: Hand, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (judged.root / "reject/sub").rename(tmp_path / "away")
    (judged.root / "reject/sub").symlink_to(elsewhere)
    _, told = hand.reject("keep/sub/c.png")
    assert told["files"][0]["path"] == "reject/sub-1/c.png"
    picture(elsewhere / "a.png", 0)  # the same picture as a, which is gone
    code, told = hand.keep("reject/sub/a.png")
    assert (code, "gone" in told["files"][0]["error"]) == (ExitCode.PARTLY_FAILED, True)
    assert [path.name for path in elsewhere.iterdir()] == ["a.png"]


def test_enlarged_ones_are_kept_in_upscaled(layout: Layout, hand: Hand) -> None:
    picture(layout.inbox(Kind.UPSCALE) / "a.png")
    work(layout)
    _, told = hand.reject("upscaled/a_4x.png")
    assert told["files"][0]["path"] == "reject/a_4x.png"
    _, told = hand.keep("reject/a_4x.png", "archive/a.png")
    assert sorted(each["path"] for each in told["files"]) == ["keep/a.png", "upscaled/a_4x.png"]
    assert rows(layout, "SELECT parent_path FROM results WHERE role = 'upscaled'") == [("keep/a.png",)]


# --- reroute ---------------------------------------------------------------------------------------


def test_a_reroute_leaves_what_a_person_said_unless_asked(judged: Layout, hand: Hand) -> None:
    hand.keep("reject/sub/a.png")
    run_reroute(judged.root, 7.0, undo=False, also_mine=False, dry_run=True, as_json=True)
    assert hand.told()["to_reject"] == 2
    obeyed(judged, do="reroute", keep=7.0)
    assert sorted_into(judged) == "bcd a"
    obeyed(judged, do="reroute", keep=7.0, also_mine=True)
    assert sorted_into(judged) == "abcd "
    _, undone = hand.undo(2)
    assert [(each["action"], len(each["files"])) for each in undone] == [("reroute", 1), ("reroute", 2)]
    assert sorted_into(judged) == "b acd"
    assert rows(judged, "SELECT verdict_by FROM images WHERE path = 'keep/sub/a.png'") == [("person",)]


def test_a_rescore_and_another_gate_move_nothing(judged: Layout, hand: Hand) -> None:
    hand.keep("reject/sub/a.png")
    connection = sqlite3.connect(judged.database)
    with connection:
        connection.execute(
            "INSERT INTO scores (image_id, score, scorer, weights_sha256, preprocessing, precision, created_at) "
            "SELECT id, 1.5, 'other', 'w', 'p', 'float32', 1 FROM images"
        )
    connection.close()
    daemon(judged, ScriptedExecutor(always(6.6)), WATCH__MODE="polling", GATE__KEEP="9", GATE__UPSCALE="9").run(
        once=True
    )
    assert sorted_into(judged) == "b acd"


# --- undo ------------------------------------------------------------------------------------------


def test_undo_takes_back_whole_actions_the_last_one_first(judged: Layout, hand: Hand) -> None:
    hand.keep("reject/sub/a.png", "reject/sub/b.png")
    hand.reject("keep/sub/c.png")
    assert sorted_into(judged) == "c abd"
    _, undone = hand.undo()
    assert (undone[0]["action"], undone[0]["files"]) == (
        "reject", [{"file": "reject/sub/c.png", "path": "keep/sub/c.png"}],
    )  # fmt: skip
    _, undone = hand.undo(5)
    assert [each["action"] for each in undone] == ["keep"]
    assert sorted_into(judged) == "ab cd"
    assert rows(judged, "SELECT count(*) FROM verdicts WHERE by = 'person'") == [(0,)]
    assert rows(judged, "SELECT DISTINCT verdict_by FROM images") == [("gate",)]
    assert rows(judged, "SELECT count(*) FROM verdict_history WHERE undone_at IS NOT NULL") == [(3,)]
    with pytest.raises(UsageError, match="nothing to undo"):
        hand.undo()
    check_consistent(judged)


def test_what_was_said_since_is_not_overruled_by_undo(judged: Layout, hand: Hand) -> None:
    hand.keep("reject/sub/a.png", "reject/sub/b.png")
    (judged.root / "keep/sub/a.png").rename(judged.root / "reject/sub/a.png")  # by hand
    code, undone = hand.undo()
    assert code == ExitCode.PARTLY_FAILED
    assert sorted(each.get("error", "") for each in undone[0]["files"]) == [
        "",
        "something else was said of it since",
    ]
    assert sorted_into(judged) == "ab cd"
    assert rows(judged, "SELECT verdict, verdict_by FROM images WHERE path LIKE '%/a.png'") == [
        ("reject", "person")
    ]


def test_what_did_nothing_is_nothing_to_undo(judged: Layout, hand: Hand) -> None:
    hand.keep("reject/sub/a.png")
    obeyed(judged, do="reroute", keep=6.5)
    (judged.root / "reject/sub/b.png").unlink()
    hand.keep("reject/sub/b.png")
    _, undone = hand.undo()
    assert [each["files"] for each in undone] == [[{"file": "keep/sub/a.png", "path": "reject/sub/a.png"}]]


def test_a_command_that_is_carried_out_again_after_a_crash_is_the_same_action(judged: Layout) -> None:
    for do in ({"do": "verdict", "verdict": "keep", "images": [1, 2, 3, 4]}, {"do": "undo", "last": 1}):
        path = mailbox.ask(judged, do)
        text = path.read_text()
        for _ in range(2):
            path.write_text(text)  # the answer was written, the command not yet removed
            daemon(judged, ScriptedExecutor(always(6.6))).obey()
    assert sorted_into(judged) == "ab cd"
    assert rows(judged, "SELECT kind, undone_at IS NOT NULL FROM actions") == [("keep", 1)]
    assert rows(judged, "SELECT count(*) FROM verdict_history WHERE action_id IS NOT NULL") == [(4,)]


def test_commands_that_are_not_understood_are_answered(judged: Layout) -> None:
    for command in (
        {"do": "verdict", "verdict": "maybe", "images": [1]},
        {"do": "verdict", "verdict": "keep", "how": "telepathy", "images": [1]},
        {"do": "undo", "last": "all"},
        {"do": "undo", "last": -1},
    ):
        path = mailbox.ask(judged, command)
        daemon(judged, ScriptedExecutor(always(6.6))).obey()
        answer = mailbox.answer_to(path, 0)
        assert answer is not None and "error" in answer, command
    path = mailbox.ask(judged, {"do": "verdict", "verdict": "keep", "images": [99, 2**62]})
    daemon(judged, ScriptedExecutor(always(6.6))).obey()
    assert [each["error"] for each in (mailbox.answer_to(path, 0) or {})["files"]] == ["it is not known"] * 2
    assert sorted_into(judged) == "ab cd"


def test_an_undone_retry_has_failed_as_before(
    layout: Layout, hand: Hand, capsys: pytest.CaptureFixture[str]
) -> None:
    (layout.inbox(Kind.SCORE) / "bad.png").write_bytes(b"no picture")
    (layout.inbox(Kind.GENERATE) / "p.txt").write_text("a --seed 1\nb --seed 2\n")

    def script(kind: Kind, item: Item) -> float | HotfolderError:
        return HotfolderError("no luck", "try again") if kind is Kind.GENERATE else 6.6

    work(layout, ScriptedExecutor(script))
    before = files_in(layout, "failed"), rows(layout, "SELECT kind, state, attempt, error FROM queue")
    reports = {path: told(layout, path) for path in before[0] if path.endswith(".json")}
    assert len(before[0]) == 4
    run_retry(layout.root, [], everything=True, as_json=True)
    capsys.readouterr()
    layout.hold.write_text('{"until": null}')  # nothing is begun
    daemon(layout, ScriptedExecutor(always(6.6))).obey()
    assert files_in(layout, "failed") == []
    code, undone = hand.undo()
    assert (code, undone[0]["action"], len(undone[0]["files"])) == (ExitCode.DONE, "retry", 3)
    assert (files_in(layout, "failed"), rows(layout, "SELECT kind, state, attempt, error FROM queue")) == before
    assert {path: told(layout, path) for path in reports} == reports
    assert files_in(layout, "inbox") == []


def test_retry_all_leaves_what_was_restored(
    layout: Layout, hand: Hand, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("bad", "worse"):
        (layout.inbox(Kind.SCORE) / f"{name}.png").write_bytes(f"{name}: no picture".encode())
    work(layout, ScriptedExecutor(always(6.6)))
    before = files_in(layout, "failed")
    code, _ = hand.restore(str(layout.root / "failed/bad.png"))
    assert code == ExitCode.DONE
    assert "failed/bad.png" not in files_in(layout, "failed")
    assert "failed/bad.png" in before
    capsys.readouterr()
    run_retry(layout.root, [], everything=True, as_json=True)
    assert json.loads(capsys.readouterr().out)["jobs"] == 1


def told(layout: Layout, path: str) -> dict[str, Any]:
    return {**json.loads((layout.root / path).read_bytes()), "failed_at": None}


def test_a_retry_that_was_done_is_not_undone(layout: Layout, hand: Hand) -> None:
    picture(layout.inbox(Kind.SCORE) / "a.png")
    work(layout, ScriptedExecutor(lambda *_: HotfolderError("no luck")))
    run_retry(layout.root, [], everything=True, as_json=True)
    hand.told()
    work(layout)
    code, undone = hand.undo()
    assert (code, undone[0]["files"][0]["error"]) == (ExitCode.PARTLY_FAILED, "it was done since")
    assert files_in(layout, "keep", "failed") == ["keep/a.png"]


# --- restore ---------------------------------------------------------------------------------------


def facts(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    """Content, time and mode of each file below."""
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_mode)
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def photographs(layout: Layout) -> dict[str, tuple[bytes, int, int]]:
    """A photographer's folder, which was dropped and worked: kept, rejected, enlarged, failed; with companions."""
    inbox = layout.inbox(Kind.SCORE)
    for number, name in enumerate(("trip/a.png", "trip/day 1/bad.png", "trip/day 1/c.png", "trip/great.png")):
        path = picture(inbox / name, number)
        os.utime(path, ns=(10**18 + number, 10**18 + 1000 * number + 1))
        path.chmod(0o640 + number % 2)
    (inbox / "trip/a.xmp").write_text("<mine/>")
    (inbox / "trip/day 1/bad.png.txt").write_text("a caption")
    (inbox / "trip/broken.png").write_bytes(b"no picture")
    before = facts(inbox)
    scores = {"bad.png": 3.0, "great.png": 7.5}
    work(layout, ScriptedExecutor(lambda _, item: scores.get(Path(str(item.source)).name, 6.6)))
    assert files_in(layout, "inbox") == []
    return before


def test_a_folder_that_was_dropped_comes_back_as_it_was(
    layout: Layout, photographs: dict[str, tuple[bytes, int, int]], hand: Hand
) -> None:
    outcome = files_in(layout, "keep", "reject", "upscaled", "failed")
    code, told = hand.restore()
    assert (code, len(told)) == (ExitCode.DONE, 5)
    assert facts(layout.inbox(Kind.SCORE)) == photographs
    assert files_in(layout, "keep", "reject", "failed") == []
    assert files_in(layout, "upscaled") == ["upscaled/trip/great_4x.png"]
    executor = ScriptedExecutor(always(6.6))
    work(layout, executor)
    work(layout, executor)
    assert executor.batches == []  # nothing of it is worked again
    assert facts(layout.inbox(Kind.SCORE)) == photographs
    assert "put back" in explain(layout, layout.root / "inbox/score/trip/a.png")["reason"]
    assert rows(layout, "SELECT count(*) FROM results WHERE path LIKE 'inbox/score/trip/%'") == [(4,)]
    _, undone = hand.undo()
    assert (undone[0]["action"], len(undone[0]["files"])) == ("restore", 5)
    assert files_in(layout, "keep", "reject", "upscaled", "failed") == outcome
    work(layout, executor)
    assert executor.batches == []
    assert files_in(layout, "inbox") == []


def test_what_was_put_back_and_changed_or_dropped_anew_is_worked(
    layout: Layout, photographs: dict[str, tuple[bytes, int, int]], hand: Hand
) -> None:
    code, _ = hand.restore("keep/trip/a.png", "keep/trip/day 1/c.png")
    assert code == ExitCode.DONE
    inbox = layout.inbox(Kind.SCORE)
    os.utime(inbox / "trip/a.png")
    away = (inbox / "trip/day 1/c.png").rename(layout.root.parent / "c.png")
    work(layout)
    assert (layout.root / "keep/trip/a.png").exists()
    away.rename(inbox / "c.png")
    work(layout)
    assert files_in(layout, "inbox") == []
    assert (layout.root / "keep/c.png").exists()
    code, undone = hand.undo()
    assert code == ExitCode.PARTLY_FAILED
    assert all("since" in each["error"] for each in undone[0]["files"])
    paths = rows(layout, "SELECT path, count(*) FROM results WHERE path IS NOT NULL GROUP BY path")
    assert all(count == 1 and (layout.root / path).exists() for path, count in paths)


def test_restore_elsewhere_copies(
    layout: Layout, photographs: dict[str, tuple[bytes, int, int]], hand: Hand, tmp_path: Path
) -> None:
    before = files_in(layout, "keep", "reject", "upscaled", "failed")
    code, told = hand.restore(to=tmp_path / "pictures")
    assert (code, len(told)) == (ExitCode.DONE, 7)
    assert facts(tmp_path / "pictures") == photographs
    assert files_in(layout, "keep", "reject", "upscaled", "failed") == before
    code, _ = hand.restore(to=tmp_path / "pictures")  # again: what is there is not touched
    assert code == ExitCode.DONE
    (tmp_path / "pictures/trip/a.png").write_bytes(b"another")
    code, told = hand.restore(to=tmp_path / "pictures")
    assert code == ExitCode.PARTLY_FAILED
    assert next(each["error"] for each in told if "error" in each).endswith("another file")
    assert (tmp_path / "pictures/trip/a.png").read_bytes() == b"another"
    with pytest.raises(UsageError, match="below the root"):
        hand.restore(to=layout.root / "keep/mine")


def test_only_what_was_dropped_can_be_put_back(layout: Layout, hand: Hand) -> None:
    (layout.inbox(Kind.GENERATE) / "p.txt").write_text("a --seed 1")
    work(layout)
    with pytest.raises(UsageError, match="made here"):
        hand.restore("keep/p-s1.png")
    assert hand.restore() == (ExitCode.DONE, [])  # prompts only when they are named
    code, told = hand.restore("archive/p.txt")
    assert (code, told) == (ExitCode.DONE, [{"file": "archive/p.txt", "path": "inbox/generate/p.txt"}])
    executor = ScriptedExecutor(always(6.6))
    work(layout, executor)
    assert executor.batches == []
    with pytest.raises(UsageError, match="put back already"):
        hand.restore("inbox/generate/p.txt")


def test_what_is_no_result_any_more_has_no_stars_of_ours(layout: Layout, hand: Hand) -> None:
    picture(layout.inbox(Kind.SCORE) / "a.png")
    daemon(layout, ScriptedExecutor(always(6.6)), OUTPUT__RATING="sidecar", WATCH__MODE="polling").run(once=True)
    assert files_in(layout, "keep") == ["keep/a.png", "keep/a.png.xmp"]
    hand.restore("keep/a.png")
    assert files_in(layout, "keep", "inbox") == ["inbox/score/a.png"]


def test_a_stand_in_is_given_no_work(layout: Layout, hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no daemon runs, only the command is carried out."""
    picture(layout.inbox(Kind.SCORE) / "a.png")
    work(layout)
    picture(layout.inbox(Kind.SCORE) / "new.png", 1)
    monkeypatch.setattr(StandInExecutor, "submit", lambda *_: pytest.fail("it is given work"))
    hand.reject("keep/a.png")
    assert files_in(layout, "inbox", "keep", "reject") == ["inbox/score/new.png", "reject/a.png"]


def test_a_running_daemon_notices_and_carries_out(judged: Layout, hand: Hand) -> None:
    with working(daemon(judged, ScriptedExecutor(always(9.9)), WATCH__RESCAN_SECONDS="0.1")):
        wait_for(judged.live_status.exists, 20, "it runs")
        (judged.root / "keep/sub/d.png").rename(judged.root / "reject/sub/d.png")
        wait_for(lambda: "d" in by_person(judged), 20, "the move is noticed")
        code, told = hand.keep("reject/sub/a.png")
        assert (code, told["waits"], told["files"][0]["path"]) == (ExitCode.DONE, False, "keep/sub/a.png")
        _, undone = hand.undo()
        assert undone[0]["files"] == [{"file": "keep/sub/a.png", "path": "reject/sub/a.png"}]
        hand.keep("reject/sub/a.png", "reject/sub/b.png")
        (judged.root / "keep/sub/b.png").rename(judged.root / "reject/sub/b.png")  # not noticed yet
        code, undone = hand.undo()
        assert code == ExitCode.PARTLY_FAILED
        assert [each.get("error") for each in undone[0]["files"]].count("something else was said of it since") == 1
        _, told = hand.restore("keep/sub/c.png")
        assert told == [{"file": "keep/sub/c.png", "path": "inbox/score/sub/c.png"}]
        time.sleep(0.5)  # several scans of the inbox
    assert sorted_into(judged) == "abd "
    assert files_in(judged, "inbox") == ["inbox/score/sub/c.png"]


def by_person(layout: Layout) -> str:
    """The images that a person has judged."""
    return "".join(path[-5] for (path,) in rows(layout, "SELECT path FROM verdicts WHERE by = 'person'"))
