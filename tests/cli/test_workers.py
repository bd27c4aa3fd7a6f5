"""`hotfolder workers`, and what else tells of devices."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from dataclasses import asdict
from typing import Any

import pytest

from hotfolder.bench.asleep import Asleep
from hotfolder.cli import workers
from hotfolder.documents.status import gather
from hotfolder.errors import EnvironmentTrouble
from hotfolder.executors import local
from hotfolder.executors.base import DeviceId
from hotfolder.folders.layout import Layout
from hotfolder.folders.lock import RootLock
from hotfolder.gallery.panel import panel
from hotfolder.status.prometheus import exposition
from hotfolder.types import Batch, Kind
from tests.faults.disks import working
from tests.support.in_process import hotfolder
from tests.support.live import wait_for
from tests.support.roots import daemon, picture


def run(layout: Layout, *words: str) -> tuple[int, str]:
    done = hotfolder("--root", layout.root, "workers", *words)
    return done.returncode, done.stdout + done.stderr


def test_without_a_daemon_it_tells_what_one_would_work_on(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOTFOLDER_EXECUTOR__DEVICES", '["cpu", "cpu"]')
    code, told = run(layout, "--json")
    found = json.loads(told)
    assert (code, found["schema_version"], found["running"]) == (0, 1, False)
    assert [(each["device"], each["state"]) for each in found["workers"]] == [
        ("cpu-1", "no daemon"),
        ("cpu-2", "no daemon"),
    ]
    code, told = run(layout)
    assert "cpu-2" in told and "no daemon runs" in told


def test_what_a_device_lacks_is_told() -> None:
    lack = {
        "kind": "upscale",
        "model": "mine",
        "why": "it lacks the model 'mine': put it there",
        "is_coming": False,
    }
    told = {
        "device": "box/cpu", "machine": "box", "pid": 1, "state": "idle", "holds": ["technical"], "kind": None,
        "jobs": 0, "stage": None, "step": 0, "steps": 0, "pace": {}, "memory_used": None, "memory_total": None,
        "temperature": None, "reason": None, "lacks": [lack], "back_in_seconds": None,
    }  # fmt: skip
    assert workers._row(told)[-1] == "work; no jobs of mine: it lacks the model 'mine': put it there"
    assert workers.one_line(told).endswith("technical  no jobs of mine: it lacks the model 'mine': put it there")


def test_what_is_asked_wrongly_is_said(layout: Layout) -> None:
    assert run(layout, "--json", "--watch")[0] == 2
    for words in (("drain", "cuda:7"), ("resume", "cuda:7"), ("test", "cuda:7")):
        code, told = run(layout, *words)
        assert code == 2
        assert "there is no device 'cuda:7'" in told
    lock = RootLock(layout.lock)
    lock.acquire()  # a daemon that has not told yet which it has
    code, told = run(layout, "drain", "cuda:7")
    lock.release()
    assert (code, "there is no device 'cuda:7'" in told) == (2, True)


@pytest.mark.slow
def test_it_waits_for_a_daemon_and_is_carried_out_by_one(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("HOTFOLDER_EXECUTOR__DEVICES", '["cpu", "cpu"]')
    code, told = run(layout, "drain", "cpu-2")
    assert (code, "no daemon runs" in told) == (0, True)
    (waits,) = gather(layout)["commands"]
    assert waits["command"] == "workers drain cpu-2"
    executor = Asleep(dict.fromkeys(Kind, 0.01), dict.fromkeys(Kind, 0.01), {"cpu-1": 1, "cpu-2": 1})
    executor.degrees["cpu-1"] = 71
    with working(daemon(layout, executor)):
        for number in range(8):
            picture(layout.inbox(Kind.SCORE) / f"{number}.png", number)
        wait_for(lambda: len(executor.ended) == 8, 10, "all is done")

        def both() -> dict[str, Any]:
            return {each["device"]: each for each in json.loads(run(layout, "--json")[1])["workers"]}

        wait_for(lambda: both()["cpu-1"]["pace"], 10, "its pace is told")
        assert both()["cpu-2"]["state"] == "drained"
        assert "technical" in both()["cpu-1"]["holds"]
        assert (both()["cpu-1"]["temperature"], both()["cpu-2"]["temperature"]) == (71, None)
        told = run(layout)[1]
        assert "0.5 of 1.0 GiB, 71 °C" in told
        assert "you: hotfolder workers resume cpu-2" in told
        status = hotfolder("--root", layout.root, "status").stdout
        assert "cpu-2  drained" in status
        text = exposition(gather(layout), time.time())
        root = f'root="{layout.root}"'
        assert f'hotfolder_worker_temperature_celsius{{{root},device="cpu-1",machine="here"}} 71' in text
        assert f'hotfolder_worker_state{{{root},device="cpu-2",machine="here",state="drained"}} 1' in text
        assert f'hotfolder_worker_state{{{root},device="cpu-1",machine="here",state="drained"}} 0' in text
        assert "hotfolder_worker_jobs_per_second" in text
        shown = panel(layout, _Nothing())["daemon"]["devices"]  # type: ignore[arg-type]
        assert [each["device"] for each in shown] == ["cpu-1", "cpu-2"]
        assert not {"pid", "machine", "reason"} & shown[0].keys()
        asked = json.loads(hotfolder("--root", layout.root, "workers", "resume", "cpu-2", "--json").stdout)
        assert (asked["root"], asked["answer"]) == (str(layout.root), {"device": "cpu-2", "was_out": True})
        assert "was given work all the time" in run(layout, "resume", "cpu-2")[1]
        assert caplog.text.count("cpu-2 is given work again") == 1
        hotfolder("--root", layout.root, "pause")
        wait_for(lambda: "the end of the pause" in run(layout)[1], 10, "it is not said to want work")
        assert run(layout)[1].endswith("paused: you asked for it; go on with: hotfolder resume\n")
        code, told = run(layout, "drain", "cpu-1")
        assert "is given nothing more" in told
        assert told.endswith(f"root: {layout.root}\n")
        run(layout, "drain", "cpu-2")
        drained = "it waits: every device is drained; go on with: hotfolder workers resume DEVICE\n"
        for what in ("your pause is over", "it was not paused by you"):
            assert hotfolder("--root", layout.root, "resume").stdout == f"{what}; {drained}"
        run(layout, "resume", "cpu-1")
        assert hotfolder("--root", layout.root, "resume").stdout == "it was not paused by you\n"


class _Nothing:
    def waiting(self) -> list[Any]:
        return []


@pytest.mark.slow
def test_readiness_is_a_job_that_is_done(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOTFOLDER_EXECUTOR__DEVICES", '["cpu", "cuda:0"]')
    words = [sys.executable, "-m", "hotfolder", "--root", str(layout.root), "workers", "test", "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    found = {each["device"]: each for each in json.loads(done.stdout)["tested"]}
    assert found["cpu"]["ok"]
    assert found["cpu"]["seconds"] > 0
    import torch

    if not torch.cuda.is_available():
        assert done.returncode == 3
        assert "there is no device 'cuda:0'" in found["cuda:0"]["error"]


class _Refusing(Asleep):
    """The worker of one device cannot be started."""

    def submit(self, batch: Batch, device: DeviceId) -> None:
        if device == "cpu-1":
            raise EnvironmentTrouble("the worker cannot start: no memory", "free some")
        super().submit(batch, device)


def test_one_worker_that_cannot_be_started_is_told_beside_the_others(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOTFOLDER_EXECUTOR__DEVICES", '["cpu", "cpu"]')
    quick = dict.fromkeys(Kind, 0.01)
    monkeypatch.setattr(
        local, "LocalExecutor", lambda *_: _Refusing(quick, quick, dict.fromkeys(["cpu-1", "cpu-2"], 1.0))
    )
    code, told = run(layout, "test", "--json")
    found = {each["device"]: each for each in json.loads(told)["tested"]}
    assert code == 3
    assert (found["cpu-1"]["ok"], found["cpu-1"]["error"]) == (False, "the worker cannot start: no memory")
    assert found["cpu-2"]["ok"]


def test_a_snapshot_of_many_devices_is_read_again(layout: Layout) -> None:
    from hotfolder.status import live

    many = [
        {"device": f"cuda:{n}", "machine": "a machine with a long name", "reason": "x" * 300} for n in range(64)
    ]
    snapshot = live.snapshot(
        started_at=1.0, now=2.0, watcher="inotify", progress=None, since=0.0, done=0, failed=0, open_jobs=0,
        unsettled=0, paused=None, unplaced=0, taking=True, left_alone={}, expected=0.0, left_seconds=None,
        devices=many,
    )  # fmt: skip
    live.Live(layout.live_status, None, lambda _: None).update(2.0, lambda: snapshot, force=True)
    found = live.read(layout.live_status)
    assert found is not None
    assert asdict(found)["devices"] == many
