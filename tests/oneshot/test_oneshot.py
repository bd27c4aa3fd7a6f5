"""Work without a queue."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from hotfolder.errors import DiskFull, NotAnImage
from hotfolder.executors.base import Device, DeviceId, Done
from hotfolder.oneshot.work import CannotWork, work
from hotfolder.types import Batch, Item, Kind, Outcome, Score

SCORE = Score(5.0, "scripted", "0" * 64, "none", "float64")


class Fragile:
    """An executor whose worker dies on some items, after it has told what it did before."""

    def __init__(self, deadly: set[int]) -> None:
        self.deadly = deadly
        self.batches: list[list[int]] = []
        self._batch: Batch | None = None

    def devices(self) -> tuple[Device, ...]:
        return (Device("cpu", "here"),)

    def submit(self, batch: Batch, device: DeviceId) -> None:
        self._batch = batch
        self.batches.append([item.job_id for item in batch.items])

    def poll(self, timeout: float) -> list[Done]:
        assert self._batch is not None
        told = []
        for item in self._batch.items:
            if item.job_id in self.deadly:
                return [*told, Done("cpu", lost="killed by SIGSEGV")]
            told.append(Done("cpu", outcome=Outcome(item.job_id, 1, score=SCORE)))
        return [*told, Done("cpu", finished=self._batch.id)]

    def cancel(self, job_ids: Collection[int], device: DeviceId) -> None: ...
    def interrupt(self) -> None: ...

    def close(self) -> None: ...


def items(count: int) -> list[Item]:
    return [Item(number, 1, None, "") for number in range(count)]


def test_a_deadly_item_is_found_and_all_others_are_done() -> None:
    executor = Fragile({5, 150})
    found = {o.job_id: o for o in work(executor, Kind.SCORE, "m", items(200), lambda _: None)}
    assert sorted(found) == list(range(200))
    failed = {number: outcome.error for number, outcome in found.items() if outcome.error}
    assert set(failed) == {5, 150}
    assert failed[5] is not None
    assert (failed[5].kind, failed[5].message) == ("worker_lost", "killed by SIGSEGV")
    assert executor.batches[1] == [5]
    assert len(executor.batches) <= 2 * 64 + 4


def test_what_is_nobodys_fault_ends_it_all() -> None:
    class Full(Fragile):
        def poll(self, timeout: float) -> list[Done]:
            return [Done("cpu", outcome=Outcome(0, 1, error=DiskFull("no space", "free some").info()))]

    with pytest.raises(CannotWork, match="no space"):
        list(work(Full(set()), Kind.SCORE, "m", items(3), lambda _: None))


def test_a_worker_that_never_starts_is_not_an_items_fault() -> None:
    class Dead(Fragile):
        def poll(self, timeout: float) -> list[Done]:
            return [Done("cpu", lost="exit code 1", started=False)]

    with pytest.raises(CannotWork, match="cannot start"):
        list(work(Dead(set()), Kind.SCORE, "m", items(3), lambda _: None))


def test_a_bad_file_is_its_own_outcome() -> None:
    class Picky(Fragile):
        def poll(self, timeout: float) -> list[Done]:
            assert self._batch is not None
            error = NotAnImage("none", "mend it").info()
            outcomes = [Outcome(i.job_id, 1, error=error if i.job_id == 1 else None) for i in self._batch.items]
            return [*(Done("cpu", outcome=outcome) for outcome in outcomes), Done("cpu", finished=self._batch.id)]

    found = list(work(Picky(set()), Kind.SCORE, "m", items(3), lambda _: None))
    assert [outcome.error is not None for outcome in found] == [False, True, False]
