"""What goes first: by its inbox, by its prompt, because a person asks for it. Nobody waits for ever."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from hotfolder.daemon import outbox
from hotfolder.errors import HotfolderError
from hotfolder.folders.layout import Layout
from hotfolder.ledger.drops import Taken
from hotfolder.ledger.ledger import Ledger
from hotfolder.status import mailbox
from hotfolder.types import Item, Kind, NewJob, ScoreParams, Sighting, State
from tests.support.roots import check_consistent, daemon, picture, rows
from tests.support.scripted import ScriptedExecutor, always


def worked(executor: ScriptedExecutor, kind: Kind) -> list[str]:
    """Names of the files, or the seeds, that were worked, in order."""
    items = (item for batch in executor.batches if batch.kind is kind for item in batch.items)
    return [Path(item.source).name if item.source else str(item.params["seed"]) for item in items]


def urgent(layout: Layout, kind: str = "score") -> None:
    with (layout.root / "hotfolder.toml").open("a") as file:
        file.write(f'\n[[inbox]]\nname = "urgent"\nkind = "{kind}"\npriority = 10\n')
    (layout.root / "inbox/urgent").mkdir()


def test_an_inbox_with_a_priority_goes_first_and_every_fourth_batch_is_of_the_oldest(layout: Layout) -> None:
    urgent(layout)
    for number in range(4):
        picture(layout.inbox(Kind.SCORE) / f"old{number}.png", number)
    for number in range(8):
        picture(layout.root / f"inbox/urgent/new{number}.png", 100 + number)
    executor = ScriptedExecutor(always(6.6))
    daemon(layout, executor, SCORE__BATCH_SIZE="1").run(once=True)
    order = "".join(name[0] for name in worked(executor, Kind.SCORE))
    assert order == "nnno" * 2 + "nnoo", order
    check_consistent(layout)


def test_what_comes_of_it_goes_first_too(layout: Layout) -> None:
    """Drawn, judged, enlarged and judged again, while others wait for the same models."""
    urgent(layout, "generate")
    (layout.inbox(Kind.GENERATE) / "many.txt").write_text("a --seed 0 --count 8")
    (layout.root / "inbox/urgent/one.txt").write_text("a --seed 1000 --count 2")
    executor = ScriptedExecutor(always(8.0))
    daemon(layout, executor, GENERATE__BATCH_SIZE="1", SCORE__BATCH_SIZE="1").run(once=True)
    assert worked(executor, Kind.GENERATE)[:2] == ["1000", "1001"]
    assert worked(executor, Kind.SCORE)[:2] == ["one-s1000.png", "one-s1001.png"]
    assert set(worked(executor, Kind.UPSCALE)[:2]) == {"one-s1000.png", "one-s1001.png"}


def test_a_prompt_has_a_priority(layout: Layout) -> None:
    text = "a --seed 0 --count 5\nb --seed 10 --count 2 --priority 1\nc --seed 20 --count 2 --priority 2"
    (layout.inbox(Kind.GENERATE) / "p.txt").write_text(text)
    executor = ScriptedExecutor(always(6.6))
    daemon(layout, executor, GENERATE__BATCH_SIZE="4").run(once=True)
    assert worked(executor, Kind.GENERATE)[:4] == ["20", "21", "10", "11"]
    check_consistent(layout)


@pytest.mark.usefixtures("heard_at_once")
def test_what_a_person_wants_first_goes_before_every_priority(layout: Layout) -> None:
    urgent(layout)
    for number in range(6):
        picture(layout.root / f"inbox/urgent/{number}.png", number)
        picture(layout.inbox(Kind.SCORE) / f"old{number}.png", 100 + number)

    def script(kind: Kind, item: Item) -> float:
        if not asked:
            for name in ("old3.png", "old5.png"):
                (drop,) = rows(layout, "SELECT id FROM drops WHERE path = ?", [f"inbox/score/{name}"])[0]
                asked.append(mailbox.ask(layout, {"do": "first", "drops": [drop]}))
        return 6.6

    asked: list[Path] = []
    executor = ScriptedExecutor(script)
    daemon(layout, executor, SCORE__BATCH_SIZE="1").run(once=True)
    order = worked(executor, Kind.SCORE)
    at = order.index("old5.png")
    assert order[at : at + 2] == ["old5.png", "old3.png"]  # the one that was asked for last
    assert at <= 3, order
    check_consistent(layout)


@pytest.mark.slow
def test_what_goes_first_is_found_among_very_many(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand of one kind with the same priority hide nothing of another kind that follows from them.

    This executor takes no time, so that what follows would else be there many batches later.
    """
    monkeypatch.setattr(outbox, "TOGETHER_SECONDS", 0.0)
    urgent(layout, "generate")
    (layout.root / "inbox/urgent/many.txt").write_text("a --seed 0 --count 1500")
    executor = ScriptedExecutor(always(6.6))
    line = daemon(layout, executor, GENERATE__BATCH_SIZE="4", EXECUTOR__FAIRNESS_SECONDS="0")

    def script(kind: Kind, item: Item) -> float:
        if len(executor.batches) >= 20:
            line.stop()
        return 6.6

    executor.script = script
    line.run()
    kinds = [batch.kind for batch in executor.batches]
    assert kinds.count(Kind.SCORE) >= 8, kinds


def test_a_job_that_goes_back_keeps_its_priority_also_when_it_has_to_wait(tmp_path: Path) -> None:
    ledger, group = Ledger.open(tmp_path / "ledger.db"), (Kind.SCORE, "m")
    seen = Sighting("inbox/urgent/a.png", 1, 1, 1, 1)
    new = NewJob(Kind.SCORE, "m", ScoreParams(), source=seen.path, priority=7)
    ledger.drops.add([Taken(Kind.SCORE, seen, 0.0, [new])], 0.0)
    (prior,) = ledger.jobs.front(0.0)
    assert (prior.group, prior.priority) == (group, 7.0)
    (job,) = ledger.jobs.claim(ledger.jobs.queued([prior.id]), 1.0)
    assert ledger.jobs.front(1.0) == []
    ledger.jobs.release(job, not_before=0, spent=False)
    assert ledger.jobs.front(1.0) == [prior]
    (job,) = ledger.jobs.claim(ledger.jobs.queued([prior.id]), 2.0)
    ledger.jobs.release(job, not_before=10.0, spent=True)  # after a failure
    assert (ledger.jobs.front(9.9), ledger.jobs.next_due()) == ([], 10.0)
    assert ledger.jobs.front(10.0) == [prior]
    ledger.jobs.go_first([], [prior.id])  # a person does not want to wait
    assert [(each.id, each.priority) for each in ledger.jobs.front(3.0)] == [(prior.id, 8.0)]
    (job,) = ledger.jobs.claim(ledger.jobs.queued([prior.id]), 4.0)
    ledger.jobs.end(job.id, State.FAILED, 5.0)
    ledger.jobs.requeue([job.id], None)  # by a person: in its place, too
    assert [each.id for each in ledger.jobs.front(5.0)] == [prior.id]
    ledger.close()


def test_what_is_tried_again_after_a_failure_goes_before_what_has_no_priority(layout: Layout) -> None:
    urgent(layout)
    for number in range(6):
        picture(layout.inbox(Kind.SCORE) / f"old{number}.png", number)
    picture(layout.root / "inbox/urgent/new.png", 100)

    def script(kind: Kind, item: Item) -> float | HotfolderError:
        if str(item.source).endswith("new.png") and not failed:
            failed.append(time.time())
            return HotfolderError("not this time", "")
        if failed:
            time.sleep(0.05)  # until its pause is over
        return 6.6

    failed: list[float] = []
    executor = ScriptedExecutor(script)
    daemon(layout, executor, SCORE__BATCH_SIZE="1", RETRY__BACKOFF_SECONDS="0.05").run(once=True)
    order = worked(executor, Kind.SCORE)
    first, again = (at for at, name in enumerate(order) if name == "new.png")
    assert first < again < len(order) - 1, order
    check_consistent(layout)
