"""Devices of unequal pace end together."""

from __future__ import annotations

import pytest

from hotfolder.core.sharing import Able, is_worth_loading, own_share, portion


def test_a_lone_device_takes_all() -> None:
    assert own_share(40, Able(1.0), []) == 40


def test_each_takes_by_its_pace() -> None:
    fast, slow = Able(1.0), Able(3.0)
    assert own_share(40, fast, [slow]) == 30
    assert own_share(40, slow, [fast]) == 10


def test_who_is_busy_counts_from_when_it_is_free() -> None:
    assert own_share(10, Able(1.0), [Able(1.0, free_in=6.0)]) == 8
    assert own_share(3, Able(1.0), [Able(1.0, free_in=100.0)]) == 3


def test_the_last_job_is_left_to_who_ends_it_sooner() -> None:
    assert own_share(1, Able(10.0), [Able(1.0, free_in=2.0)]) == 0
    assert own_share(1, Able(10.0), [Able(1.0, free_in=20.0)]) == 1
    assert own_share(0, Able(1.0), [Able(1.0)]) == 0


@pytest.mark.parametrize(
    ("share", "is_known", "is_all", "most"),
    [
        (0, True, True, 0),
        (0, False, True, 0),
        (1, True, True, 1),
        (2, True, True, 2),
        (9, True, True, 5),
        (9, True, False, 9),
        (9, False, False, 4),
        (9, False, True, 1),
        (1, False, True, 1),
    ],
)
def test_a_share_is_taken_in_parts(share: int, is_known: bool, is_all: bool, most: int) -> None:
    assert portion(share, is_known=is_known, is_all=is_all) == most


def test_a_model_is_loaded_where_that_pays() -> None:
    busy = [Able(1.0, free_in=1.0)]
    assert is_worth_loading(None, Able(1.0), busy, 1)
    assert is_worth_loading(5.0, Able(1.0), [], 1)
    assert not is_worth_loading(5.0, Able(1.0), busy, 8)
    assert is_worth_loading(5.0, Able(1.0), busy, 100)


def simulated(seconds: list[float], jobs: int, size: int) -> float:
    """How long devices need that ask whenever they are free; the pace of each is known after its first batch."""
    free_at, known = [0.0] * len(seconds), [False] * len(seconds)
    ends = [0.0] * len(seconds)
    while jobs:
        number = min(range(len(seconds)), key=lambda each: free_at[each])
        now = free_at[number]
        usual = [own for own, is_known in zip(seconds, known, strict=True) if is_known]
        mean = sum(usual) / len(usual) if usual else 1.0
        able = [
            Able(seconds[each] if known[each] else mean, max(0.0, free_at[each] - now))
            for each in range(len(seconds))
        ]
        others = able[:number] + able[number + 1 :]
        most = portion(own_share(jobs, able[number], others), is_known=known[number], is_all=True)
        if most == 0:  # it waits until another one asks
            free_at[number] = min(at for at in free_at if at > now) + 1e-6
            continue
        taken = min(size, most)
        jobs -= taken
        known[number] = True
        free_at[number] = ends[number] = now + taken * seconds[number]
    return max(ends)


@pytest.mark.parametrize("jobs", [24, 60, 150])
@pytest.mark.parametrize("seconds", [[1, 1, 3], [1, 2, 5], [1, 1], [1, 1.5, 2, 2.5, 8]])
@pytest.mark.parametrize("size", [4, 32])
def test_unequal_devices_end_within_15_percent_of_the_ideal(seconds: list[float], jobs: int, size: int) -> None:
    assert simulated(seconds, jobs, size) <= 1.15 * jobs / sum(1 / each for each in seconds)
