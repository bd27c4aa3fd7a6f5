"""What is laid to a job, and what to the device that it failed on."""

from __future__ import annotations

import time

import pytest

from hotfolder.bench.asleep import Asleep
from hotfolder.config.folder_settings import FolderSettings
from hotfolder.daemon.blame import Blame
from hotfolder.daemon.devices import Devices
from hotfolder.errors import DeviceLost, DeviceTrouble
from hotfolder.folders.layout import Layout
from hotfolder.types import Job, Kind
from tests.support.roots import settings

JOB = Job(1, Kind.SCORE, 1, "a.png", "a.png", "technical", attempt=1, claim=1, created_at=0.0)
SECONDS = dict.fromkeys(Kind, 0.01)


@pytest.fixture
def known(layout: Layout) -> FolderSettings:
    return FolderSettings(layout.root, settings(layout))


@pytest.fixture
def devices(layout: Layout, known: FolderSettings) -> Devices:
    return Devices(Asleep(SECONDS, SECONDS, dict.fromkeys("abcd", 1.0)), known, layout.drained)


def test_trouble_of_a_device_is_its_own_also_with_a_job_that_another_was_lost_with(
    devices: Devices, known: FolderSettings
) -> None:
    blame = Blame(known, devices)
    lost, trouble = DeviceLost("it failed", "see dmesg").info(), DeviceTrouble("it is not there", "set it").info()
    assert blame.goes_elsewhere(devices["a"], JOB, lost)
    assert blame.goes_elsewhere(devices["b"], JOB, trouble)
    assert not devices["b"].is_able
    assert not blame.goes_elsewhere(devices["c"], JOB, lost)  # the second one: now it is the job
    blame.forget(JOB.id)
    assert blame.goes_elsewhere(devices["c"], JOB, lost)
    assert not blame.goes_elsewhere(devices["d"], JOB, lost)  # nobody else is left


def test_how_long_a_device_is_set_aside_is_read_anew(
    devices: Devices, known: FolderSettings, layout: Layout
) -> None:
    known.change(settings(layout, EXECUTOR__SET_ASIDE_SECONDS="700"))
    devices.settings_changed()
    devices.set_aside(devices["a"], "it failed")
    assert 600 < (devices.back_in() or 0) <= 700


def test_of_a_device_that_is_asked_nothing_nobody_says_how_long_it_does_not_work(
    devices: Devices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a night without work, after one failure, would be an alarm in the morning."""

    def told() -> tuple[str, float | None]:
        (found,) = [each for each in devices.told() if each["device"] == "a"]
        return found["state"], found["out_seconds"]

    devices.set_aside(devices["a"], "it failed")
    state, out = told()
    assert state == "set aside"
    assert out is not None
    after = time.monotonic() + 7200
    monkeypatch.setattr(time, "monotonic", lambda: after)
    assert told() in [("idle", None), ("unloaded", None)]
    devices["a"].unfit, devices["a"].unfit_since = "it is gone", after - 3600
    assert told() == ("unfit", 3600)
    devices["a"].is_drained = True
    assert told() == ("drained", None)
