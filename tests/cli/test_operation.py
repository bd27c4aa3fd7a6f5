"""service, run and status --watch."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from hotfolder.folders.layout import Layout
from hotfolder.types import Kind
from tests.faults.disks import wait_for_pause, working
from tests.support import forks
from tests.support.live import wait_for
from tests.support.roots import daemon, picture
from tests.support.scripted import ScriptedExecutor, always
from tests.support.shell import Home

pytestmark = pytest.mark.slow


def hotfolder(*arguments: str) -> subprocess.CompletedProcess[str]:
    return forks.hotfolder(*arguments)


def test_install_writes_a_unit_that_systemd_takes_and_uninstall_removes_it(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert home.run("hotfolder service install").returncode == 2  # there is no root
    assert (
        home.run("hotfolder init '~/my root' --preset tiny".replace("~", "$HOME").replace("'", '"')).returncode
        == 0
    )
    done = home.run('hotfolder service install --root "$HOME/my root" --name hot-two --json')
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    unit = Path(told["path"])
    assert unit == home.path / ".config/systemd/user/hot-two.service"
    assert (told["problems"], told["started"]) == ([], True)
    text = unit.read_text()
    assert f'Environment="HOTFOLDER_ROOT={home.path}/my root"' in text
    assert re.search(r"^ExecStart=/\S*hotfolder run$", text, re.MULTILINE)
    calls = home.calls.read_text().splitlines()
    assert [line.removeprefix("systemctl --user ") for line in calls][:3] == [
        "daemon-reload",
        "enable hot-two.service",
        "restart --no-block hot-two.service",
    ]
    assert home.run("hotfolder service status --name hot-two").returncode == 0
    assert home.run("hotfolder service uninstall --name hot-two").returncode == 0
    assert not unit.exists()
    assert (home.path / "my root/hotfolder.toml").exists()
    assert "disable --now hot-two.service" in home.calls.read_text()
    assert home.run("hotfolder service uninstall --name hot-two").returncode == 2


def test_nothing_is_installed_for_a_root_that_would_not_start(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.run("hotfolder init ~/hotfolder --preset tiny")
    (home.path / "hotfolder/hotfolder.toml").write_text("[gate]\nkep = 7")
    done = home.run("hotfolder service install")
    assert done.returncode == 2
    assert "did you mean 'keep'?" in done.stderr
    assert not (home.path / ".config").exists()
    assert home.run("hotfolder service install --name '../x'").returncode == 2


def test_a_systemd_that_does_not_answer_is_said(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.run("hotfolder init ~/hotfolder --preset tiny")
    home.command("systemctl", 'echo "Failed to connect to bus" >&2; exit 1')
    done = home.run("hotfolder service install")
    assert done.returncode == 1
    assert "written: " in done.stdout
    assert "Failed to connect to bus" in done.stderr
    assert "systemctl --user enable --now hotfolder.service" in done.stderr
    assert home.run("hotfolder service status").returncode == 1


def test_a_service_that_cannot_be_stopped_keeps_its_unit(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.run("hotfolder init ~/hotfolder --preset tiny && hotfolder service install")
    unit = home.path / ".config/systemd/user/hotfolder.service"
    home.command(
        "systemctl", 'case "$*" in *show*) echo ActiveState=active;; *) echo access denied >&2; exit 1;; esac'
    )
    done = home.run("hotfolder service uninstall")
    assert done.returncode == 1
    assert "still runs, so its unit stays: access denied" in done.stderr
    assert unit.exists()
    home.command("systemctl", "echo no bus >&2; exit 1")
    done = home.run("hotfolder service uninstall")
    assert done.returncode == 0
    assert "systemd did not hear of it: " in done.stdout
    assert not unit.exists()


def test_status_watches_until_it_is_told_to_end(layout: Layout) -> None:
    assert hotfolder("status", "--watch", "--json", "--root", str(layout.root)).returncode == 2
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "hotfolder", "status", "--watch", "--root", str(layout.root)]
    process = subprocess.Popen(command, stdout=follower, stdin=follower, stderr=subprocess.PIPE)
    os.close(follower)
    seen = bytearray()

    def read() -> None:  # to the end: who writes to a terminal that nobody reads waits for ever
        with contextlib.suppress(OSError):
            while data := os.read(leader, 65536):
                seen.extend(data)

    reader = threading.Thread(target=read)
    reader.start()
    wait_for(lambda: seen.count(b"Ctrl-C ends") >= 2, 60, "two looks")
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=120)
    reader.join()
    os.close(leader)
    assert b"not running" in seen
    assert process.returncode == 0, told


def test_run_on_a_terminal_tells_a_line_an_image_and_what_a_stop_waits_for(layout: Layout) -> None:
    prompts = "\n".join(f"a red circle on a blue background --seed {n} --steps 2" for n in range(60))
    (layout.inbox(Kind.GENERATE) / "p.txt").write_text(prompts)
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "hotfolder", "run", "--once", "--root", str(layout.root)]
    environ = {**os.environ, "COLUMNS": "160", "HOTFOLDER_OUTPUT__MIN_FREE_MB": "1"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=follower, env=environ)
    os.close(follower)
    seen, is_asked = b"", False
    while True:
        try:
            seen += os.read(leader, 65536)
        except OSError:  # the other end is closed
            break
        if not is_asked and re.search(rb"(keep|reject) +\d\.\d\d  p-L\d+-s\d+\.png", seen):
            is_asked = True
            process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    os.close(leader)
    # And not when all that waits is done.
    assert re.search(rb"stopping: .*\d+ jobs wait for the next start", seen), seen[-2000:]
    assert b"ETA" in seen and b" INFO " not in seen and b"inbox/generate/p.txt made" not in seen
    assert not re.search(rb"job \d+:", seen)


def test_while_it_is_paused_nothing_is_foreseen(layout: Layout) -> None:
    for number in range(6):
        picture(layout.inbox(Kind.SCORE) / f"{number}.png", number)
    with working(daemon(layout, ScriptedExecutor(always(6.6)))):
        wait_for(lambda: len(list((layout.root / "keep").iterdir())) == 6, 20, "they are done")
        assert hotfolder("pause", "--root", str(layout.root)).returncode == 0
        for number in range(6, 12):
            picture(layout.inbox(Kind.SCORE) / f"{number}.png", number)

        def told() -> dict[str, Any]:
            found: dict[str, Any] = json.loads(hotfolder("status", "--json", "--root", str(layout.root)).stdout)
            return found

        wait_for(lambda: told()["queue"]["score"]["queued"] == 6, 20, "six wait")
        wait_for(lambda: told()["daemon"]["unsettled"] == 0, 5, "and that is what status says")
        assert told()["eta_seconds"] is None


def test_a_file_that_waits_for_a_pause_is_not_called_incomplete(layout: Layout) -> None:
    """In a pause for trouble nothing is taken; in one that a person asked for, everything is."""
    picture(layout.inbox(Kind.SCORE) / "a.png")
    root = ("--root", str(layout.root))
    line = daemon(
        layout, ScriptedExecutor(always(6.6)), OUTPUT__MIN_FREE_MB=str(2**40), RETRY__PAUSE_SECONDS="3600"
    )
    with working(line):
        wait_for_pause(layout, "less than the")
        picture(layout.inbox(Kind.SCORE) / "b.png")
        says = "waiting  1 files: none is taken while the queue is paused"
        wait_for(lambda: says in hotfolder("status", *root).stdout, 20, says)
        found = json.loads(hotfolder("status", "--json", *root).stdout)["daemon"]
        assert (found["unsettled"], found["taking"]) == (1, False)
        assert "the queue is paused" in hotfolder("why", "inbox/score/b.png", *root).stdout


def test_status_tells_pace_today_and_when_it_is_done(layout: Layout) -> None:
    def slow(kind: Kind, item: object) -> float:
        time.sleep(0.15)
        return 6.6

    for number in range(300):  # more than are done before it is asked
        picture(layout.inbox(Kind.SCORE) / f"{number}.png", number)
    # Nothing is enlarged: what was never done could only be guessed at.
    with working(daemon(layout, ScriptedExecutor(slow), SCORE__BATCH_SIZE="5", GATE__UPSCALE="never")):

        def told() -> dict[str, Any]:
            found: dict[str, Any] = json.loads(hotfolder("status", "--json", "--root", str(layout.root)).stdout)
            return found

        wait_for(layout.live_status.exists, 20, "it runs")
        wait_for(lambda: told()["images"]["keep"] >= 20, 60, "some are done")
        found = told()
        text = hotfolder("status", "--root", str(layout.root)).stdout
    assert 1 < found["jobs_per_second"]["score"] < 7  # 0.15 s each, and more where the machine is busy
    left = found["queue"]["score"]["queued"] + found["queue"]["score"]["running"]
    pace = found["jobs_per_second"]["score"]  # a loaded machine takes longer
    assert left > 100
    assert found["eta_seconds"] == pytest.approx(left / pace, rel=0.6)  # it is found out anew each second
    assert found["today"]["keep"] == found["images"]["keep"]
    assert re.search(r"today +\d+ kept", text)
    assert re.search(r"done in +about \d+ (s|min)", text)
    assert "/s" in text
