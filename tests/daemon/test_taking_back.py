"""What is taken back from a device, and when it is slow to a crawl."""

from __future__ import annotations

import time

import pytest

from hotfolder.core.health import Health
from hotfolder.core.heartbeat import Heartbeat
from hotfolder.daemon.device_work import DeviceWork
from hotfolder.daemon.taking_back import to_take_back
from hotfolder.types import Batch, Kind, Progress


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    return clock


def at_work(name: str, now: list[float], ids: list[int], seconds: float = 0.0) -> DeviceWork:
    """A device with these jobs; with `seconds` it has done some before, each in that time."""
    work = DeviceWork(name, Heartbeat(60, 60), Health(30))
    for jobs in ([[100, 101], [102, 103]] if seconds else []) + ([ids] if ids else []):
        work.begin(Batch(len(jobs), Kind.SCORE, "technical", ()), [], {}, goes_first=False)
        work.jobs = dict.fromkeys(jobs)  # type: ignore[assignment]
        work.submitted(None)
        work.note(Progress(jobs[0], "at work"))
        if jobs is not ids:
            for _ in jobs:
                now[0] += seconds
                work.ended(counts=True)
            work.over()
            work.jobs.clear()
    return work


def test_a_device_is_slow_to_a_crawl_only_by_its_own_pace(now: list[float]) -> None:
    fast = at_work("cuda:0", now, [], 1.0)
    slow = at_work("cpu", now, [1])
    now[0] += 50  # its first job: how long it takes here, nobody knows yet
    assert to_take_back(slow, [fast], ()) is None
    crawls = at_work("cuda:1", now, [2], 1.0)
    now[0] += 50
    found = to_take_back(crawls, [fast], ())
    assert found is not None
    assert found.jobs == [2]
    assert "slow to a crawl" in found.why
    # What was taken back for that once is left to whoever has it now.
    assert to_take_back(crawls, [fast], {2}) is None


def test_by_the_pace_of_another_device_is_only_shared(now: list[float]) -> None:
    fast = at_work("cuda:0", now, [], 1.0)
    slow = at_work("cpu", now, [1, 2, 3, 4])
    now[0] += 50
    found = to_take_back(slow, [fast], ())
    assert found is not None
    assert not found.why
    assert found.jobs == [2, 3, 4]
