"""How long what waits will take."""

from __future__ import annotations

import random
from collections import Counter, deque

import pytest

from hotfolder.core.estimate import (
    Judged,
    OpenJobs,
    Pace,
    Rates,
    Shares,
    expected_jobs,
    pace_of_batches,
    seconds_left,
    shares,
)
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
    assert tuple(found[kind] for kind in (DRAW, JUDGE, ENLARGE)) == pytest.approx(expected)


def test_shares_are_learned_and_of_few_not_too_much_is_concluded() -> None:
    seen = [Judged(is_drawn=True, is_enlarged=n < 30, is_tried_again=n >= 90) for n in range(100)]
    seen += [Judged(is_drawn=False, is_enlarged=True, is_tried_again=None)] * 50
    found = shares(seen)
    assert (found.again, found.enlarged_drawn) == (pytest.approx(0.1, abs=0.01), pytest.approx(0.3, abs=0.01))
    assert found.enlarged_dropped == pytest.approx(1.0, abs=0.02)
    assert 0 < shares([]).again < 0.5
    assert 0 < shares([Judged(is_drawn=True, is_enlarged=False, is_tried_again=True)]).again < 1


def test_what_is_left_is_the_work_and_the_loading_of_models() -> None:
    paces = {DRAW: Pace(2.0), JUDGE: Pace(0.5, load_seconds=10.0)}
    assert seconds_left({DRAW: 10.0, JUDGE: 4.0, ENLARGE: 0.0}, paces) == pytest.approx(20 + 2 + 10)
    assert seconds_left({DRAW: 1.0, JUDGE: 0.0, ENLARGE: 3.0}, paces) == pytest.approx(2 + 3 * 2.0)
    assert seconds_left({DRAW: 1.0}, {}) is None


def test_the_pace_of_earlier_batches_is_the_usual_one_and_the_slowest_one_loaded_the_model() -> None:
    pace = pace_of_batches([(4, 18.0), (4, 8.0), (4, 8.2), (4, 7.8)])
    assert pace == Pace(pytest.approx(2.0, abs=1e-6), pytest.approx(10.0))  # type: ignore[arg-type]
    assert pace_of_batches([(4, 8.0)]) == Pace(2.0)
    assert pace_of_batches([]) is None


def test_loading_is_told_apart_and_gaps_belong_to_the_batch_before() -> None:
    rates = Rates()
    rates.begin(DRAW, 2, 0.0)
    assert rates.spent({DRAW: Pace(1.0, 8.0)}, 6.0) == 6.0  # of its loading
    rates.working(10.0)
    rates.ended(13.0)
    assert rates.spent(rates.paces({}), 14.0) == pytest.approx(1.0)
    rates.ended(15.0)
    rates.over(15.0)
    assert rates.paces({})[DRAW] == Pace(pytest.approx(2.5))  # type: ignore[arg-type]
    rates.begin(JUDGE, 1, 16.0)
    assert rates.paces({})[DRAW] == Pace(pytest.approx(3.0))  # type: ignore[arg-type]
    earlier = {JUDGE: Pace(0.5, 4.0), ENLARGE: Pace(7.0, 2.0)}
    assert rates.paces(earlier)[JUDGE] == Pace(0.5, 4.0)
    assert rates.paces(earlier)[ENLARGE] == Pace(7.0, 2.0)
    rates.working(17.0)
    rates.ended(18.0)
    rates.over(18.0)
    rates.idle()
    rates.begin(DRAW, 2, 20.0)
    assert rates.paces({})[JUDGE] == Pace(pytest.approx(1.0))  # type: ignore[arg-type]
    rates.worker_ended(21.0)
    assert rates.paces({})[DRAW].load_seconds == pytest.approx(10.0)  # again, should it start anew
    assert rates.spent(rates.paces({}), 22.0) == 0.0


SECONDS = {DRAW: 1.2, JUDGE: 0.08, ENLARGE: 3.0}
LOADS = {DRAW: 6.0, JUDGE: 1.5, ENLARGE: 2.0}


@pytest.mark.parametrize("seed", range(6))
def test_a_mixed_run_is_foreseen_from_a_tenth_of_it_on(seed: int) -> None:
    """Prompts that are tried again and enlarged, and photos, in turns, as the line works them."""
    rng, rates, turns, now = random.Random(seed), Rates(), Turns(), 0.0
    again, enlarged = rng.uniform(0, 0.5), rng.uniform(0, 0.4)
    queue: dict[Kind, deque[OpenJobs]] = {kind: deque() for kind in Kind}
    queue[DRAW].extend([OpenJobs(DRAW, 1)] * rng.randrange(200, 400))
    queue[JUDGE].extend([OpenJobs(JUDGE, 1)] * rng.randrange(0, 200))
    queue[ENLARGE].extend([OpenJobs(ENLARGE, 1, is_of_image=False)] * rng.randrange(0, 30))
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
        batch = [queue[kind].popleft() for _ in range(min(len(queue[kind]), 64 if kind is JUDGE else 4))]
        rates.begin(kind, len(batch), now)
        now += 0.0 if kind in loaded else LOADS[kind]
        loaded.add(kind)
        rates.working(now)
        for job in batch:
            now += SECONDS[kind] * rng.uniform(0.7, 1.4)
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
    wrong = []
    for at, left in said:
        if 0.1 * now <= at <= 0.9 * now:
            assert left is not None
            wrong.append(left / (now - at))
    assert max(wrong) <= 1.5 and min(wrong) >= 1 / 1.5, (min(wrong), max(wrong), now)
