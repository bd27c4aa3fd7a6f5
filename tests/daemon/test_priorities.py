"""What goes first: by its inbox, by its prompt, because a person asks for it. Nobody waits for ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from hotfolder.folders.layout import Layout
from hotfolder.ledger.drops import Taken
from hotfolder.ledger.ledger import Ledger
from hotfolder.status import mailbox
from hotfolder.types import Item, Kind, NewJob, ScoreParams, Sighting
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
def test_what_goes_first_is_found_among_very_many(layout: Layout) -> None:
    """A thousand of one kind with the same priority hide nothing of another kind that follows from them."""
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


def test_a_job_that_goes_back_keeps_its_priority_unless_it_has_to_wait(tmp_path: Path) -> None:
    ledger, group = Ledger.open(tmp_path / "ledger.db"), (Kind.SCORE, "m")
    seen = Sighting("inbox/urgent/a.png", 1, 1, 1, 1)
    new = NewJob(Kind.SCORE, "m", ScoreParams(), source=seen.path, priority=7)
    ledger.drops.add([Taken(Kind.SCORE, seen, 0.0, [new])], 0.0)
    (prior,) = ledger.jobs.front()
    assert (prior.group, prior.priority) == (group, 7.0)
    (job,) = ledger.jobs.claim(ledger.jobs.queued([prior.id]), 1.0)
    assert ledger.jobs.front() == []
    ledger.jobs.release(job, not_before=0, spent=False)
    assert ledger.jobs.front() == [prior]
    (job,) = ledger.jobs.claim(ledger.jobs.queued([prior.id]), 2.0)
    ledger.jobs.release(job, not_before=10.0, spent=True)  # after a failure: in the ordinary line
    assert (ledger.jobs.front(), ledger.jobs.next_due()) == ([], 10.0)
    ledger.close()
