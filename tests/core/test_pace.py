"""How long work takes, learned while it is done."""

from __future__ import annotations

import random

import pytest

from hotfolder.core.pace import Pace, Rates, Work, beside, guessed, pace_of_batches
from hotfolder.core.pooled_rates import pooled_paces
from hotfolder.types import Kind

DRAW, JUDGE, ENLARGE = Kind.GENERATE, Kind.SCORE, Kind.UPSCALE


def test_what_was_never_done_is_guessed_by_what_was() -> None:
    found = guessed({DRAW: Pace(2.0)}, {DRAW: 8.0})
    assert found[JUDGE].seconds_per_job < found[DRAW].seconds_per_job == 2.0 < found[ENLARGE].seconds_per_job
    assert found[JUDGE].load_seconds < found[ENLARGE].load_seconds < found[DRAW].load_seconds == 8.0
    assert guessed({JUDGE: Pace(0.2)}, {})[DRAW] == Pace(pytest.approx(2.0))  # type: ignore[arg-type]
    assert guessed({}, {DRAW: 8.0}) == {}
    rates = Rates()
    assert rates.paces({}) == {}
    assert rates.paces({JUDGE: Pace(0.2, 1.0)}).keys() == set(Kind)


def test_the_first_job_after_the_loading_is_no_pace_for_the_others() -> None:
    """It warms the model up: that is put down to the loading."""
    rates = Rates()
    rates.begin(ENLARGE, 3, 0.0)
    rates.working(4.0)
    for end in (10.0, 11.0, 12.0):
        rates.ended(end)
    rates.over(12.0)
    assert rates.paces({})[ENLARGE] == Pace(pytest.approx(1.0))  # type: ignore[arg-type]
    rates.worker_ended(12.0)
    assert rates.paces({})[ENLARGE] == Pace(pytest.approx(1.0), pytest.approx(4 + 5))  # type: ignore[arg-type]


def test_of_a_first_batch_that_is_worked_together_each_job_has_its_part() -> None:
    rates = Rates()
    rates.begin(DRAW, 4, 0.0)
    rates.working(2.0)
    for end in (6.0, 6.1, 6.2, 6.3):
        rates.ended(end)
    rates.over(6.4)
    assert rates.paces({})[DRAW].seconds_per_job == pytest.approx(1.1)
    rates.begin(DRAW, 4, 6.4)
    for _ in range(4):
        rates.ended(8.4)
    rates.over(8.4)
    assert rates.paces({})[DRAW].seconds_per_job == pytest.approx(0.5)  # the first batch had warmed the model up


def test_while_what_is_worked_together_ends_one_after_the_other_the_pace_stays() -> None:
    rates = Rates()
    for start in (0.0, 4.0):
        rates.begin(DRAW, 4, start)
        rates.working(start)
        for _ in range(4):
            rates.ended(start + 4.0)
        rates.over(start + 4.0)
    rates.begin(DRAW, 4, 8.0)
    told = []
    for end in (12.0, 12.1, 12.2, 12.3):  # in between the pictures are encoded
        rates.ended(end)
        told.append(rates.paces({})[DRAW].seconds_per_job)
    assert told == [pytest.approx(1.0, abs=0.05)] * 4
    rates.over(12.3)
    rates.begin(DRAW, 4, 12.3)
    for end in (15.3, 18.3):  # now one by one, and slower
        rates.ended(end)
    assert rates.paces({})[DRAW].seconds_per_job > 1.3


def test_the_pace_of_earlier_batches_is_the_usual_one_and_the_slowest_one_loaded_the_model() -> None:
    pace = pace_of_batches(ENLARGE, [Work(4, 0, seconds) for seconds in (18.0, 8.0, 8.2, 7.8)])
    assert pace == Pace(pytest.approx(2.0, abs=1e-6), pytest.approx(10.0))  # type: ignore[arg-type]
    assert pace_of_batches(JUDGE, [Work(4, 0, 8.0)]) == Pace(2.0)
    assert pace_of_batches(DRAW, []) is None


def test_loading_is_told_apart_and_gaps_belong_to_the_batch_before() -> None:
    rates = Rates()
    rates.begin(DRAW, 2, 0.0)
    assert rates.spent({DRAW: Pace(1.0, 8.0)}, 6.0) == 6.0  # of its loading
    rates.working(10.0)
    rates.ended(13.0)
    assert rates.spent(rates.paces({}), 14.0) == pytest.approx(1.0)
    rates.ended(15.0)
    rates.over(15.0)
    assert rates.paces({})[DRAW] == Pace(pytest.approx(2.0))  # type: ignore[arg-type]
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


def test_jobs_are_told_from_megapixels_by_batches_of_different_sizes() -> None:
    rng = random.Random(1)
    batches = []
    for _ in range(20):
        jobs, megapixels = rng.randrange(1, 9), rng.choice((0.02, 0.1, 1.0)) * 4
        batches.append(Work(jobs, megapixels, (0.3 * jobs + 1.5 * megapixels) * rng.uniform(0.9, 1.1)))
    found = beside(batches, 1.0)
    for _ in range(20):
        found = beside(batches, found)
    assert found == pytest.approx(0.3 / 1.5, rel=0.25)
    alike = [Work(4, 2.0, seconds) for seconds in (3.0, 3.2, 2.8)]
    assert beside(alike, 0.7) == pytest.approx(0.7)  # nothing tells what is due to which
    lost = [*batches, Work(0, 0.0, 60.0)]  # nothing has ended in it: nobody knows what took the time
    assert beside(lost, 0.2) == beside(batches, 0.2)
    assert beside([], 0.7) == beside([Work(4, 0.0, 3.0)], 0.7) == beside([Work(4, 1.0, 0.0)], 0.7) == 0.7


@pytest.mark.parametrize(("per_job", "per_megapixel"), [(1.0, 0.0), (0.0, 1.0)])
def test_where_only_one_of_them_counts_it_is_found(per_job: float, per_megapixel: float) -> None:
    batches = [Work(4, size, 4 * per_job + size * per_megapixel) for size in (0.1, 4.0) * 10]
    found = beside(batches, 1.0)
    for _ in range(10):
        found = beside(batches, found)
    assert found > 10 if per_job else found < 0.01


def _enlarge(rates: Rates, now: float, megapixels: float, each: float, jobs: int = 4) -> float:
    rates.begin(ENLARGE, jobs, now)
    rates.working(now)
    for _ in range(jobs):
        now += each
        rates.ended(now, megapixels)
    rates.over(now)
    return now


def test_small_pictures_are_foreseen_by_the_pace_of_large_ones() -> None:
    rates = Rates()
    now = _enlarge(rates, 0.0, 0.08, 0.136)
    now = _enlarge(rates, now, 0.08, 0.136)
    pace = rates.paces({})[ENLARGE]
    assert (pace.seconds_per_job, pace.megapixels) == (pytest.approx(0.136), pytest.approx(0.08))
    assert pace.seconds(1, 0.016) == pytest.approx(0.034, rel=0.2)
    for _ in range(10):
        now = _enlarge(rates, now, 0.016, 0.03)
        now = _enlarge(rates, now, 0.08, 0.136)
    pace = rates.paces({})[ENLARGE]
    assert pace.seconds(1, 0.016) == pytest.approx(0.03, rel=0.1)
    assert pace.seconds(1, 0.08) == pytest.approx(0.136, rel=0.1)
    assert rates.measured(ENLARGE) == pytest.approx(pace.seconds_per_job)


def test_what_earlier_runs_told_of_sizes_is_where_this_run_begins() -> None:
    """Pictures of one size tell nothing of others: then it stays as it was."""
    batches = [Work(4, 4 * size, 4 * (0.5 + 0.1 * size)) for size in (0.1, 20.0) * 10]
    earlier = pace_of_batches(JUDGE, [*batches, Work(4, 0.4, 9.0)])
    assert earlier is not None
    assert earlier.load_seconds == pytest.approx(9.0 - 4 * 0.51, rel=0.1)
    rates = Rates()
    for start in (0.0, 1.02, 2.04):
        rates.begin(JUDGE, 2, start)
        rates.working(start)
        rates.ended(start + 0.51, 0.1)
        rates.ended(start + 1.02, 0.1)
        rates.over(start + 1.02)
        # Others ask in between, who do not know of earlier runs.
        assert rates.measured(JUDGE) == pytest.approx(0.51)
        assert rates.paces({})[JUDGE].seconds_per_job == pytest.approx(0.51)
    assert rates.paces({JUDGE: earlier})[JUDGE].seconds(1, 20.0) == pytest.approx(2.5, rel=0.25)


def test_the_first_job_that_warms_the_model_up_is_left_out_with_its_picture() -> None:
    rates = Rates()
    rates.begin(ENLARGE, 3, 0.0)
    rates.working(2.0)
    for end, megapixels in ((10.0, 8.0), (11.0, 1.0), (12.0, 1.0)):
        rates.ended(end, megapixels)
    rates.over(12.0)
    pace = rates.paces({})[ENLARGE]
    assert (pace.seconds_per_job, pace.megapixels) == (pytest.approx(1.0), pytest.approx(1.0))


def _draw(rates: Rates, now: float, megapixels: float, jobs: int = 4) -> float:
    """Half a second for each picture, and a tenth for each megapixel in each step."""
    rates.begin(DRAW, jobs, now, jobs * megapixels)
    rates.working(now)
    for _ in range(jobs):
        now += 0.5 + 0.1 * megapixels
        rates.ended(now, megapixels)
    rates.over(now)
    return now


def test_what_is_drawn_in_many_steps_is_foreseen_by_what_was_drawn_in_few() -> None:
    rates = Rates()
    now = _draw(rates, 0.0, 4.0)
    for steps in (4.0, 50.0) * 10:
        now = _draw(rates, now, steps)
        pace = rates.paces({})[DRAW]
    assert pace.seconds(1, 4.0) == pytest.approx(0.9, rel=0.15)
    assert pace.seconds(1, 50.0) == pytest.approx(5.5, rel=0.05)


def test_of_a_long_batch_in_work_more_has_been_had_already() -> None:
    rates = Rates()
    now = _draw(rates, _draw(rates, 0.0, 4.0), 4.0)
    paces = {DRAW: Pace(0.5, 0.0, 0.1, 4.0)}
    rates.begin(DRAW, 4, now, 4 * 50.0)
    assert rates.spent(paces, now + 10.0) == pytest.approx(10.0)
    rates.ended(now + 12.0, 50.0)
    assert rates.spent(paces, now + 100.0) == pytest.approx(3 * 5.5)  # no more than what is left of it
    rates.over(now + 100.0)
    rates.begin(DRAW, 4, now + 100.0)  # nobody knows how many steps
    assert rates.spent(paces, now + 200.0) == pytest.approx(4 * 0.9)


def test_a_job_of_which_no_size_is_known_is_taken_for_one_like_the_others() -> None:
    rates = Rates()
    now = _enlarge(rates, 0.0, 0.08, 0.1)
    now = _enlarge(rates, now, 0.08, 0.1)
    now = _enlarge(rates, now, 0.0, 0.1)  # files that could not be read, for instance
    assert rates.paces({})[ENLARGE].megapixels == pytest.approx(0.08)


def test_of_several_devices_those_count_that_have_done_it() -> None:
    """A guess of one that has not is no pace, and earlier runs are asked where none has."""
    able, other = Rates(), Rates()
    now = _enlarge(able, 0.0, 12.0, 12.0)
    _enlarge(able, now, 12.0, 12.0)
    other.begin(JUDGE, 1, 0.0)
    other.working(0.0)
    other.ended(0.1, 1.0)
    other.over(0.1)
    found = pooled_paces([able, other], {ENLARGE: Pace(7.0), DRAW: Pace(3.0)})
    assert (found[ENLARGE].seconds_per_job, found[ENLARGE].megapixels) == (pytest.approx(6.0), pytest.approx(12.0))
    assert found[DRAW].seconds_per_job == pytest.approx(1.5)  # two of them
    assert found[JUDGE].seconds_per_job == pytest.approx(0.05)
