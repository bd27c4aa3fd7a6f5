"""What a person cancels is not begun, and nothing follows from it; what was made of it lies where it belongs."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hotfolder.cli.why import explain
from hotfolder.folders.layout import Layout
from hotfolder.ledger.drops import Taken
from hotfolder.ledger.ledger import Ledger
from hotfolder.publishing.entries import encode
from hotfolder.status import mailbox
from hotfolder.transitions import Move, NewImage, Scored
from hotfolder.types import (
    ErrorInfo,
    FailureClass,
    ImageRole,
    Item,
    Kind,
    NewJob,
    Role,
    Score,
    ScoreParams,
    Sighting,
    UpscaleParams,
    Verdict,
)
from tests.support.roots import check_consistent, daemon, files_in, picture, rows
from tests.support.scripted import ScriptedExecutor

pytestmark = pytest.mark.usefixtures("heard_at_once")  # what is cancelled in the middle is not begun any more
CANCELLED_BY_YOU = ErrorInfo("cancelled", FailureClass.BAD_INPUT, "cancelled by you")
CANCELLED = "SELECT count(*) FROM jobs WHERE error_kind = 'cancelled'"


class Cancelling:
    """A script that has something cancelled when the n-th job of a kind begins, and notes what begins afterwards."""

    def __init__(self, layout: Layout, kind: Kind, at: int, score: float, **command: Any) -> None:
        self.late: list[tuple[Kind, Item]] = []
        self._layout, self._kind, self._left, self._score = layout, kind, at, score
        self._command: Mapping[str, Any] = {"do": "cancel", **(command or {"all": True})}

    def __call__(self, kind: Kind, item: Item) -> float:
        if self._left > 0 and kind is self._kind:
            self._left -= 1
            if self._left == 0:
                mailbox.ask(self._layout, self._command)
        if self._left == 0 and rows(self._layout, CANCELLED) != [(0,)]:
            self.late.append((kind, item))
        return self._score


def prompts(layout: Layout, text: str) -> None:
    (layout.inbox(Kind.GENERATE) / "p.txt").write_text(text)


def test_everything_is_cancelled_in_the_middle_of_a_hundred_prompts(layout: Layout) -> None:
    prompts(layout, "\n".join(f"a cat --seed {n}" for n in range(100)))
    script = Cancelling(layout, Kind.GENERATE, 30, 2.0)  # each would be tried again
    report = daemon(layout, ScriptedExecutor(script)).run(once=True)
    assert script.late == []
    assert report.failed == 0
    drawn = rows(layout, "SELECT count(*) FROM images")[0][0]
    judged = rows(layout, "SELECT count(*) FROM images WHERE score IS NOT NULL")[0][0]
    assert 30 <= drawn < 100
    assert len(files_in(layout, "reject")) == judged
    archived = files_in(layout, "archive")
    assert len(archived) == drawn - judged + 1 and "archive/p.txt" in archived
    assert files_in(layout, "inbox", "keep", "failed", ".hotfolder/unscored") == []
    check_consistent(layout)
    for path in archived:
        told = explain(layout, layout.root / path)
        assert told["state"] == "cancelled", told
        assert "cancelled by you" in told["reason"] and told["fix"]
    assert explain(layout, layout.root / "inbox/generate/p.txt")["state"] == "cancelled"
    again = ScriptedExecutor(script)
    daemon(layout, again).run(once=True)
    assert again.batches == []


def test_what_is_drawn_and_waits_for_its_score_goes_where_its_prompts_go(layout: Layout) -> None:
    folder = layout.inbox(Kind.GENERATE) / "cats"
    folder.mkdir()
    (folder / "p.txt").write_text("a cat --seed 1 --count 4")
    script = Cancelling(layout, Kind.SCORE, 1, 8.0)
    daemon(layout, ScriptedExecutor(script), GENERATE__BATCH_SIZE="4", SCORE__BATCH_SIZE="1").run(once=True)
    assert script.late == []
    images = [Path(path) for path in files_in(layout, "archive", "keep") if path.endswith(".png")]
    assert sorted(path.name for path in images) == [f"p-s{n}.png" for n in (1, 2, 3, 4)]
    assert [path.parts[0] for path in images] == ["archive"] * 3 + ["keep"]  # which was scored first is chance
    assert files_in(layout, "upscaled") == []
    check_consistent(layout)


def test_a_crash_after_it_was_cancelled_leaves_no_image_hidden(layout: Layout) -> None:
    prompts(layout, "a cat --seed 1 --count 2")
    executor = ScriptedExecutor(lambda *_: 6.6)
    line = daemon(layout, executor)

    def script(kind: Kind, item: Item) -> float:
        if kind is Kind.SCORE:
            line.stop()
        return 6.6

    executor.script = script
    line.run()
    with closing(sqlite3.connect(layout.database)) as database, database:
        hidden = database.execute("SELECT count(*) FROM images WHERE path LIKE '.hotfolder/unscored/%'").fetchone()
        changed = (
            "UPDATE jobs SET state = 'cancelled', error_kind = 'cancelled' WHERE state IN ('queued', 'running')"
        )
        database.execute(changed)
    executor = ScriptedExecutor(lambda *_: 6.6)
    daemon(layout, executor).run(once=True)
    assert executor.batches == []
    assert len([path for path in files_in(layout, "archive") if path.endswith(".png")]) == hidden[0]
    check_consistent(layout)


def test_an_enlargement_that_waits_is_cancelled_and_its_image_stays(layout: Layout) -> None:
    for number in range(9):
        picture(layout.inbox(Kind.SCORE) / f"{number}.png", number)
    script = Cancelling(layout, Kind.UPSCALE, 1, 8.0)
    daemon(layout, ScriptedExecutor(script)).run(once=True)
    assert script.late == []
    assert files_in(layout, "keep") == [f"keep/{n}.png" for n in range(9)]
    assert len(files_in(layout, "upscaled")) <= 4  # those of the batch in work
    told = explain(layout, layout.root / "keep/8.png")
    assert (told["state"], "enlarging it cancelled by you" in told["reason"]) == ("cancelled", True)
    assert explain(layout, layout.root / "inbox/score/8.png")["state"] == "cancelled"
    check_consistent(layout)
    # Asked for again, it is not told as cancelled any more: neither while it waits, nor when it is done.
    ((image_id,),) = rows(layout, "SELECT image_id FROM results WHERE path = 'keep/8.png'")
    mailbox.ask(layout, {"do": "enlarge", "images": [image_id], "scales": [None]})
    daemon(layout, ScriptedExecutor(script)).obey()
    assert explain(layout, layout.root / "keep/8.png")["state"] == "done"
    daemon(layout, ScriptedExecutor(script)).run(once=True)
    assert "upscaled/8_4x.png" in files_in(layout, "upscaled")
    assert explain(layout, layout.root / "keep/8.png")["state"] == "done"


def test_one_job_about_an_image_is_cancelled(layout: Layout) -> None:
    for number in range(6):
        picture(layout.inbox(Kind.SCORE) / f"{number}.png", number)
    asked = False

    def script(kind: Kind, _: Item) -> float:
        nonlocal asked
        if kind is Kind.UPSCALE and not asked:
            asked = True
            (job,) = rows(layout, "SELECT id FROM jobs WHERE source = 'keep/5.png' AND kind = 'upscale'")[0]
            mailbox.ask(layout, {"do": "cancel", "jobs": [job]})
        return 8.0

    daemon(layout, ScriptedExecutor(script)).run(once=True)
    assert files_in(layout, "upscaled") == [f"upscaled/{n}_4x.png" for n in range(5)]
    check_consistent(layout)


def test_the_best_of_what_was_judged_before_are_kept_and_not_enlarged(layout: Layout) -> None:
    prompts(layout, "a cat --seed 1 --best-of 12 --upscale")
    script = Cancelling(layout, Kind.SCORE, 3, 8.0)
    few = {"GENERATE__BATCH_SIZE": "4", "SCORE__BATCH_SIZE": "4", "EXECUTOR__FAIRNESS_SECONDS": "0"}
    daemon(layout, ScriptedExecutor(script), **few).run(once=True)
    assert script.late == []
    judged = rows(layout, "SELECT count(*) FROM images WHERE score IS NOT NULL")[0][0]
    assert 0 < judged < 12
    assert len(files_in(layout, "keep")) == 1
    assert len(files_in(layout, "keep", "reject")) == judged
    assert files_in(layout, "upscaled") == []
    check_consistent(layout)


def test_a_line_is_cancelled_with_all_that_comes_of_it(layout: Layout) -> None:
    prompts(layout, "a --seed 1 --count 4\nb --seed 1 --count 4")

    def work(kind: Kind, item: Item) -> float:
        if kind is Kind.UPSCALE and not asked:
            asked.append(True)
            (drop_id,) = rows(layout, "SELECT id FROM drops")[0]
            mailbox.ask(layout, {"do": "cancel", "drops": [drop_id], "line": 2})
        elif asked and rows(layout, CANCELLED) != [(0,)]:
            late.append(str(item.source) + json.dumps(dict(item.params)))
        return 8.0

    asked: list[bool] = []
    late: list[str] = []
    settings = {"GENERATE__BATCH_SIZE": "8", "SCORE__BATCH_SIZE": "8"}
    daemon(layout, ScriptedExecutor(work), **settings).run(once=True)
    assert late, "the other line goes on"
    assert [each for each in late if "L2" in Path(each.partition("{")[0]).name] == []
    assert len([path for path in files_in(layout, "upscaled") if "L1" in path]) == 4
    check_consistent(layout)


def test_from_a_result_that_waits_for_its_place_nothing_follows(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "ledger.db")
    seen = Sighting("inbox/score/a.png", 1, 1, 1, 1)
    asked = NewJob(Kind.SCORE, "scripted", ScoreParams(), source=seen.path)
    (drop_id,) = ledger.drops.add([Taken(Kind.SCORE, seen, 0.0, [asked])], 0.0)
    (job,) = ledger.jobs.claim(ledger.jobs.runnable(1.0, (Kind.SCORE, "scripted")), 1.0)
    scored = Scored(
        drop_id=drop_id, source_file=seen.path, job_id=job.id, sha256="0" * 64,
        score=Score(8.0, "scripted", "0" * 64, "none", "float64"), verdict=Verdict.KEEP, is_drop=True,
        new_image=NewImage(Role.DROPPED, "0" * 64, 8, 8), image=Move(seen.path, "keep/a.png"),
        next_jobs=(NewJob(Kind.UPSCALE, "x4", UpscaleParams(), about=ImageRole.IMAGE),),
    )  # fmt: skip
    (entry,) = ledger.journal.record([encode(scored)], 2.0)
    assert ledger.drops.cancel(drop_id, CANCELLED_BY_YOU, 3.0) == []  # its file is on the way
    ledger.jobs.note(job.id, ErrorInfo("cannot_place", FailureClass.ENVIRONMENT, "no"))
    ledger.journal.apply([(entry, scored)], [], 4.0)
    assert ledger.jobs.open_count() == 0
    ledger.close()
