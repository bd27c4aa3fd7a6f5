"""What every executor must do, on a card; a worker killed in a kernel; two workers on one card."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from hotfolder.bench.pictures import write_pictures
from hotfolder.engines.device import memory_of
from hotfolder.executors.base import Executor, only_device
from hotfolder.executors.inline import InlineExecutor
from hotfolder.executors.local import LocalExecutor
from hotfolder.types import Kind, RunnerSettings
from tests.executors.test_contract import (  # the same tests, with the executors of this file
    batch,
    cold,  # noqa: F401
    drain,
    in_work,
    pictures,  # noqa: F401
    test_a_model_that_is_not_there_fails_the_items_and_nothing_else,  # noqa: F401
    test_after_an_interrupt_the_rest_has_no_outcome,  # noqa: F401
    test_each_item_has_one_outcome_and_the_batch_ends,  # noqa: F401
    test_several_batches_one_after_the_other,  # noqa: F401
)

pytestmark = [pytest.mark.cuda, pytest.mark.slow]

SETTINGS = RunnerSettings(device="cuda", max_pixels=10_000_000, tile=128)


@pytest.fixture(params=["inline", "local"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    made: Executor = InlineExecutor(SETTINGS) if request.param == "inline" else LocalExecutor(SETTINGS, 60)
    yield made
    made.close()


def test_a_worker_killed_in_a_kernel_leaves_the_card_free(
    models: Path, tmp_path: Path, card: torch.device
) -> None:
    large = list(write_pictures(tmp_path / "large", 2, 2048, "png"))
    small = list(write_pictures(tmp_path / "small", 1, 64, "png"))
    torch.zeros(1, device=card)  # our own context is no part of what is compared
    before = memory_of(card)[0]
    executor = LocalExecutor(SETTINGS, 60)
    try:
        executor.submit(batch(Kind.UPSCALE, str(models / "random-rrdb.safetensors"), large), only_device(executor))
        deadline = time.monotonic() + 60
        told = []
        while not any(in_work(done.progress) for done in told):
            assert time.monotonic() < deadline, told
            told += executor.poll(0.05)
        pid = executor.devices()[0].pid
        assert pid is not None
        assert memory_of(card)[0] > before
        os.kill(pid, signal.SIGKILL)
        assert drain(executor)[-1].lost == "the worker was killed by SIGKILL"
        assert settles(card, before)
        executor.submit(batch(Kind.SCORE, "technical", small), only_device(executor))
        assert drain(executor)[-1].finished == 1
    finally:
        executor.close()


def test_idle_unload_gives_the_card_back(tmp_path: Path, card: torch.device) -> None:
    paths = list(write_pictures(tmp_path / "some", 2, 128, "png"))
    torch.zeros(1, device=card)
    before = memory_of(card)[0]
    executor = LocalExecutor(SETTINGS, 0.5)
    try:
        executor.submit(batch(Kind.SCORE, "technical", paths), only_device(executor))
        drain(executor)
        assert memory_of(card)[0] > before
        deadline = time.monotonic() + 20
        while executor.devices()[0].pid is not None:
            assert time.monotonic() < deadline
            executor.poll(0.1)
        assert settles(card, before)
    finally:
        executor.close()


def test_two_workers_share_a_card(tmp_path: Path) -> None:
    paths = list(write_pictures(tmp_path / "some", 4, 128, "png"))
    executors = [LocalExecutor(SETTINGS, 60) for _ in range(2)]
    try:
        found = []
        for executor in executors:
            executor.submit(batch(Kind.SCORE, "technical", paths), only_device(executor))
        for executor in executors:
            scores = {done.outcome.job_id: done.outcome.score for done in drain(executor) if done.outcome}
            assert all(score is not None for score in scores.values())
            found.append({job: score.value for job, score in scores.items() if score is not None})
        assert found[0].keys() == found[1].keys() == {0, 1, 2, 3}
        assert max(abs(found[0][job] - found[1][job]) for job in found[0]) <= 0.02
    finally:
        for executor in executors:
            executor.close()


def settles(card: torch.device, before: int) -> bool:
    """Whether the card's memory that is taken comes back to what it was, to one part in a hundred, within seconds."""
    deadline = time.monotonic() + 10
    while abs(memory_of(card)[0] - before) > 0.01 * before:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
