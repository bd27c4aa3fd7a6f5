"""New seeds until so many were kept, through the whole line."""

from __future__ import annotations

import re
from collections.abc import Callable

from hotfolder.folders.layout import Layout
from hotfolder.types import Item, Kind
from tests.support.in_process import hotfolder
from tests.support.roots import daemon, rows
from tests.support.scripted import ScriptedExecutor

QUICK = {"WATCH__MODE": "polling", "GATE__UPSCALE": "never"}


def seeds(layout: Layout, verdict: str) -> list[int]:
    found = rows(layout, f"SELECT seed FROM results WHERE verdict = '{verdict}' ORDER BY seed")
    return [seed for (seed,) in found]


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
    said = rows(layout, "SELECT settings ->> 'stopped' FROM images WHERE settings ->> 'stopped' IS NOT NULL")
    assert said == [("3 of 12 were kept, as many as --until-kept asks for",)]
    assert (layout.root / "archive/p.txt").exists()


def test_it_ends_when_as_many_were_drawn_as_may_be(layout: Layout) -> None:
    (layout.inbox("generate") / "p.txt").write_text("a star --until-kept 3 --at-most 10 --seed 1")
    daemon(layout, executor(lambda seed: seed == 2), **QUICK).run(once=True)
    assert seeds(layout, "keep") == [2] and len(seeds(layout, "reject")) == 9
    said = rows(layout, "SELECT settings ->> 'stopped' FROM images WHERE settings ->> 'stopped' IS NOT NULL")
    assert said == [("10 seeds are as many as --at-most allows: 1 of 3 were kept",)]


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
