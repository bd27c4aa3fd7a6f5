"""Several workers of one machine: what each gets of it, and that none takes another with it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hotfolder.executors import local_devices as module
from hotfolder.executors.base import Done
from hotfolder.executors.limits import machine_memory
from hotfolder.executors.local import LocalExecutor
from hotfolder.executors.local_devices import count_cards, local_devices
from hotfolder.types import Kind, RunnerSettings
from tests.executors.test_contract import SETTINGS, batch, long_batch, pictures  # noqa: F401


def test_one_device_is_worked_as_it_always_was() -> None:
    for device, cards, named in (
        ("auto", 0, "cpu"),
        ("auto", 1, "cuda:0"),
        ("cuda:1", 4, "cuda:1"),
        ("cpu", 4, "cpu"),
    ):
        (found,) = local_devices("auto", device, cards, cores=8)
        assert found.id == named
        assert dict(found.environment) == {}
        assert not found.is_pinned
        assert found.settings(RunnerSettings(device=device)) == RunnerSettings(device=device)


def test_auto_takes_every_card_and_each_worker_sees_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    found = local_devices("auto", "auto", cards=3, cores=12)
    assert [each.id for each in found] == ["cuda:0", "cuda:1", "cuda:2"]
    assert [each.environment["CUDA_VISIBLE_DEVICES"] for each in found] == ["0", "1", "2"]
    assert [each.settings(RunnerSettings(decode_threads=0)).decode_threads for each in found] == [4, 4, 4]
    assert all(each.settings(RunnerSettings()).memory_limit_mb == 0 for each in found)
    assert all("OMP_NUM_THREADS" not in each.environment for each in found)


def test_cards_are_counted_among_those_that_are_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-abc")
    found = local_devices(("cuda:1", "cuda", "cuda:7"), "auto", cards=0, cores=4)
    assert [each.id for each in found] == ["cuda:1", "cuda:0", "cuda:7"]
    # One that is not there must not become all of them.
    assert [each.environment["CUDA_VISIBLE_DEVICES"] for each in found] == ["GPU-abc", "5", "-1"]


def test_workers_on_the_cpu_share_cores_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    found = local_devices(("cpu", "cpu", "cuda:0"), "auto", cards=1, cores=8)
    assert [each.id for each in found] == ["cpu-1", "cpu-2", "cuda:0"]
    assert [each.environment.get("OMP_NUM_THREADS") for each in found] == ["4", "4", None]
    assert found[0].environment["CUDA_VISIBLE_DEVICES"] == ""
    own = found[0].settings(RunnerSettings(decode_threads=0))
    assert own.decode_threads == 2
    assert own.memory_limit_mb << 20 <= machine_memory() * 0.45
    # What a person says holds for each worker.
    said = RunnerSettings(decode_threads=7, memory_limit_mb=900)
    assert (found[0].settings(said).decode_threads, found[0].settings(said).memory_limit_mb) == (7, 900)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert "OMP_NUM_THREADS" not in local_devices(("cpu", "cpu"), "auto", cards=0, cores=8)[0].environment


def test_without_a_driver_nobody_is_asked_for_cards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "_DRIVERS", (str(tmp_path / "none"),))
    monkeypatch.setattr(module.subprocess, "run", lambda *_, **__: pytest.fail("it was asked"))
    assert count_cards() == 0


@pytest.fixture
def two() -> Iterator[LocalExecutor]:
    made = LocalExecutor(SETTINGS, 1.0, local_devices(("cpu", "cpu"), "auto", cards=0, cores=2))
    yield made
    made.close()


@pytest.mark.slow
def test_two_at_work_one_killed_and_both_let_go_when_idle(two: LocalExecutor, pictures: list[Path]) -> None:  # noqa: F811
    ids = [device.id for device in two.devices()]
    assert ids == ["cpu-1", "cpu-2"]
    two.submit(long_batch(pictures, 0), ids[0])
    two.submit(batch(Kind.SCORE, "technical", pictures, 1), ids[1])
    pids = [device.pid for device in two.devices()]
    assert None not in pids and len(set(pids)) == 2
    assert pids[0] is not None
    os.kill(pids[0], signal.SIGKILL)
    told: list[Done] = []
    deadline = time.monotonic() + 300
    while not any(done.finished == 1 for done in told):
        assert time.monotonic() < deadline, told
        told += two.poll(0.1)
    lost = [done for done in told if done.lost]
    assert [(done.device, done.lost) for done in lost] == [("cpu-1", "the worker was killed by SIGKILL")]
    outcomes = [done for done in told if done.outcome]
    assert {done.device for done in outcomes} == {"cpu-2"}
    assert len(outcomes) == len(pictures)
    assert two.capacity() == {"cpu-1": 1, "cpu-2": 1}
    while any(device.pid for device in two.devices()):
        assert time.monotonic() < deadline
        two.poll(0.1)
