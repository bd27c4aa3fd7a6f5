"""The time that is left, as the daemon foretells it while it works."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hotfolder.core.estimate import OpenJobs
from hotfolder.daemon.loop import Daemon
from hotfolder.folders.layout import Layout
from hotfolder.ledger.ledger import Ledger
from hotfolder.status.live import Snapshot
from hotfolder.types import Item, Kind, Role
from tests.support.own_time import OwnTime
from tests.support.roots import check_consistent, files_in, picture, rows, settings
from tests.support.scripted import ScriptedExecutor, always

SECONDS = {Kind.GENERATE: 0.02, Kind.SCORE: 0.004, Kind.UPSCALE: 0.05}


def working_daemon(layout: Layout, show: Callable[[Snapshot], None], own_time: OwnTime) -> Daemon:
    """Every third image is tried again, every other third is enlarged."""

    def work(kind: Kind, item: Item) -> float:
        own_time.sleep(SECONDS[kind])
        name = Path(item.source).stem.partition("_")[0] if item.source else ""
        digits = int("".join(filter(str.isdigit, name)) or 0)
        return (2.0, 6.6, 8.0)[digits % 3]

    wanted = settings(layout, GENERATE__BATCH_SIZE="4")
    return Daemon(layout.root, wanted, ScriptedExecutor(work), clock=own_time.wall, show=show)


@pytest.mark.slow
def test_it_reckons_with_scores_new_tries_and_enlargements(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_time = OwnTime(monkeypatch)
    lines = "\n".join(f"a cat --seed {n}" for n in range(100))
    (layout.inbox(Kind.GENERATE) / "p.txt").write_text(lines)
    for number in range(30):
        picture(layout.inbox(Kind.SCORE) / f"{number}.png", number)
    said: list[tuple[float, Snapshot]] = []
    working_daemon(layout, lambda snapshot: said.append((own_time.now, snapshot)), own_time).run(once=True)
    ended = said[-1][0]
    began = next(at for at, told in said if told.open)
    # Before the first enlargements nobody knows how long they take.
    parts = [((at - began) / (ended - began), at, told) for at, told in said]
    known = [(at, told) for part, at, told in parts if 0.45 < part < 0.85]
    assert len(known) >= 5
    for at, told in known:
        assert told.left_seconds is not None
        assert 0.4 <= told.left_seconds / (ended - at) <= 2.5, (at - began, told.left_seconds, ended - at)
    # Well before its end it knows of work that is not in the queue yet.
    (jobs,) = rows(layout, "SELECT count(*) FROM jobs WHERE state = 'done'")[0]
    middle = known[len(known) // 2][1]
    assert middle.expected > 1.2 * middle.open
    assert 0.7 * jobs <= middle.total <= 1.4 * jobs
    assert said[-1][1].left_seconds is None
    ledger = Ledger.open(layout.database)
    enlarged = sum(each.is_enlarged for each in ledger.lately.judged())
    ledger.close()
    assert enlarged == len(files_in(layout, "upscaled"))
    check_consistent(layout)


def test_it_knows_of_many_steps_while_few_were_all_that_was_asked_for(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the prompt, the model and the folder: most of the time is for what has the most steps, which comes last."""
    own_time = OwnTime(monkeypatch)

    def work(kind: Kind, item: Item) -> float:
        seconds = 0.2 + 0.1 * (item.params.get("steps") or 8) if kind is Kind.GENERATE else 0.001
        own_time.sleep(seconds)
        return 6.6

    inbox = layout.inbox(Kind.GENERATE)
    (inbox / "a.txt").write_text("\n".join(f"a cat --seed {n} --steps 2" for n in range(16)))
    (inbox / "b.txt").write_text("\n".join(f"a dog --seed {n}" for n in range(8)))  # 8 steps, as the model has it
    (inbox / "slow").mkdir()
    (inbox / "slow" / "hotfolder.toml").write_text("[generate]\nsteps = 60\n")
    (inbox / "slow" / "c.txt").write_text("\n".join(f"a fox --seed {n}" for n in range(8)))
    said: list[tuple[float, Snapshot]] = []
    wanted = settings(
        layout, GENERATE__BATCH_SIZE="4", GATE__UPSCALE="never", GENERATE__WIDTH="128", GENERATE__HEIGHT="128"
    )
    show = lambda snapshot: said.append((own_time.now, snapshot))  # noqa: E731
    Daemon(layout.root, wanted, ScriptedExecutor(work), clock=own_time.wall, show=show).run(once=True)
    ended = said[-1][0]
    known = [(at, told.left_seconds) for at, told in said if told.left_seconds is not None]
    early = [(left, ended - at) for at, left in known if ended - at > 50]
    assert len(early) >= 3
    for left, true in early:
        assert 0.7 <= left / true <= 1.4, (left, true)


def test_where_nothing_waits_nothing_is_foretold(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Snapshot] = []
    working_daemon(layout, said.append, OwnTime(monkeypatch)).run(once=True)
    assert {(told.left_seconds, told.expected) for told in said} == {(None, 0.0)}


def test_it_knows_how_large_the_pictures_are(layout: Layout) -> None:
    """Of what is enlarged the original counts, which is what takes the time."""
    picture(layout.inbox(Kind.SCORE) / "photo.png", size=(100, 50))
    picture(layout.inbox(Kind.UPSCALE) / "card.png", size=(40, 20))
    (layout.inbox(Kind.GENERATE) / "p.txt").write_text("a cat --seed 1")
    Daemon(layout.root, settings(layout), ScriptedExecutor(always(8.0))).run(once=True)
    (layout.inbox(Kind.GENERATE) / "q.txt").write_text("a cat --width 64 --height 128\na cat --seed 7")
    picture(layout.inbox(Kind.SCORE) / "next.png")
    seen: list[OpenJobs] = []

    def stop(kind: Kind, item: Item) -> float:
        seen.extend(ledger.lately.waiting())
        daemon.stop()
        return 8.0

    ledger = Ledger.open(layout.database)
    daemon = Daemon(layout.root, settings(layout), ScriptedExecutor(stop))
    daemon.run()
    done = {kind: ledger.lately.batches(kind) for kind in Kind}
    judged = [(each.megapixels, each.enlarged_megapixels) for each in ledger.lately.judged()]
    ledger.close()
    sizes = {kind: sum(each.megapixels for each in batches) * 1e6 for kind, batches in done.items()}
    assert sizes[Kind.UPSCALE] == pytest.approx(100 * 50 + 40 * 20 + 8 * 8)
    assert sizes[Kind.GENERATE] >= 8 * 8
    assert {(0.005, 0.08), (64e-6, 1024e-6)} <= {tuple(round(each or 0, 6) for each in pair) for pair in judged}
    sized = {(jobs.kind, jobs.count, jobs.sized, round(jobs.megapixels * 1e6)) for jobs in seen}
    assert (Kind.GENERATE, 2, 1, 64 * 128) in sized
    assert (Kind.SCORE, 1, 0, 0) in sized


def test_what_followed_from_dropped_images_is_known_after_many_drawn_ones(layout: Layout) -> None:
    """And the other way round: of each there are enough."""
    for number in range(3):
        picture(layout.inbox(Kind.SCORE) / f"{number}.png", number)
    work = ScriptedExecutor(always(8.0))
    Daemon(layout.root, settings(layout, GATE__UPSCALE="7"), work).run(once=True)
    (layout.inbox(Kind.GENERATE) / "p.txt").write_text("\n".join(f"a cat --seed {n}" for n in range(210)))
    work = ScriptedExecutor(always(6.6))
    Daemon(layout.root, settings(layout, GATE__UPSCALE="7"), work).run(once=True)
    ledger = Ledger.open(layout.database)
    judged = ledger.lately.judged()
    ledger.close()
    assert [each.role for each in judged] == [Role.GENERATED] * 200 + [Role.DROPPED] * 3
    assert [each.is_enlarged for each in judged] == [False] * 200 + [True] * 3
