"""A device that fails is set aside for waits that grow."""

from __future__ import annotations

from hotfolder.core.health import IN_A_ROW, LONGEST, Health


def test_waits_grow_and_a_job_that_is_done_ends_them() -> None:
    health = Health(30.0)
    assert health.back_in(0.0) is None
    assert [health.set_aside("the driver is gone", 0.0) for _ in range(8)] == [
        30,
        60,
        120,
        240,
        480,
        960,
        1800,
        1800,
    ]
    assert health.back_in(1799.0) == 1.0
    assert health.back_in(1800.0) is None  # it is tried, and the reason is still known
    assert health.reason == "the driver is gone"
    assert health.worked()
    assert health.reason == ""
    assert not health.worked()
    assert health.set_aside("again", 0.0) == 30


def test_who_only_waits_for_memory_does_not_wait_longer_each_time() -> None:
    health = Health(30.0)
    assert [health.set_aside("occupied", 0.0, grows=False) for _ in range(3)] == [30, 30, 30]


def test_a_person_says_that_it_is_mended() -> None:
    health = Health(30.0)
    health.set_aside("hot", 0.0)
    health.try_now()
    assert health.back_in(0.0) is None


def test_it_is_out_from_the_first_time_on_until_it_works() -> None:
    health = Health(30.0)
    assert health.out_for(0.0) is None
    health.set_aside("hot", 0.0)
    health.set_aside("hot", 40.0)  # its trial failed
    assert health.out_for(100.0) == 100.0
    health.set_aside("hot", 100.0 + 2 * LONGEST)  # nothing was asked of it for so long
    assert health.out_for(101.0 + 2 * LONGEST) == 1.0
    health.try_now()
    assert health.out_for(9e9) is None
    health.set_aside("hot", 0.0)
    health.worked()
    assert health.out_for(9e9) is None


def test_it_takes_some_in_a_row() -> None:
    health = Health(30.0)
    assert [health.failed("memory") for _ in range(IN_A_ROW)] == [False, False, True]
    health.worked()
    assert not health.failed("memory")
    assert not health.failed("died")
