"""Kinds of work and their models take turns."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from types import MappingProxyType

from hotfolder.core.turns import Group, Turns
from hotfolder.types import Kind

DRAW, JUDGE, ENLARGE = (Kind.GENERATE, "flux"), (Kind.SCORE, "laion"), (Kind.UPSCALE, "x4")
OTHER = (Kind.GENERATE, "sdxl")
FAIR = 60.0


def play(
    waiting: dict[Group, int],
    room: int,
    seconds: dict[Group, float],
    load_seconds: float,
    until: float = 1e9,
    priorities: Mapping[Group, float] = MappingProxyType({}),
) -> tuple[list[tuple[float, Group]], dict[Group, int]]:
    """Simulates batches of one job; a device has room for so many models. When each group began, and its loads."""
    turns, now, began = Turns(), 0.0, []
    there: list[Group] = []
    loads: dict[Group, int] = {}
    while now < until and (open_ := [group for group, left in waiting.items() if left]):
        group = turns.choose(open_, now, FAIR, priorities)
        assert group is not None
        turns.begin(group, now)
        began.append((now, group))
        if group in there:
            there.remove(group)
            turns.loads(again=False)
        else:
            now += load_seconds
            loads[group] = loads.get(group, 0) + 1
            turns.loads(again=True)
        there = [*there, group][-room:]
        now += seconds[group]
        waiting[group] -= 1
    return began, loads


def test_what_was_drawn_is_judged_soon_where_both_models_fit() -> None:
    began, loads = play({DRAW: 1000, JUDGE: 50, ENLARGE: 50}, 3, {DRAW: 0.5, JUDGE: 0.1, ENLARGE: 2.0}, 10.0)
    firsts = {group: next(at for at, g in began if g == group) for group in (JUDGE, ENLARGE)}
    assert max(firsts.values()) < 2 * 10.0 + 5  # after a batch, and a load each
    assert loads == {DRAW: 1, JUDGE: 1, ENLARGE: 1}
    gaps = [b - a for (a, g), (b, _) in itertools.pairwise(began) if g == DRAW]
    assert max(gaps) <= 11


def test_models_that_push_each_other_out_have_their_whole_turn() -> None:
    began, loads = play({DRAW: 1000, JUDGE: 5000}, 1, {DRAW: 0.5, JUDGE: 0.1}, 5.0)
    took = began[-1][0]
    for group in (DRAW, JUDGE):
        assert loads[group] <= took / FAIR + 2, loads  # the first change tries whether both fit


def test_models_of_one_kind_have_their_whole_turn_at_once() -> None:
    began, loads = play({DRAW: 1000, OTHER: 1000}, 1, {DRAW: 1.0, OTHER: 1.0}, 5.0, until=600.0)
    assert loads[DRAW] + loads[OTHER] <= 600 / FAIR + 1
    assert next(at for at, group in began if group == OTHER) <= FAIR + 1


def test_no_kind_waits_for_ever() -> None:
    groups = [DRAW, JUDGE, ENLARGE, OTHER]
    began, _ = play(dict.fromkeys(groups, 2000), 2, dict.fromkeys(groups, 0.5), 3.0, until=2000.0)
    for group in groups:
        moments = [at for at, g in began if g == group]
        assert max(b - a for a, b in itertools.pairwise(moments)) <= 3 * (FAIR + 4)


def test_without_fairness_every_batch_may_change() -> None:
    turns = Turns()
    turns.begin(DRAW, 0.0)
    assert turns.choose([DRAW, OTHER], 0.0, 0.0) == OTHER


def test_what_failed_lets_the_others_go_first() -> None:
    turns = Turns()
    turns.begin(DRAW, 0.0)
    turns.give_up(1.0)
    assert turns.choose([DRAW, JUDGE], 1.0, FAIR) == JUDGE
    assert turns.choose([DRAW], 1.0, FAIR) == DRAW
    assert turns.choose([], 1.0, FAIR) is None


def test_after_a_worker_has_ended_loading_is_no_push_out() -> None:
    turns = Turns()
    turns.begin(DRAW, 0.0)
    turns.loads(again=True)
    turns.worker_ended(10.0)
    turns.begin(DRAW, 11.0)
    turns.loads(again=True)
    assert turns.choose([DRAW, JUDGE], 13.0, FAIR) == JUDGE


def test_a_priority_cuts_no_turn_short_where_models_push_each_other_out() -> None:
    waiting = {DRAW: 2000, JUDGE: 5000, ENLARGE: 500}
    seconds = {DRAW: 0.5, JUDGE: 0.1, ENLARGE: 1.0}
    began, loads = play(waiting, 1, seconds, 5.0, until=2000.0, priorities={JUDGE: 5.0, ENLARGE: 1.0})
    took = began[-1][0]
    for group in (DRAW, JUDGE, ENLARGE):
        assert loads[group] <= took / FAIR + 2, loads


def test_a_priority_goes_next_and_starves_nobody() -> None:
    groups = [DRAW, JUDGE, ENLARGE, OTHER]
    many = dict.fromkeys(groups, 5000)
    began, _ = play(many, 2, dict.fromkeys(groups, 0.5), 3.0, until=3000.0, priorities={OTHER: 1.0, JUDGE: 2.0})
    order = list(dict.fromkeys(group for _, group in began))
    assert order[0] == JUDGE
    for group in groups:
        moments = [at for at, g in began if g == group]
        assert max(b - a for a, b in itertools.pairwise([0.0, *moments])) <= 5 * (FAIR + 4), group


def test_every_fourth_batch_is_of_the_oldest() -> None:
    turns = Turns()
    led = []
    for _ in range(8):
        goes_first = not turns.oldest_lead(JUDGE)
        turns.begin(JUDGE, 0.0, goes_first=goes_first)
        led.append(goes_first)
    assert led == [True, True, True, False] * 2
