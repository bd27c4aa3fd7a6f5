"""New seeds until so many were kept, through the whole line."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from hotfolder.daemon.completion import Completion
from hotfolder.errors import HotfolderError
from hotfolder.folders.layout import Layout
from hotfolder.status import mailbox
from hotfolder.types import Item, Kind
from tests.support.in_process import hotfolder
from tests.support.roots import check_consistent, daemon, is_worked, rows
from tests.support.scripted import ScriptedExecutor

QUICK = {"WATCH__MODE": "polling", "GATE__UPSCALE": "never"}


def seeds(layout: Layout, verdict: str) -> list[int]:
    found = rows(layout, f"SELECT seed FROM results WHERE verdict = '{verdict}' ORDER BY seed")
    return [seed for (seed,) in found]


def stopped(layout: Layout) -> list[tuple[Any, ...]]:
    return rows(layout, "SELECT settings ->> 'stopped' FROM images WHERE settings ->> 'stopped' IS NOT NULL")


def fails(seeds: set[int], kind: Kind, is_good: Callable[[int], bool]) -> ScriptedExecutor:
    """These seeds come to a bad end when they are drawn, or when they are judged."""

    def script(doing: Kind, item: Item) -> float | HotfolderError:
        seed = item.params["seed"] if doing is Kind.GENERATE else int(re.findall(r"-s(\d+)", str(item.source))[0])
        if doing is kind and seed in seeds:
            return HotfolderError("it does not work", "leave it")
        return 7.0 if is_good(seed) else 4.0

    return ScriptedExecutor(script)


def executor(is_good: Callable[[int], bool], also: Callable[[int], None] = lambda _: None) -> ScriptedExecutor:
    def script(kind: Kind, item: Item) -> float:
        if kind is not Kind.SCORE:
            return 0.0
        found = re.search(r"-s(\d+)", str(item.source))
        assert found is not None
        also(int(found[1]))
        return 7.0 if is_good(int(found[1])) else 4.0  # below gate.regenerate_below: that has no say

    return ScriptedExecutor(script)


def test_it_ends_when_enough_are_kept_and_says_so(layout: Layout) -> None:
    (layout.inbox("generate") / "p.txt").write_text("a star --until-kept 3 --at-most 40 --seed 1")
    daemon(layout, executor(lambda seed: seed % 4 == 0), **QUICK).run(once=True)
    assert seeds(layout, "keep") == [4, 8, 12]
    assert max(seeds(layout, "reject")) <= 12
    assert stopped(layout) == [("3 of 12 were kept, as many as --until-kept asks for",)]
    assert (layout.root / "archive/p.txt").exists()


def test_it_ends_when_as_many_were_drawn_as_may_be(layout: Layout) -> None:
    (layout.inbox("generate") / "p.txt").write_text("a star --until-kept 3 --at-most 10 --seed 1")
    daemon(layout, executor(lambda seed: seed == 2), **QUICK).run(once=True)
    assert seeds(layout, "keep") == [2] and len(seeds(layout, "reject")) == 9
    assert stopped(layout) == [("10 seeds are as many as --at-most allows: 1 of 3 were kept",)]


def test_it_goes_on_after_a_stop_where_it_was(layout: Layout) -> None:
    (layout.inbox("generate") / "p.txt").write_text("a star --until-kept 2 --at-most 40 --seed 1")

    def stop(seed: int) -> None:
        if seed == 5:
            first.stop()

    first = daemon(layout, executor(lambda seed: seed % 6 == 0, stop), **QUICK)
    first.run(once=True)
    assert len(seeds(layout, "keep")) < 2
    daemon(layout, executor(lambda seed: seed % 6 == 0), **QUICK).run(once=True)
    assert seeds(layout, "keep") == [6, 12]
    drawn = [seed for (seed,) in rows(layout, "SELECT seed FROM images ORDER BY seed")]
    assert drawn == list(range(1, len(drawn) + 1))  # each once


def test_it_is_refused_where_nothing_is_judged(layout: Layout) -> None:
    (layout.root / "p.txt").write_text("a star --until-kept 2")
    done = hotfolder("generate", layout.root / "p.txt", "--root", layout.root, "--json")
    assert done.returncode == 2 and "needs the gate" in done.stdout


def test_two_prompts_of_a_file_are_two_runs(layout: Layout) -> None:
    text = "a star --until-kept 1 --at-most 9 --seed 1\na ring --until-kept 1 --at-most 9 --seed 101\n"
    (layout.inbox("generate") / "p.txt").write_text(text)
    daemon(layout, executor(lambda seed: seed in (3, 102)), **QUICK).run(once=True)
    assert seeds(layout, "keep") == [3, 102]


@pytest.mark.parametrize("kind", [Kind.GENERATE, Kind.SCORE])
def test_a_seed_that_fails_counts_as_drawn_and_it_goes_on(layout: Layout, kind: Kind) -> None:
    (layout.inbox("generate") / "p.txt").write_text("a star --until-kept 2 --at-most 9 --seed 1")
    daemon(layout, fails({1, 2, 4}, kind, lambda seed: seed in (3, 6)), **QUICK).run(once=True)
    assert seeds(layout, "keep") == [3, 6]
    assert stopped(layout) == [("2 of 6 were kept, as many as --until-kept asks for",)]
    assert (layout.root / "failed/p.txt").exists()


def test_where_all_fail_it_ends_with_as_many_as_may_be(layout: Layout) -> None:
    (layout.inbox("generate") / "p.txt").write_text("a star --until-kept 2 --at-most 5 --seed 1")
    daemon(layout, fails(set(range(99)), Kind.GENERATE, bool), **QUICK).run(once=True)
    assert rows(layout, "SELECT count(*), min(state), max(state) FROM jobs") == [(5, "failed", "failed")]
    assert (layout.root / "failed/p.txt").exists()


def test_a_twin_that_is_kept_already_counts_as_kept_and_one_that_is_rejected_does_not(layout: Layout) -> None:
    text = "a star --until-kept 2 --at-most 20 --seed 1"
    (layout.inbox("generate") / "p.txt").write_text(text)
    daemon(layout, executor(lambda seed: seed in (2, 4)), **QUICK).run(once=True)
    before = rows(layout, "SELECT count(*) FROM images")
    (layout.inbox("generate") / "p.txt").write_text(text)
    daemon(layout, executor(lambda seed: seed in (2, 4)), **QUICK).run(once=True)
    assert rows(layout, "SELECT count(*) FROM images") == before  # the same two are there: no more are drawn
    drawn = "SELECT drop_id, count(*) FROM jobs WHERE kind = 'generate' GROUP BY drop_id"
    assert [count for _, count in rows(layout, drawn)] == [4, 4]
    # A third is wanted: it goes on beyond what is there.
    (layout.inbox("generate") / "p.txt").write_text(text.replace("kept 2", "kept 3"))
    daemon(layout, executor(lambda seed: seed % 2 == 0), **QUICK).run(once=True)
    assert seeds(layout, "keep") == [2, 4, 6]
    check_consistent(layout)


def test_a_picture_that_is_taken_away_before_its_score_counts_as_drawn(layout: Layout) -> None:
    (layout.inbox("generate") / "p.txt").write_text("a star --until-kept 1 --at-most 9 --seed 1")

    def take(seed: int) -> None:
        if seed == 1:
            for path in (layout.root / ".hotfolder/unscored").rglob("*-s1.*"):
                path.unlink()

    daemon(layout, executor(lambda seed: seed == 3, take), **QUICK).run(once=True)
    assert seeds(layout, "keep") == [3]
    assert stopped(layout) == [("1 of 3 were kept, as many as --until-kept asks for",)]


@pytest.mark.usefixtures("heard_at_once")
def test_a_cancelled_run_does_not_go_on_and_says_so(layout: Layout) -> None:
    (layout.inbox("generate") / "p.txt").write_text("a star --until-kept 5 --at-most 900 --seed 1")

    def cancel(seed: int) -> None:
        if seed == 6:
            mailbox.ask(layout, {"do": "cancel", "all": True})

    daemon(layout, executor(lambda seed: seed == 2, cancel), GATE__UPSCALE="never").run(once=True)
    assert rows(layout, "SELECT count(*) < 900 FROM jobs WHERE kind = 'generate'") == [(1,)]
    assert stopped(layout) == [("it was cancelled: 1 of 5 were kept",)]
    check_consistent(layout)
    daemon(layout, executor(lambda seed: True), **QUICK).run(once=True)
    assert seeds(layout, "keep") == [2]


def test_a_run_is_cancelled_between_a_judgement_and_the_next_seed(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When nothing of it is in work: it is cancelled all the same."""
    (layout.inbox("generate") / "p.txt").write_text("a star --until-kept 1 --at-most 900 --seed 1")
    real, asked = Completion.finish_sources, []

    def late(self: Completion) -> None:
        if not asked and rows(layout, "SELECT count(*) FROM images WHERE score IS NOT NULL") == [(1,)]:
            asked.append(mailbox.ask(layout, {"do": "cancel", "all": True}))
            list(running._scans.read_inboxes(time.time()))  # commands are obeyed
        real(self)

    monkeypatch.setattr(Completion, "finish_sources", late)
    running = daemon(layout, executor(lambda seed: False), **QUICK)
    running.run(once=True)
    assert asked and seeds(layout, "reject") == [1]
    assert stopped(layout) == [("it was cancelled: 0 of 1 were kept",)]
    check_consistent(layout)


def test_after_a_power_cut_between_a_judgement_and_the_next_seed_it_goes_on(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    (layout.inbox("generate") / "p.txt").write_text("a star --until-kept 1 --at-most 9 --seed 1")

    class PowerCut(BaseException):
        pass

    def cut(*_: object) -> None:
        raise PowerCut

    with monkeypatch.context() as patched:
        patched.setattr("hotfolder.ledger.runs.Runs.begin", cut)
        with pytest.raises(PowerCut):
            daemon(layout, executor(lambda seed: seed == 3), **QUICK).run(once=True)
    assert is_worked(layout)
    daemon(layout, executor(lambda seed: seed == 3), **QUICK).run(once=True)
    assert seeds(layout, "keep") == [3] and seeds(layout, "reject") == [1, 2]
    assert (layout.root / "archive/p.txt").exists()


@pytest.mark.usefixtures("heard_at_once")
def test_it_goes_on_after_the_settings_were_read_again(layout: Layout) -> None:
    (layout.inbox("generate") / "p.txt").write_text("a star --until-kept 1 --at-most 9 --seed 1")

    def reload(seed: int) -> None:
        if seed == 2:
            mailbox.ask(layout, {"do": "reload"})

    daemon(layout, executor(lambda seed: seed == 4, reload), GATE__UPSCALE="never").run(once=True)
    assert seeds(layout, "keep") == [4] and seeds(layout, "reject") == [1, 2, 3]
