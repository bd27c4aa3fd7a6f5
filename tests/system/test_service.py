"""What systemd is told, and when; the units; log lines for the journal."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from hotfolder.folders.layout import Layout
from hotfolder.system import logs
from hotfolder.system.logs import NoRepeats
from hotfolder.system.notification import JournalHandler, Notifier
from hotfolder.system.units import drop_in, is_ours, root_in, system_unit, unit_path, user_unit
from hotfolder.types import Kind
from tests.support.live import REPOSITORY, LiveDaemon, wait_for
from tests.support.roots import QUICK, daemon, picture, rows
from tests.support.scripted import ScriptedExecutor, always


class Manager:
    """Listens as systemd does, and keeps what it was told, with the moment."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.told: list[tuple[float, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(0.2)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while not self._over.is_set():
            try:
                text = self._socket.recv(4096).decode()
            except TimeoutError:
                continue
            self.told += [(time.monotonic(), line) for line in text.splitlines()]

    def lines(self, start: str) -> list[str]:
        return [line for _, line in list(self.told) if line.startswith(start)]

    def close(self) -> None:
        self._over.set()
        self._thread.join(5)
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    found = Manager(tmp_path / "notify")
    yield found
    found.close()


def watches(pid: int) -> int:
    """How many folders a process watches by inotify."""
    count = 0
    for path in Path(f"/proc/{pid}/fdinfo").iterdir():
        with contextlib.suppress(OSError):
            count += path.read_text().count("inotify wd:")
    return count


def test_ready_only_when_it_watches_and_stopping_on_sigterm(layout: Layout, manager: Manager) -> None:
    with LiveDaemon(layout, NOTIFY_SOCKET=str(manager.path), WATCHDOG_USEC="800000") as live:
        wait_for(lambda: bool(manager.lines("READY=1")), 30, "it is ready")
        assert watches(live.process.pid) >= 3
        wait_for(lambda: len(manager.lines("WATCHDOG=1")) >= 1, 20, "it is fed")
        wait_for(lambda: "STATUS=idle; 0 jobs open, 0 done, 0 failed" in manager.lines("STATUS="), 20, "a status")
        live.process.send_signal(signal.SIGHUP)
        wait_for(lambda: len(manager.lines("READY=1")) == 2, 20, "ready again after the reload")
        order = [
            line.partition("=")[0] for _, line in manager.told if line.startswith(("RELOADING", "READY", "MONO"))
        ]
        assert order == ["READY", "RELOADING", "MONOTONIC_USEC", "READY"]
        assert live.stop() == 0
        wait_for(lambda: manager.lines("STOPPING=1") == ["STOPPING=1"], 20, "it says that it stops")


def test_ready_is_told_after_the_watch_is_on(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = []
    monkeypatch.setattr(Notifier, "ready", lambda _: watched.append(at_work._scans.watcher.alive))
    at_work = daemon(layout, ScriptedExecutor(always(6.6)))
    at_work.run(once=True)
    assert watched == [True]


@pytest.mark.slow
def test_a_loop_that_is_stuck_feeds_no_watchdog(layout: Layout, manager: Manager) -> None:
    """The scripted executor works inside the loop: while its one job lasts, the loop makes no turn."""
    environ = {**os.environ, **QUICK, "NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "800000"}
    command = [sys.executable, "-m", "tests.support.scripted_daemon", str(layout.root), "3600"]
    process = subprocess.Popen(command, cwd=REPOSITORY, env=environ, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: bool(manager.lines("READY=1")), 30, "it is ready")
        wait_for(lambda: len(manager.lines("WATCHDOG=1")) >= 2, 30, "an idle loop feeds it")
        picture(layout.inbox(Kind.SCORE) / "a.png")
        wait_for(lambda: rows(layout, "SELECT 1 FROM jobs WHERE state = 'running'") != [], 20, "it is in work")
        wait_for(lambda: manager.told[-1][0] < time.monotonic() - 7, 60, "it starves")
        count = len(manager.lines("WATCHDOG=1"))
        time.sleep(3)  # an idle loop turns every 5 s at least, this one not once in 10
        assert len(manager.lines("WATCHDOG=1")) == count
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def test_a_start_or_a_stop_or_a_load_that_takes_its_time_is_given_more(manager: Manager) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(manager.path)})
    notifier.alive()
    notifier.alive()
    notifier.ready()
    notifier.alive()
    notifier.status("all of that is told")
    wait_for(lambda: bool(manager.lines("STATUS=")), 5, "a status, after all that was told before")
    assert manager.lines("EXTEND") == ["EXTEND_TIMEOUT_USEC=60000000"]  # once, and no more when it is ready
    late = Notifier({"NOTIFY_SOCKET": str(manager.path)})
    late.ready()
    late.alive(loading=True)
    wait_for(lambda: len(manager.lines("EXTEND")) == 2, 5, "while a model is loaded, too")
    late.stopping()


def test_without_systemd_nothing_is_told_and_nothing_breaks(tmp_path: Path) -> None:
    for address in ("", str(tmp_path / "nobody"), "@nobody-at-all"):
        notifier = Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "nonsense"})
        notifier.ready()
        notifier.alive()
        notifier.status("x")


def test_another_process_is_not_to_feed_the_watchdog(manager: Manager) -> None:
    environ = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}
    notifier = Notifier(environ)
    notifier.alive()
    notifier.status("all of that is told")
    wait_for(lambda: bool(manager.lines("STATUS=")), 5, "a status, after all that was told before")
    assert manager.lines("WATCHDOG") == []


# --- the units -----------------------------------------------------------------------------------


def verify(path: Path, *scope: str) -> subprocess.CompletedProcess[str]:
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("systemd-analyze is not installed")
    environ = {"XDG_RUNTIME_DIR": str(path.parent), **os.environ}
    return subprocess.run([tool, *scope, str(path)], capture_output=True, text=True, env=environ)


def test_the_committed_units_are_those_that_install_writes() -> None:
    folder = REPOSITORY / "systemd"
    units = {
        unit_path("hotfolder", system=False).name: user_unit("%h/.local/bin/hotfolder", "%h/hotfolder"),
        unit_path("hotfolder", system=True).name: system_unit("/usr/local/bin/hotfolder"),
    }
    assert set(units) == {"hotfolder.service", "hotfolder@.service"}
    for name, text in units.items():
        assert (folder / name).read_text() == text
        settings = [line for line in text.splitlines() if not line.startswith("#")]
        assert any(line.startswith("ExecReload=") and line.endswith("/hotfolder reload") for line in settings)
        for word in ("Type=notify", "WatchdogSec=180", "OOMPolicy=continue", "KillMode=mixed"):
            assert word in settings
        # These would hide the GPU, or break CUDA and torch.compile.
        for word in ("PrivateDevices", "MemoryDenyWriteExecute", "DevicePolicy", "ProtectClock", "DeviceAllow"):
            assert not any(line.startswith(word) for line in settings)


@pytest.mark.parametrize("root", ["/home/u/hotfolder", '/home/u/my "best" 100% $pictures; \\x', "/home/ü/Bilder"])
def test_systemd_has_nothing_against_the_units(tmp_path: Path, root: str) -> None:
    for system, text, scope in (
        (False, user_unit("/bin/true", root), ["--user"]),
        (False, user_unit("/bin/true", root, gallery=True), ["--user"]),
        (True, system_unit("/bin/true", gallery=True), []),
        (True, system_unit("/bin/true"), []),
    ):
        path = tmp_path / unit_path("hotfolder", system=system).name
        path.write_text(text)
        if system and not (tmp_path / "hotfolder@anna.service").exists():
            path = tmp_path / "hotfolder@anna.service"
            (tmp_path / "hotfolder@anna.service.d").mkdir()
            (tmp_path / "hotfolder@anna.service.d/root.conf").write_text(drop_in(path.name, root))
            path.symlink_to("hotfolder@.service")
        path = tmp_path / "hotfolder@anna.service" if system else path
        told = verify(path, *scope, "--man=no", "verify")
        assert (told.returncode, told.stderr) == (0, "")


@pytest.mark.parametrize("root", ["/home/u/hotfolder", '/home/u/my "best" 100% $pictures; \\x', "/home/ü/Bilder"])
def test_a_unit_says_whose_it_is(root: str) -> None:
    assert root_in(user_unit("/bin/true", root)) == root_in(drop_in("hotfolder@anna.service", root)) == root
    assert root_in(user_unit("/bin/true", "%h/hotfolder")) == str(Path.home() / "hotfolder")
    assert root_in(system_unit("/bin/true")) is None
    assert root_in("[Service]\nExecStart=/bin/true\n") is None
    texts = (user_unit("/bin/true", root), system_unit("/bin/true"), drop_in("x", root))
    assert [is_ours(text) for text in (*texts, "[Service]\n")] == [True, True, True, False]


def test_the_units_exposure_is_what_the_documents_say(tmp_path: Path) -> None:
    found = {}
    for system, text, scope in (
        (False, user_unit("/bin/true", "/r"), ["--user"]),
        (True, system_unit("/bin/true"), []),
    ):
        path = tmp_path / unit_path("hotfolder", system=system).name
        path.write_text(text)
        told = verify(path, *scope, "--no-pager", "security", "--offline=true")
        level = re.search(r"exposure level for \S+: ([\d.]+)", told.stdout)
        assert level is not None, told.stderr
        found[path.name] = float(level[1])
    assert found["hotfolder@.service"] <= 2.6
    assert found["hotfolder.service"] <= 6.7


# --- logs ----------------------------------------------------------------------------------------


def test_the_journal_gets_fields(tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(tmp_path / "journal"))
    listener.settimeout(5)
    handler = JournalHandler(str(tmp_path / "journal"))
    record = logging.LogRecord("hotfolder.x", logging.WARNING, "f", 1, "two\nlines of %s", ("a",), None)
    record.job_id, record.source_file = 7, "inbox/score/a.png"
    handler.handle(record)
    data = listener.recv(4096)
    listener.close()
    assert b"MESSAGE\n" + len("two\nlines of a").to_bytes(8, "little") + b"two\nlines of a\n" in data
    assert {b"PRIORITY=4", b"SYSLOG_IDENTIFIER=hotfolder", b"HOTFOLDER_JOB_ID=7"} <= set(data.split(b"\n"))
    assert b"HOTFOLDER_SOURCE_FILE=inbox/score/a.png\n" in data


def test_no_line_is_written_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(logs, "time", SimpleNamespace(monotonic=lambda: now[0]))
    quiet = NoRepeats(quiet_seconds=0.2)

    def say(text: str) -> logging.LogRecord:
        return logging.LogRecord("x", logging.WARNING, "f", 1, "disk %s", (text,), None)

    assert quiet.filter(say("full"))
    assert not quiet.filter(say("full"))
    assert not quiet.filter(say("full"))
    assert quiet.filter(say("empty"))
    now[0] += 0.25
    again = say("full")
    assert quiet.filter(again)
    assert again.getMessage() == "disk full (and 2 times before)"
    for _ in range(3):  # what answers somebody, and what is no trouble, is said each time
        answer = say("asked for")
        answer.always = True
        assert quiet.filter(answer)
        assert quiet.filter(logging.LogRecord("x", logging.INFO, "f", 1, "taken", (), None))
    for number in range(20_000):
        quiet.filter(say(str(number)))
    assert len(quiet._said) <= 1000  # so that each one takes no longer than the one before


@pytest.mark.slow
def test_the_last_status_is_told_in_the_end(layout: Layout, manager: Manager) -> None:
    """However soon after another one it came."""
    environ = {**os.environ, **QUICK, "NOTIFY_SOCKET": str(manager.path)}
    command = [sys.executable, "-m", "tests.support.scripted_daemon", str(layout.root), "0.01"]
    process = subprocess.Popen(command, cwd=REPOSITORY, env=environ, stderr=subprocess.DEVNULL)
    try:
        wait_for(layout.live_status.exists, 30, "it runs")
        for number in range(60):
            picture(layout.inbox(Kind.SCORE) / f"{number}.png", number)
        last = "STATUS=idle; 0 jobs open, 180 done, 0 failed"  # judged, enlarged, judged again
        wait_for(
            lambda: manager.lines("STATUS=")[-1:] == [last], 30, f"{last}, not {manager.lines('STATUS=')[-1:]}"
        )
    finally:
        process.kill()
        process.wait()
