"""doctor: each thing that it looks at, and that a look disturbs nothing."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from hotfolder.cli.doctor.command import examine
from hotfolder.cli.doctor.daemon import examine as of_daemon
from hotfolder.folders.layout import Layout
from hotfolder.status.live import read
from hotfolder.types import Kind
from tests.faults.disks import working
from tests.support import forks
from tests.support.live import wait_for
from tests.support.roots import daemon, picture
from tests.support.scripted import ScriptedExecutor, always

pytestmark = pytest.mark.slow


def checks(layout: Layout, *names: str) -> list[tuple[str, str, str]]:
    """Status, message and fix of the checks with these names, without asking the devices."""
    return [(c.status, c.message, c.fix) for c in examine(layout.root) if c.name in names]


@pytest.fixture
def without_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch takes its time; one test asks it."""
    monkeypatch.setattr("hotfolder.cli.doctor.devices.examine", lambda _: iter(()))


def test_a_healthy_root_has_no_failure(layout: Layout) -> None:
    done = forks.hotfolder("doctor", "--json", "--root", layout.root, HOTFOLDER_OUTPUT__MIN_FREE_MB="1")
    assert done.returncode == 0, done.stdout
    document = json.loads(done.stdout)
    assert document["fail"] == 0
    found: dict[str, list[dict[str, Any]]] = {}
    for check in document["checks"]:
        found.setdefault(check["name"], []).append(check)
    assert set(found) >= {
        "python", "packages", "configuration", "torch", "device", "inbox", "disk", "database", "inotify", "model",
        "daemon", "service",
    }  # fmt: skip
    assert len(found["inbox"]) == 3
    assert all("events come" in check["message"] for check in found["inbox"])
    assert [check["message"] for check in found["model"]] == [
        "shapes (generate), sha256 verified",
        "technical (score), sha256 verified",
        "x4-compact (upscale), sha256 verified",
    ]
    assert any(check["message"].startswith("cpu: ") for check in found["device"])
    assert all(check["fix"] for name in found for check in found[name] if check["status"] != "ok")
    assert list((layout.root / "inbox").rglob(".doctor*")) == []


def test_without_a_root_it_looks_at_the_machine(tmp_path: Path, without_devices: None) -> None:
    found = {check.name: check.status for check in examine(None)}
    assert found["root"] == "warn"
    assert "inbox" not in found


@pytest.mark.usefixtures("without_devices")
def test_each_thing_that_is_wrong_is_found_with_its_remedy(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def configure(text: str) -> None:
        (layout.root / "hotfolder.toml").write_text(text)

    configure("[gate]\nkep = 7")
    ((status, message, fix),) = checks(layout, "configuration")
    assert (status, fix) == ("fail", "did you mean 'keep'?")
    configure('[score]\nscorer = "laion-v2"\n')
    assert ("fail", True) in [(s, "hotfolder models pull" in f) for s, _, f in checks(layout, "model")]
    configure("[output]\nmin_free_mb = 1000000000\n")
    ((status, message, _),) = checks(layout, "disk")
    assert status == "fail" and "nothing is begun" in message
    configure("")
    layout.database.write_bytes(b"no database" * 1000)
    ((status, _, fix),) = checks(layout, "database")
    assert status == "fail" and "sets it aside" in fix
    layout.inbox(Kind.SCORE).rmdir()
    layout.inbox(Kind.SCORE).symlink_to(layout.root / "keep")
    ((status, message, _),) = checks(layout, "folders")
    assert status == "fail" and "the same folder" in message


@pytest.mark.usefixtures("without_devices")
def test_what_the_daemon_does_is_seen(layout: Layout) -> None:
    with working(daemon(layout, ScriptedExecutor(always(6.6)))):
        wait_for(layout.live_status.exists, 20, "it runs")
        ((status, message, _),) = checks(layout, "daemon")
        assert status == "ok" and "watching by inotify" in message
        picture(layout.inbox(Kind.SCORE) / "a.png")
        wait_for((layout.root / "keep/a.png").exists, 20, "the trial files did not disturb it")


def test_a_daemon_that_hangs_is_no_good_one(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    with working(daemon(layout, ScriptedExecutor(always(6.6)))):
        wait_for(lambda: read(layout.live_status) is not None, 20, "it runs")
        late = time.time() + 1000
        with monkeypatch.context() as later:
            later.setattr(time, "time", lambda: late)
            check = of_daemon(layout)
    assert check.status == "fail"
    assert "has said nothing for 17 min" in check.message
    assert "hotfolder stop" in check.fix


def test_a_torch_that_cannot_be_used_is_said(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    found = [check for check in examine(layout.root) if check.name == "torch"]
    assert [check.status for check in found] == ["fail"]
