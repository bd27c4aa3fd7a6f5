"""The executor without models."""

from __future__ import annotations

import pytest

from hotfolder.errors import BadInput
from hotfolder.executors.stand_in import StandInExecutor
from hotfolder.types import Batch, Item, Kind, Outcome

BATCH = Batch(5, Kind.SCORE, "m", tuple(Item(number, 1, f"{number}.png", "") for number in range(4)))


def ended(executor: StandInExecutor) -> list[int]:
    return [done.outcome.job_id for done in executor.poll(0) if done.outcome]


def test_each_item_comes_to_what_the_function_says() -> None:
    seen: list[Kind] = []

    def answer(kind: Kind, item: Item) -> Outcome:
        seen.append(kind)
        return Outcome(item.job_id, item.claim, error=BadInput("no").info() if item.job_id == 2 else None)

    executor = StandInExecutor(answer)
    assert executor.capacity() == {"cpu": 1}
    assert list(executor.poll(0)) == []
    executor.submit(BATCH, "cpu")
    assert executor.capacity() == {"cpu": 0}
    told = executor.poll(0)
    assert executor.capacity() == {"cpu": 1}
    outcomes = [done.outcome for done in told if done.outcome]
    assert [outcome.job_id for outcome in outcomes] == [0, 1, 2, 3]
    assert [outcome.error is None for outcome in outcomes] == [True, True, False, True]
    assert told[-1].finished == 5
    assert seen == [Kind.SCORE] * 4


def test_a_text_is_how_the_worker_died() -> None:
    executor = StandInExecutor(lambda _, item: "boom" if item.job_id == 1 else Outcome(item.job_id, 1))
    executor.submit(BATCH, "cpu")
    told = executor.poll(0)
    assert [done.outcome.job_id for done in told if done.outcome] == [0]
    assert told[-1].lost == "boom"
    assert executor.capacity() == {"cpu": 1}


@pytest.mark.parametrize(("when", "left"), [("interrupt", [0, 1]), ("cancel", [0, 1, 3])])
def test_what_is_stopped_in_the_middle_has_no_outcome(when: str, left: list[int]) -> None:
    def answer(_: Kind, item: Item) -> Outcome:
        if item.job_id == 1:
            executor.interrupt() if when == "interrupt" else executor.cancel([2], "cpu")
        return Outcome(item.job_id, item.claim)

    executor = StandInExecutor(answer)
    executor.submit(BATCH, "cpu")
    assert ended(executor) == left
    executor.submit(Batch(6, Kind.SCORE, "m", BATCH.items[2:]), "cpu")
    assert ended(executor) == [2, 3]  # it was about the batch before
