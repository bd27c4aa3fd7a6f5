"""What is lost with a node, and what the daemon is told of a cluster that is not there."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from hotfolder.errors import DamagedOnTheWay, EnvironmentTrouble
from hotfolder.executors import ray_executor, ray_host
from hotfolder.executors.base import Device, Done
from hotfolder.executors.carrying import Baggage, clear_left_behind, put_output, read_inputs
from hotfolder.executors.ray_executor import RayExecutor
from hotfolder.executors.ray_host import RayHost
from hotfolder.executors.ray_wire import why_unfit
from hotfolder.types import Item, Kind, Outcome, Staged
from tests.executors.test_contract import SETTINGS, batch, drain, long_batch, pictures  # noqa: F401 - a fixture
from tests.support.clusters import NODE, cluster, skip_without_ray
from tests.support.live import wait_for


@pytest.fixture(scope="module")
def nodes() -> Iterator[tuple[Any, str]]:
    with cluster() as made:
        yield made


@pytest.fixture(scope="module")
def executor(nodes: tuple[Any, str]) -> Iterator[RayExecutor]:
    made = RayExecutor(SETTINGS, 60, nodes[1], wait_seconds=300)
    yield made
    made.close()


def until(executor: RayExecutor, holds: Callable[[list[Done]], object], seconds: float = 300) -> list[Done]:
    """All that is told until something holds."""
    told: list[Done] = []
    deadline = time.monotonic() + seconds
    while not holds(told):
        assert time.monotonic() < deadline, told
        told += executor.poll(0.1)
    return told


def fit(executor: RayExecutor) -> list[Device]:
    return [device for device in executor.devices() if not device.unfit]


@pytest.mark.slow
def test_a_host_is_killed_and_its_work_is_lost_by_no_fault_of_a_file(
    executor: RayExecutor,
    pictures: list[Path],  # noqa: F811
) -> None:
    (device,) = executor.devices()
    assert device.id == f"{device.machine}/cpu"
    executor.submit(long_batch(pictures), device.id)
    until(executor, lambda told: executor.devices()[0].pid)
    worker = executor.devices()[0].pid
    assert worker is not None
    os.kill(psutil.Process(worker).ppid(), signal.SIGKILL)
    told = drain(executor)
    assert told[-1].lost is not None and not told[-1].started
    assert executor.devices()[0].unfit == told[-1].lost
    until(executor, lambda told: not psutil.pid_exists(worker))  # its models do not outlive it
    until(executor, lambda told: fit(executor))
    executor.submit(batch(Kind.SCORE, "technical", pictures[:1], 2), device.id)
    assert drain(executor)[-1].finished == 2


@pytest.mark.slow
def test_a_node_comes_and_goes(
    executor: RayExecutor,
    nodes: tuple[Any, str],
    pictures: list[Path],  # noqa: F811
) -> None:
    (first,) = executor.devices()
    added = nodes[0].add_node(**NODE)
    until(executor, lambda told: len(fit(executor)) == 2)
    (second,) = (device for device in executor.devices() if device.id != first.id)
    assert second.id == f"{second.machine}-2/cpu"
    executor.submit(long_batch(pictures), second.id)
    nodes[0].remove_node(added, allow_graceful=False)
    told = until(executor, lambda told: any(done.lost for done in told))
    (lost,) = (done for done in told if done.lost)
    assert (lost.device, lost.started) == (second.id, False)
    until(executor, lambda told: [device.id for device in executor.devices()] == [first.id])
    assert executor.capacity() == {first.id: 1}


@pytest.mark.slow
def test_the_link_is_killed_and_made_anew(executor: RayExecutor, pictures: list[Path]) -> None:  # noqa: F811
    (device,) = fit(executor)
    executor.submit(long_batch(pictures), device.id)
    assert executor._process is not None
    executor._process.kill()
    told = drain(executor)
    assert told[-1].lost is not None and not told[-1].started
    (instead,) = executor.devices()
    assert (instead.id, instead.unfit) == ("ray", told[-1].lost)
    assert executor.capacity() == {"ray": 0}
    until(executor, lambda told: [each.id for each in fit(executor)] == [device.id])


@pytest.mark.slow
def test_a_cluster_that_is_not_there_is_said(tmp_path: Path) -> None:
    skip_without_ray()
    executor = RayExecutor(SETTINGS, 60, "127.0.0.1:1", probe=tmp_path / "probe", root=tmp_path, wait_seconds=1)
    try:
        (device,) = executor.devices()
        assert device.unfit
        assert executor.capacity() == {"ray": 0}
        assert (tmp_path / "probe").is_file()
    finally:
        executor.close()
    assert not (tmp_path / "probe").exists()


def test_a_link_that_reads_nothing_does_not_hold_up_the_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is given up, and what its devices had goes back."""
    deaf = tmp_path / "deaf"
    deaf.write_text("#!/bin/sh\nexec sleep 60\n")
    deaf.chmod(0o755)
    monkeypatch.setattr(ray_executor, "_TAKE_SECONDS", 1)
    monkeypatch.setattr(ray_executor, "_LEAVE_SECONDS", 0.1)
    monkeypatch.setattr(sys, "executable", str(deaf))
    executor = RayExecutor(SETTINGS, 60, "auto", wait_seconds=0.05)
    try:
        assert executor._connection is not None
        executor._devices = [Device("box/cpu", "box"), Device("hut/cpu", "hut")]
        executor.submit(batch(Kind.SCORE, "technical", []), "box/cpu")
        many = batch(Kind.SCORE, "technical", [Path(f"/{number:0200}.png") for number in range(4000)], 2)
        began = time.monotonic()
        with pytest.raises(EnvironmentTrouble):
            executor.submit(many, "hut/cpu")
        assert time.monotonic() - began < 40  # not until the other end is gone
        assert [(done.device, done.started) for done in executor.poll(0)] == [("box/cpu", False)]
    finally:
        executor.close()


def test_programs_that_differ_are_both_named() -> None:
    ours = {"hotfolder": "2", "python": "3.12.1", "ray": "2.60.0"}
    assert why_unfit(ours, {**ours, "sees_root": True}, "box") == ""
    assert why_unfit(ours, {**ours, "python": "3.12.4"}, "box") == "Python is 3.12.4 on box and 3.12.1 here"


def test_files_go_there_and_back(tmp_path: Path, pictures: list[Path]) -> None:  # noqa: F811
    init = tmp_path / "begin.png"
    init.write_bytes(pictures[3].read_bytes())
    item = Item(3, 7, str(pictures[0]), str(tmp_path / "staging/3/7"), {"init_file": str(init), "steps": 4})
    inputs = read_inputs(item, 2**20)
    baggage = Baggage()
    there = baggage.unpack(item, {role: source.data for role, source in inputs.items()})
    assert there.source is not None and Path(there.source).name == pictures[0].name
    assert Path(there.source).read_bytes() == pictures[0].read_bytes()
    assert Path(there.params["init_file"]).read_bytes() == init.read_bytes()
    made = Path(there.staging) / "output.png"
    made.parent.mkdir(parents=True)
    made.write_bytes(b"a picture")
    outcome, data = baggage.pack(Outcome(3, 7, staged=Staged(str(made), _SHA, 1, 1)))
    assert data == b"a picture" and not made.exists()
    put = put_output(outcome, item, data, None)
    assert put.staged is not None
    assert put.staged.path == str(tmp_path / "staging/3/7/output.png")
    assert Path(put.staged.path).read_bytes() == b"a picture"
    with pytest.raises(DamagedOnTheWay):
        put_output(outcome, item, b"another picture", None)
    baggage.close()
    assert not Path(there.staging).parent.parent.exists()


def test_what_killed_hosts_have_left_is_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    alive = Baggage()
    left, fresh, other = (tmp_path / name for name in ("hotfolder-node-a", "hotfolder-node-b", "hotfolder-x"))
    for folder in (left, fresh, other):
        (folder / "3").mkdir(parents=True)
    (tmp_path / "hotfolder-node-link").symlink_to(other)
    long_ago = time.time() - 3600
    for folder in (left, other, alive._folder):
        os.utime(folder, (long_ago, long_ago))
    clear_left_behind()
    assert not left.exists()
    assert fresh.is_dir() and (other / "3").is_dir() and alive._folder.is_dir()
    alive.close()
    assert not alive._folder.exists()
    alive.close()  # as often as one likes


class Clock:
    """What a module has in the place of `time`: nothing of it passes by itself. `looks`: how often it was slept."""

    def __init__(self) -> None:
        self.now, self.looks = 1000.0, 0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, _: float) -> None:
        self.looks += 1
        time.sleep(0.005)


def test_a_host_that_nobody_asks_ends_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    clock = Clock()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(ray_host, "time", clock)
    monkeypatch.setattr(ray_host.os, "_exit", ended.append)
    host = RayHost("box/cpu", on_gpu=False)
    host._baggage = Baggage()
    for _ in range(3):
        clock.now += 0.9 * ray_host.UNASKED_SECONDS
        host.poll(0)
        before = clock.looks
        wait_for(lambda before=before: clock.looks > before + 1 or ended != [], 60, "it looks")  # type: ignore[misc]
        assert ended == []
    clock.now += 1.1 * ray_host.UNASKED_SECONDS
    wait_for(lambda: ended == [1], 60, "it ends")
    assert list(tmp_path.iterdir()) == []


_SHA = hashlib.sha256(b"a picture").hexdigest()
