"""reload and stop: what the daemon answers, and that no later daemon obeys them."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hotfolder.cli import daemon as commands
from hotfolder.cli import queue
from hotfolder.cli.daemon import NotRunning, run_reload, run_stop
from hotfolder.daemon.loop import Daemon
from hotfolder.errors import ConfigError, ExitCode, HotfolderError
from hotfolder.folders.layout import Layout
from hotfolder.folders.lock import RootLock, holder, is_held_by
from hotfolder.status import mailbox
from hotfolder.status.live import read
from hotfolder.types import Kind
from tests.faults.disks import working
from tests.support.live import LiveDaemon, wait_for
from tests.support.roots import daemon, picture, rows, settings
from tests.support.scripted import ScriptedExecutor, always


@pytest.fixture
def at_work(layout: Layout) -> Iterator[Daemon]:
    line = Daemon(layout.root, settings(layout), ScriptedExecutor(always(6.2)), load=lambda: settings(layout))
    with working(line):
        wait_for(layout.live_status.exists, 20, "it runs")
        yield line


def configure(layout: Layout, text: str) -> None:
    (layout.root / "hotfolder.toml").write_text(text)


@pytest.mark.usefixtures("at_work")
def test_a_reload_says_what_changed_and_a_refusal_stands_in_the_status(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(layout, "[gate]\nkeep = 6.0\n")
    run_reload(layout.root, as_json=False)
    told = capsys.readouterr()
    assert told.out == "read anew: 1 changes\n  gate.keep: 6.5 -> 6.0\n"
    assert told.err == f"root: {layout.root}\n"
    picture(layout.inbox(Kind.SCORE) / "a.png")
    wait_for(lambda: rows(layout, "SELECT verdict FROM results") == [("keep",)], 20, "what comes goes by them")
    run_reload(layout.root, as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert document == {"schema_version": 1, "root": str(layout.root), "changes": [], "waits_for_work": False}
    configure(layout, "[gate]\nkep = 6.0\n[retry]\nmax_attempts = 0\n")
    with pytest.raises(ConfigError, match=r"goes on as before: .*unknown key 'gate.kep'") as caught:
        run_reload(layout.root, as_json=False)
    assert (caught.value.exit_code, caught.value.fix) == (ExitCode.USAGE, "did you mean 'keep'?")
    (other,) = caught.value.others
    assert ":4: retry.max_attempts is 0" in other.message
    assert (other.told()["line"], other.told()["key"]) == (4, "retry.max_attempts")
    assert other.fix

    def refused() -> str:
        snapshot = read(layout.live_status)
        return (snapshot.refused or "") if snapshot else "no status"

    wait_for(lambda: refused().endswith("unknown key 'gate.kep' (and 1 more mistake)"), 5, "status says so")
    configure(layout, "")
    run_reload(layout.root, as_json=False)
    wait_for(lambda: refused() == "", 5, "it is mended")


def test_what_is_in_work_is_done_by_the_settings_it_was_begun_with(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[str] = []

    def script(kind: Kind, item: object) -> float:
        configure(layout, "[gate]\nkeep = 9.0\nupscale = 9.0\n")
        asking = threading.Thread(target=lambda: (run_reload(layout.root, as_json=False), told.append("answered")))
        asking.start()
        wait_for(lambda: any(layout.control.glob("*.json")), 5, "it is asked")
        return 6.6

    picture(layout.inbox(Kind.SCORE) / "a.png")
    line = Daemon(layout.root, settings(layout), ScriptedExecutor(script), load=lambda: settings(layout))
    with working(line):
        wait_for(lambda: told == ["answered"], 20, "the answer comes")
        wait_for((layout.root / "keep/a.png").exists, 20, "it is kept as when it was begun")
    assert "gate.keep: 6.5 -> 9.0" in capsys.readouterr().out


@pytest.mark.usefixtures("heard_at_once")
def test_a_stop_says_what_it_finishes_and_waits_for_the_end(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    over = threading.Event()
    stop = threading.Thread(target=lambda: (run_stop(layout.root, timeout=60, as_json=False), over.set()))

    def script(kind: Kind, item: object) -> float:
        if stop.ident is None:  # another job may be begun before it is heard
            stop.start()
            wait_for(lambda: any(layout.control.glob("*.json")), 20, "it is asked")
        return 6.6

    (layout.root / "inbox/generate/p.txt").write_text("a --seed 1 --count 3\n")
    line = daemon(layout, ScriptedExecutor(script), GENERATE__BATCH_SIZE="1")
    assert line.run().done >= 1
    assert over.wait(120)
    told = capsys.readouterr()
    assert told.out == "stopped\n"
    assert "jobs wait for the next start" in told.err
    assert rows(layout, "SELECT count(*) FROM queue WHERE state = 'running'") == [(0,)]
    run_stop(layout.root, timeout=1, as_json=True)
    assert json.loads(capsys.readouterr().out)["was_running"] is False


def test_a_stop_says_that_files_wait_that_are_not_taken_yet(
    layout: Layout, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    executor = ScriptedExecutor(always(6.6))
    daemon(layout, executor).run(once=True)
    assert "stopping: nothing else waits" in caplog.text
    caplog.clear()
    picture(layout.inbox(Kind.SCORE) / "a.png")
    line = daemon(layout, executor, SETTLE__QUIET_SECONDS="60", SETTLE__QUIET_SECONDS_WITHOUT_LEASE="60")
    with working(line):
        wait_for(lambda: (live := read(layout.live_status)) is not None and live.unsettled, 20, "it is seen")
    assert "stopping: 1 files that are not taken yet wait for the next start" in caplog.text


def test_what_is_asked_of_no_daemon_is_asked_of_no_later_one(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotRunning):
        run_reload(layout.root, as_json=False)
    monkeypatch.setattr(commands, "_TO_STOP", 0.2)
    monkeypatch.setattr(commands, "_TO_RELOAD", 0.2)
    monkeypatch.setattr(commands, "is_held_by", lambda *_: False)
    lock = RootLock(layout.lock)
    lock.acquire()
    try:
        for ask in (
            lambda: run_stop(layout.root, timeout=0.2, as_json=False),
            lambda: run_reload(layout.root, as_json=False),
        ):
            with pytest.raises(HotfolderError, match="does not answer"):
                ask()
    finally:
        lock.release()
    assert list(layout.control.iterdir()) == []
    for what in ("stop", "reload"):  # of a command that was killed while it waited
        mailbox.ask(layout, {"do": what})
    picture(layout.inbox(Kind.SCORE) / "a.png")
    daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    assert (layout.root / "keep/a.png").exists()
    assert list(layout.control.iterdir()) == []


def test_only_the_process_that_the_kernel_names_gets_a_signal(layout: Layout) -> None:
    lock = RootLock(layout.lock)
    lock.acquire()
    pid = holder(layout.lock)
    assert pid is not None
    assert is_held_by(layout.lock, pid)
    assert not is_held_by(layout.lock, 1)
    assert not is_held_by(layout.root / "hotfolder.toml", pid)
    lock.release()
    assert not is_held_by(layout.lock, pid)


@pytest.mark.slow
def test_a_mailbox_that_is_not_read_is_no_way_out(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "_TO_STOP", 0.0)
    monkeypatch.setattr(queue.mailbox, "answer_to", lambda *_: None)
    with LiveDaemon(layout) as live:
        live.watching()
        run_stop(layout.root, timeout=60, as_json=False)
        assert live.process.wait(60) == 0


@pytest.mark.slow
def test_a_daemon_that_was_changed_under_its_feet_ends_and_says_so(layout: Layout, tmp_path: Path) -> None:
    """As after an upgrade: what is on the disk is not what the daemon has read."""
    picture(layout.inbox(Kind.SCORE) / "a.png")
    script = (
        "from hotfolder.executors import child; child.VERSION = '0.0.1'; from hotfolder.cli import main; main()"
    )
    import subprocess
    import sys

    command = [sys.executable, "-c", script, "run", "--root", str(layout.root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 1
    assert "error: hotfolder was changed to 0." in done.stderr
    assert "Traceback" not in done.stderr
    assert rows(layout, "SELECT state, attempt FROM queue") == [("queued", 0)]
    daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    assert (layout.root / "keep/a.png").exists()


def test_a_reload_while_a_command_works_without_a_daemon_is_told_that_none_runs(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`keep` and `undo` hold the lock for a moment, and obey what is in the mailbox."""

    class Late(Daemon):
        asked: Path

        def _read_results(self, now: float) -> None:
            self.asked = mailbox.ask(layout, {"do": "reload"})
            super()._read_results(now)

    line = Late(layout.root, settings(layout), ScriptedExecutor(always(6.2)))
    line.obey()
    answer = mailbox.answer_to(line.asked, 0)
    assert answer is not None and answer["kind"] == NotRunning.kind
    monkeypatch.setattr(commands, "holder", lambda _: 1)
    monkeypatch.setattr(commands, "ask", lambda *_, **__: answer)
    with pytest.raises(NotRunning, match="no daemon works on"):
        run_reload(layout.root, as_json=True)
