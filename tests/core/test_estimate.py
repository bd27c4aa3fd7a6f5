"""How long what waits will take."""

from __future__ import annotations

import random
import statistics
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from hotfolder.core.estimate import (
    Expected,
    Judged,
    OpenJobs,
    Shares,
    expected_jobs,
    seconds_left,
    shares,
)
from hotfolder.core.pace import Pace, Rates
from hotfolder.core.turns import Turns
from hotfolder.types import Kind

DRAW, JUDGE, ENLARGE = Kind.GENERATE, Kind.SCORE, Kind.UPSCALE


@pytest.mark.parametrize(
    ("waiting", "again", "enlarged", "expected"),
    [
        ([OpenJobs(DRAW, 10)], 0.0, 0.0, (10, 10, 0)),
        ([OpenJobs(DRAW, 10)], 0.5, 0.0, (17.5, 17.5, 0)),  # 10, of which 5 again, of which 2.5
        ([OpenJobs(DRAW, 10, try_number=3)], 0.5, 0.0, (10, 10, 0)),
        ([OpenJobs(DRAW, 10, is_of_set=True)], 0.5, 0.0, (10, 10, 0)),
        ([OpenJobs(DRAW, 10)], 1.0, 0.0, (30, 30, 0)),
        ([OpenJobs(DRAW, 10)], 0.0, 0.5, (10, 15, 5)),  # 5 are enlarged, and measured again
        ([OpenJobs(JUDGE, 10, is_drawn=True)], 0.5, 0.0, (7.5, 17.5, 0)),
        ([OpenJobs(JUDGE, 10)], 0.5, 0.0, (0, 10, 0)),  # dropped: nobody draws it again
        ([OpenJobs(JUDGE, 10, is_measure=True)], 0.5, 0.5, (0, 10, 0)),
        ([OpenJobs(ENLARGE, 10)], 0.5, 0.5, (0, 10, 10)),
        ([OpenJobs(ENLARGE, 10, is_of_image=False)], 0.5, 0.5, (0, 20, 10)),  # original and enlargement
    ],
)
def test_what_will_follow(
    waiting: list[OpenJobs], again: float, enlarged: float, expected: tuple[float, float, float]
) -> None:
    found = expected_jobs(waiting, Shares(again, enlarged, 0.0), 3)
    assert tuple(found[kind].jobs for kind in (DRAW, JUDGE, ENLARGE)) == pytest.approx(expected)


def test_shares_are_learned_and_of_few_not_too_much_is_concluded() -> None:
    seen = [Judged(is_drawn=True, is_enlarged=n < 30, is_tried_again=n >= 90) for n in range(100)]
    seen += [Judged(is_drawn=False, is_enlarged=True, is_tried_again=None)] * 50
    found = shares(seen)
    assert (found.again, found.enlarged_drawn) == (pytest.approx(0.1, abs=0.01), pytest.approx(0.3, abs=0.01))
    assert found.enlarged_dropped == pytest.approx(1.0, abs=0.02)
    assert 0 < shares([]).again < 0.5
    assert 0 < shares([Judged(is_drawn=True, is_enlarged=False, is_tried_again=True)]).again < 1


def test_where_nothing_is_enlarged_for_its_score_only_what_prompts_asked_for_is_foreseen() -> None:
    drawn = [Judged(is_drawn=True, is_enlarged=n == 0, is_tried_again=False) for n in range(4)]
    assert (shares([], enlarges=False).enlarged_drawn, shares([], enlarges=False).enlarged_dropped) == (0, 0)
    assert shares(drawn, enlarges=False).enlarged_drawn == pytest.approx(0.2)


def test_sizes_are_known_learned_or_open() -> None:
    judged = [
        Judged(is_drawn=True, is_enlarged=True, is_tried_again=None, megapixels=1.0, enlarged_megapixels=4.0)
    ]
    judged += [Judged(is_drawn=False, is_enlarged=False, is_tried_again=None, megapixels=12.0)]
    assert (shares(judged).drawn, shares(judged).dropped, shares(judged).growth) == (1.0, 12.0, 4.0)
    assert (shares([]).drawn, shares([]).dropped, shares([]).growth) == (None, None, 16.0)
    told = Shares(0.5, 0.5, 0.5, drawn=1.0, dropped=12.0, growth=4.0)

    def of(*waiting: OpenJobs) -> dict[Kind, tuple[float, float, float]]:
        found = expected_jobs(waiting, told, 1)
        return {kind: (each.jobs, each.megapixels, each.unsized) for kind, each in found.items() if each.jobs}

    assert of(OpenJobs(DRAW, 10)) == {DRAW: (10, 10, 0), JUDGE: (15, 10 + 5 * 4, 0), ENLARGE: (5, 5, 0)}
    assert of(OpenJobs(DRAW, 10, sized=2, megapixels=8.0))[DRAW] == (10, 8 + 8, 0)  # two ask for larger ones
    few = expected_jobs([OpenJobs(DRAW, 10, sized=2, megapixels=8.0)], Shares(), 1)[DRAW]
    assert (few.jobs, few.megapixels, few.unsized) == (10, 40, 0)  # what two say, while none was drawn
    assert of(OpenJobs(JUDGE, 10)) == {JUDGE: (15, 120 + 5 * 48, 0), ENLARGE: (5, 60, 0)}
    assert of(OpenJobs(JUDGE, 2, is_measure=True, sized=2, megapixels=96.0)) == {JUDGE: (2, 96, 0)}
    # Nobody knows what is dropped to be enlarged.
    assert of(OpenJobs(ENLARGE, 10, is_of_image=False)) == {ENLARGE: (10, 0, 10), JUDGE: (20, 0, 20)}
    assert Expected(10, 0, 10).seconds(Pace(0.5, 3.0, 2.0, megapixels=1.5)) == pytest.approx(5 + 30 + 3)
    assert Expected(10, 40, 0).seconds(Pace(0.5, 3.0, 2.0, megapixels=1.5)) == pytest.approx(5 + 80 + 3)


def test_steps_count_for_what_is_drawn_and_drawn_again_and_for_nothing_else() -> None:
    told = Shares(1.0, 0.0, 0.0, drawn=1.0)

    def of(*waiting: OpenJobs) -> dict[Kind, tuple[float, float, float]]:
        found = expected_jobs(waiting, told, 2)
        return {kind: (each.jobs, each.megapixels, each.unsized) for kind, each in found.items() if each.jobs}

    assert of(OpenJobs(DRAW, 10, steps=50.0)) == {DRAW: (20, 20 * 50, 0), JUDGE: (20, 20, 0)}
    assert of(OpenJobs(JUDGE, 3, is_drawn=True, steps=4.0)) == {DRAW: (3, 3 * 4, 0), JUDGE: (6, 6, 0)}
    # What was drawn lately tells more of sizes than what the model would draw by itself.
    assert of(OpenJobs(DRAW, 1, usual_megapixels=9.0, steps=4.0))[DRAW] == (2, 2 * 4, 0)
    few = expected_jobs([OpenJobs(DRAW, 3, sized=1, megapixels=1.0, usual_megapixels=2.0, steps=4.0)], Shares(), 1)
    assert (few[DRAW].megapixels, few[DRAW].unsized) == ((1 + 2 * 2) * 4, 0)
    # Nobody knows how many: as they were lately.
    assert of(OpenJobs(DRAW, 10, steps=None)) == {DRAW: (20, 0, 20), JUDGE: (20, 20, 0)}


def test_what_is_left_is_the_work_and_the_loading_of_models() -> None:
    paces = {DRAW: Pace(2.0), JUDGE: Pace(0.5, load_seconds=10.0)}
    known = {DRAW: Expected(10.0), JUDGE: Expected(4.0), ENLARGE: Expected()}
    assert seconds_left(known, paces) == pytest.approx(20 + 2 + 10)
    assert seconds_left({DRAW: Expected(1.0), ENLARGE: Expected(3.0)}, paces) is None  # nobody knows its pace
    assert seconds_left({DRAW: Expected(1.0)}, {}) is None


@dataclass(frozen=True)
class Machine:
    """How long it takes for each kind of work."""

    seconds: Mapping[Kind, float]
    loads: Mapping[Kind, float]
    start: float = 0.0  # of the worker
    warming: float = 1.0  # so many times longer takes the first job after a model was loaded


def _foreseen(
    rng: random.Random, machine: Machine, prompts: int, photos: int, to_enlarge: int, draw_together: int
) -> list[float]:
    """A run of the line: what was foretold after each batch, as a part of what was true.

    Prompts are tried again and enlarged, and photos judged, in turns. From a tenth of the run to nine tenths.
    """
    rates, turns, now = Rates(), Turns(), machine.start
    again, enlarged = rng.uniform(0, 0.5), rng.uniform(0, 0.4)
    queue: dict[Kind, deque[OpenJobs]] = {kind: deque() for kind in Kind}
    queue[DRAW].extend([OpenJobs(DRAW, 1)] * prompts)
    queue[JUDGE].extend([OpenJobs(JUDGE, 1)] * photos)
    queue[ENLARGE].extend([OpenJobs(ENLARGE, 1, is_of_image=False)] * to_enlarge)
    sizes = {DRAW: draw_together, JUDGE: 64, ENLARGE: 4}
    judged: list[Judged] = []
    said: list[tuple[float, float | None]] = []
    loaded: set[Kind] = set()

    def estimate() -> float | None:
        sorts = Counter(job for jobs in queue.values() for job in jobs)
        waiting = [
            OpenJobs(
                j.kind, n, is_measure=j.is_measure, is_drawn=j.is_drawn, is_of_image=j.is_of_image,
                try_number=j.try_number,
            )
            for j, n in sorts.items()
        ]  # fmt: skip
        return seconds_left(expected_jobs(waiting, shares(judged[-200:]), 3), rates.paces({}))

    while any(queue.values()):
        group = turns.choose([(kind, "") for kind in Kind if queue[kind]], now, 60.0)
        assert group is not None
        kind = group[0]
        turns.begin(group, now)
        batch = [queue[kind].popleft() for _ in range(min(len(queue[kind]), sizes[kind]))]
        rates.begin(kind, len(batch), now)
        is_new = kind not in loaded
        now += machine.loads[kind] if is_new else 0.0
        loaded.add(kind)
        rates.working(now)
        for number, job in enumerate(batch):
            warming = machine.warming if is_new and number == 0 else 1.0
            now += machine.seconds[kind] * rng.uniform(0.7, 1.4) * warming
            rates.ended(now)
            if kind is DRAW:
                queue[JUDGE].append(OpenJobs(JUDGE, 1, is_drawn=True, try_number=job.try_number))
            elif kind is ENLARGE:
                queue[JUDGE].extend([OpenJobs(JUDGE, 1, is_measure=True)] * (1 if job.is_of_image else 2))
            elif not job.is_measure:
                is_again = job.is_drawn and job.try_number < 3 and rng.random() < again
                is_enlarged = not is_again and rng.random() < enlarged / (1 - again)
                may_be = job.is_drawn and job.try_number < 3
                judged.append(Judged(job.is_drawn, is_enlarged, is_again if may_be else None))
                if is_again:
                    queue[DRAW].append(OpenJobs(DRAW, 1, try_number=job.try_number + 1))
                if is_enlarged:
                    queue[ENLARGE].append(OpenJobs(ENLARGE, 1))
        rates.over(now)
        turns.loads(again=False)
        said.append((now, estimate()))
    found = []
    for at, left in said:
        if 0.1 * now <= at <= 0.9 * now:
            assert left is not None
            found.append(left / (now - at))
    return found


@pytest.mark.parametrize("seed", range(6))
def test_a_mixed_run_is_foreseen_from_a_tenth_of_it_on(seed: int) -> None:
    rng = random.Random(seed)
    machine = Machine({DRAW: 1.2, JUDGE: 0.08, ENLARGE: 3.0}, {DRAW: 6.0, JUDGE: 1.5, ENLARGE: 2.0})
    told = _foreseen(rng, machine, rng.randrange(200, 400), rng.randrange(0, 200), rng.randrange(0, 30), 4)
    assert max(told) <= 1.5 and min(told) >= 1 / 1.5, (min(told), max(told))


@pytest.mark.parametrize("dropped", [(60, 20, 0), (20, 80, 6), (80, 0, 0)])
@pytest.mark.parametrize("warming", [1.0, 6.0])
def test_short_runs_are_foreseen_in_a_new_root(dropped: tuple[int, int, int], warming: float) -> None:
    """As `tools.measure_waits` drops them: half a minute, of which the start and warming up take a good part."""
    machine = Machine(
        {DRAW: 0.25, JUDGE: 0.03, ENLARGE: 0.35}, {DRAW: 2.0, JUDGE: 0.5, ENLARGE: 1.5}, start=3.0, warming=warming
    )
    told = [each for seed in range(20) for each in _foreseen(random.Random(seed), machine, *dropped, 8)]
    right = sum(1 / 1.5 <= each <= 1.5 for each in told)
    assert right / len(told) >= 0.95
    assert 0.9 <= statistics.median(told) <= 1.1
