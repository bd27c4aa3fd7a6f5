"""What every executor must do, whoever does the work: on any of its devices, here the last one."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hotfolder.demo.pictures import draw_landscape
from hotfolder.errors import EnvironmentTrouble
from hotfolder.executors.base import DeviceId, Done, Executor
from hotfolder.executors.inline import InlineExecutor
from hotfolder.executors.local import LocalExecutor
from hotfolder.executors.local_devices import local_devices
from hotfolder.executors.ray_executor import RayExecutor
from hotfolder.types import Batch, FailureClass, Item, Kind, Outcome, Progress, RunnerSettings
from tests.support.clusters import cluster

SETTINGS = RunnerSettings(device="cpu", max_pixels=10_000_000, tile=128)


THREE = ("cpu", "cpu", "cpu")


RAY = ("ray", "ray without a shared root")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a cluster of one node."""
    with cluster() as (_, made):
        yield made


@pytest.fixture(
    scope="module",
    params=["inline", "local", *(pytest.param(name, marks=pytest.mark.slow) for name in ("local of three", *RAY))],
)
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Executor | None]:
    """One for all tests: to start a worker takes longer than most of them. None: each test has its own."""
    made: Executor | None = None
    if request.param in RAY:
        # With a shared root: it is where the tests have their folders.
        root = tmp_path_factory.getbasetemp() if request.param == "ray" else None
        to, probe = request.getfixturevalue("address"), root and root / "probe"
        made = RayExecutor(SETTINGS, 60, to, root=root, probe=probe, wait_seconds=300)
    elif request.param == "local":
        made = LocalExecutor(SETTINGS, 60)
    elif request.param == "local of three":
        made = LocalExecutor(SETTINGS, 60, local_devices(THREE, "auto", cards=0, cores=3))
    yield made
    if made is not None:
        made.close()


@pytest.fixture
def executor(kept: Executor | None) -> Iterator[Executor]:
    """Whose worker may have worked for another test."""
    made: Executor = kept or InlineExecutor(SETTINGS)
    yield made
    if kept is None:
        made.close()
    elif not made.capacity()[
        last(made)
    ]:  # a test that failed has left something in work: the next has no part in it
        made.abandon(last(made), "a test left it")
        drain(made)


@pytest.fixture
def cold(executor: Executor) -> Iterator[Executor]:
    """Without a worker, before and after: one that was interrupted is at its end."""
    unload(executor)
    yield executor
    unload(executor)


def unload(executor: Executor) -> None:
    """Waits until its worker is gone, which tells nothing any more. Others are at work meanwhile."""
    began = time.monotonic()
    executor.unload(last(executor))
    assert isinstance(executor, InlineExecutor) or time.monotonic() - began < 4
    while not executor.capacity()[last(executor)]:
        assert executor.poll(0.05) == []
        assert time.monotonic() - began < 300
    assert isinstance(executor, InlineExecutor) or executor.devices()[-1].pid is None


def last(executor: Executor) -> DeviceId:
    """The device that is given the work."""
    return executor.devices()[-1].id


def submit(executor: Executor, batch: Batch) -> None:
    executor.submit(batch, last(executor))


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    for number, path in enumerate(paths):
        draw_landscape(number).save(path)
    paths[1].write_bytes(b"no picture at all")
    return paths


def batch(kind: Kind, model: str, paths: list[Path], batch_id: int = 1) -> Batch:
    items = tuple(
        Item(number, 7, str(path), str(path.parent / "staging" / str(number))) for number, path in enumerate(paths)
    )
    return Batch(batch_id, kind, model, items)


def long_batch(paths: list[Path], batch_id: int = 1) -> Batch:
    """One that is in work still when something is done to its worker, however late that comes."""
    return batch(Kind.UPSCALE, "x4-compact", [paths[0]] * 60, batch_id)


def drain(executor: Executor, seconds: float = 300) -> list[Done]:
    told: list[Done] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        told += executor.poll(0.1)
        if any(done.finished is not None or done.lost is not None for done in told):
            return told
    raise AssertionError(f"no end within {seconds} s: {told}")


# What wants no worker before it, or leaves none, stands where there is none: so that few are started.


def test_several_batches_one_after_the_other(executor: Executor, pictures: list[Path]) -> None:
    unload(executor)
    for number in (1, 2):
        submit(executor, batch(Kind.UPSCALE, "x4-compact", pictures[2:3], number))
        told = drain(executor)
        (outcome,) = [done.outcome for done in told if done.outcome]
        assert outcome.staged is not None
        assert (outcome.staged.width, outcome.staged.height) == (1280, 960)
        assert Path(outcome.staged.path).is_relative_to(pictures[2].parent / "staging" / "0")
        # Turns are reckoned by it: a model that is there still is not said to be loaded.
        assert any(done.progress.loading for done in told if done.progress) == (number == 1)


def test_each_item_has_one_outcome_and_the_batch_ends(executor: Executor, pictures: list[Path]) -> None:
    free = dict.fromkeys((device.id for device in executor.devices()), 1)
    assert executor.capacity() == free
    submit(executor, batch(Kind.SCORE, "technical", pictures))
    assert executor.capacity() == {**free, last(executor): 0}
    told = drain(executor)
    assert executor.capacity() == free
    assert {done.device for done in told} == {last(executor)}
    outcomes = [done.outcome for done in told if done.outcome]
    assert sorted(outcome.job_id for outcome in outcomes) == [0, 1, 2, 3]
    assert {outcome.claim for outcome in outcomes} == {7}
    by_id = {outcome.job_id: outcome for outcome in outcomes}
    error = by_id[1].error
    assert error is not None
    assert (error.kind, error.failure) == ("not_an_image", FailureClass.BAD_INPUT)
    for good in (0, 2, 3):
        score, source = by_id[good].score, by_id[good].source
        assert score is not None
        assert 1 <= score.value <= 10
        assert source is not None
        assert (source.width, source.height) == (320, 240)
    assert told[-1].finished == 1
    assert any(done.progress for done in told)


def test_a_model_that_is_not_there_fails_the_items_and_nothing_else(
    executor: Executor, pictures: list[Path]
) -> None:
    submit(executor, batch(Kind.SCORE, "laion-v2", pictures))
    errors = [done.outcome.error for done in drain(executor) if done.outcome]
    assert [error.kind for error in errors if error] == ["model_missing"] * 4
    submit(executor, batch(Kind.SCORE, "technical", pictures[:1]))
    (outcome,) = [done.outcome for done in drain(executor) if done.outcome]
    assert outcome.score is not None


def in_work(event: object) -> bool:
    """Whether this tells of an image of which a part is done."""
    return isinstance(event, Progress) and event.stage == "upscaling" and 0 < event.step < event.steps


@pytest.mark.slow
def test_what_is_cancelled_has_no_outcome_until_it_comes_again(executor: Executor, pictures: list[Path]) -> None:
    worker = None
    if not isinstance(executor, InlineExecutor):  # a worker listens once it is there
        submit(executor, batch(Kind.SCORE, "technical", pictures[:1]))
        drain(executor)
        worker = executor.devices()[-1].pid
        assert worker is not None
        os.kill(worker, signal.SIGSTOP)  # it hears of both before it begins
    told: list[Done] = []
    try:
        submit(executor, batch(Kind.UPSCALE, "x4-compact", pictures, 2))
        executor.cancel([2, 3], last(executor))
        began = time.monotonic()
        while isinstance(executor, RayExecutor) and time.monotonic() - began < 1:  # by way of a link and a host
            told += executor.poll(0.1)
    finally:
        if worker is not None:
            os.kill(worker, signal.SIGCONT)
    told += drain(executor)
    ended = {done.outcome.job_id for done in told if done.outcome and done.outcome.error is None}
    assert ended == {0}
    submit(executor, batch(Kind.SCORE, "technical", pictures, 3))
    assert len([done for done in drain(executor) if done.outcome]) == len(pictures)


def test_of_a_device_that_is_gone_nothing_is_done(executor: Executor, pictures: list[Path]) -> None:
    with pytest.raises(EnvironmentTrouble, match="gone"):
        executor.submit(batch(Kind.SCORE, "technical", pictures), "gone")
    executor.cancel([1], "gone")
    executor.unload("gone")
    executor.abandon("gone", "it hangs")
    assert executor.poll(0) == []


@pytest.mark.slow
def test_after_it_was_unloaded_it_works_as_before(executor: Executor, pictures: list[Path]) -> None:
    for number in (1, 2):
        submit(executor, batch(Kind.SCORE, "technical", pictures[:1], number))
        told = drain(executor)
        assert [done.outcome.error for done in told if done.outcome] == [None]
        # Of the first one it may be there, because of another test.
        assert number == 1 or any(done.progress.loading for done in told if done.progress)
        unload(executor)


def test_after_an_interrupt_the_rest_has_no_outcome(cold: Executor, pictures: list[Path]) -> None:
    cold.interrupt()
    submit(cold, batch(Kind.SCORE, "technical", pictures[:1]))
    drain(cold)
    cold.interrupt()
    submit(cold, batch(Kind.UPSCALE, "x4-compact", pictures))
    told = drain(cold)
    assert len([done for done in told if done.outcome]) < len(pictures)
    assert told[-1].finished == 1


def interrupted(executor: Executor, monkeypatch: pytest.MonkeyPatch) -> list[Done]:
    """All that is told of the batch in work, when it is interrupted in the middle of an image."""
    if isinstance(executor, InlineExecutor):  # works while it is polled, and tells it all afterwards
        real = executor._runner.work

        def work(batch: Batch, emit: Callable[[Outcome | Progress], None], *rest: Any) -> None:
            def tell(event: Outcome | Progress) -> None:
                emit(event)
                if in_work(event):
                    executor.interrupt()

            real(batch, tell, *rest)

        monkeypatch.setattr(executor._runner, "work", work)
        return drain(executor)
    told: list[Done] = []
    deadline = time.monotonic() + 300
    while not any(in_work(done.progress) for done in told):
        assert time.monotonic() < deadline, told
        told += executor.poll(0.1)
    executor.interrupt()
    return told + drain(executor)


def test_an_interrupt_lets_the_image_in_work_end_and_begins_few_others(
    cold: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(24)]
    for number, path in enumerate(paths):
        draw_landscape(number).save(path)
    submit(cold, batch(Kind.UPSCALE, "x4-compact", paths))
    told = interrupted(cold, monkeypatch)
    begun = {done.progress.job_id for done in told if done.progress and in_work(done.progress)}
    ended = {done.outcome.job_id: done.outcome for done in told if done.outcome}
    assert begun
    assert begun <= ended.keys()  # nothing that was begun is thrown away
    assert len(ended) < len(paths)
    for outcome in ended.values():
        assert outcome.error is None and outcome.staged is not None
        with Image.open(outcome.staged.path) as made:
            made.load()
            assert made.size == (1280, 960)
    assert told[-1].finished == 1
    assert cold.capacity()[last(cold)] == 1


@pytest.mark.slow
def test_a_worker_that_is_ended_after_its_batch_takes_no_other_with_it(pictures: list[Path]) -> None:
    executor = LocalExecutor(SETTINGS, 60)
    try:
        submit(executor, batch(Kind.SCORE, "technical", pictures[:1]))
        assert drain(executor)[-1].finished == 1
        executor.abandon(last(executor), "it hangs")
        submit(executor, batch(Kind.SCORE, "technical", pictures[:1], 2))
        told = drain(executor)
        assert told[-1].finished == 2
        submit(executor, long_batch(pictures, 3))
        executor.abandon(last(executor), "it hangs")
        told = drain(executor)
        assert (told[-1].lost, told[-1].batch_id) == ("it hangs", 3)
    finally:
        executor.close()


def test_a_killed_worker_is_reported_and_replaced(pictures: list[Path]) -> None:
    executor = LocalExecutor(SETTINGS, 60)
    try:
        submit(executor, long_batch(pictures))
        (device,) = executor.devices()
        assert device.pid is not None
        os.kill(device.pid, signal.SIGKILL)
        told = drain(executor)
        assert told[-1].lost == "the worker was killed by SIGKILL"
        submit(executor, batch(Kind.SCORE, "technical", pictures[:1]))
        assert drain(executor)[-1].finished == 1
    finally:
        executor.close()
    assert executor.devices()[0].pid is None
