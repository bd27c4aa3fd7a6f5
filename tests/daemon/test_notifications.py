"""Hooks and messages: what they are told, and that nothing they do is in the way of the work."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from hotfolder.config.sections.notifications import HookSettings, NotifySettings
from hotfolder.daemon import notifications as module
from hotfolder.daemon import reporter
from hotfolder.daemon.notifications import Notifications, message
from hotfolder.folders.layout import Layout
from hotfolder.types import Kind
from tests.faults.disks import working
from tests.support.live import wait_for
from tests.support.roots import daemon, picture
from tests.support.scripted import ScriptedExecutor, always

KEEPER = "import sys, pathlib; pathlib.Path(sys.argv[1]).open('a').write(sys.stdin.read())"


@pytest.fixture(autouse=True)
def _a_daemon_waits_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """For its hooks, however long Python takes to start on a busy machine."""
    monkeypatch.setattr(reporter, "_END_SECONDS", 120.0)


def hook(path: Path) -> list[str]:
    """A program that appends what it is told to a file."""
    return [sys.executable, "-c", KEEPER, str(path)]


def told(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def configure(layout: Layout, **commands: list[str]) -> None:
    lines = [f"{event} = {json.dumps(command)}" for event, command in commands.items()]
    (layout.root / "hotfolder.toml").write_text("\n".join(["[hooks]", *lines, ""]))


def test_hooks_hear_what_was_kept_what_failed_and_that_all_is_done(layout: Layout, tmp_path: Path) -> None:
    events = tmp_path / "events"
    command = hook(events)
    configure(layout, on_keep=command, on_failed=command, on_idle=command, on_paused=command)
    (layout.inbox(Kind.GENERATE) / "cat.txt").write_text("a cat --seed 3")
    (layout.inbox(Kind.SCORE) / "no.png").write_bytes(b"no picture")
    name = "$(touch pwned); 'a' \"b\".png"
    picture(layout.inbox(Kind.SCORE) / name)
    daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    found = told(events)
    assert {(each["schema_version"], each["root"]) for each in found} == {(1, str(layout.root))}
    kept = {each["path"]: each for each in found if each["event"] == "keep"}
    assert set(kept) == {"keep/cat-s3.png", f"keep/{name}"}
    assert kept["keep/cat-s3.png"]["prompt"] == "a cat"
    assert (kept["keep/cat-s3.png"]["score"], kept["keep/cat-s3.png"]["seed"]) == (6.6, 3)
    (failed,) = [each for each in found if each["event"] == "failed"]
    assert failed["source_file"] == "inbox/score/no.png"
    assert failed["path"] == "failed/no.png"
    assert failed["error"]["kind"] == "not_an_image"
    (idle,) = [each for each in found if each["event"] == "idle"]
    assert (idle["done"], idle["failed"]) == (3, 1)
    assert not (tmp_path / "pwned").exists()
    assert not Path("pwned").exists()


def test_a_prompt_file_that_is_not_understood_is_told(
    layout: Layout, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    events = tmp_path / "events"
    configure(layout, on_failed=hook(events))
    (layout.inbox(Kind.GENERATE) / "bad.txt").write_text("a --stesp 4")
    daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    (failed,) = told(events)
    assert failed["source_file"] == "inbox/generate/bad.txt"
    assert failed["error"]["kind"] == "prompt_syntax"
    assert failed["error"]["fix"] == "did you mean '--steps'?"
    assert "inbox/generate/bad.txt failed: bad.txt:1:3: unknown flag" in caplog.text


def test_a_pause_is_told_once_and_why(layout: Layout, tmp_path: Path) -> None:
    events = tmp_path / "events"
    configure(layout, on_paused=hook(events))
    with working(daemon(layout, ScriptedExecutor(always(6.6)), OUTPUT__MIN_FREE_MB="100000000")):
        picture(layout.inbox(Kind.SCORE) / "a.png")
        wait_for(lambda: bool(told(events)), 20, "it is told")
        time.sleep(1)
    (paused,) = told(events)
    assert "less than the" in paused["reason"]


@pytest.mark.parametrize(
    ("command", "says", "seconds"),
    [
        (["/no/such/program"], "cannot be run", "60"),
        ([sys.executable, "-c", "import sys; sys.exit('it broke')"], "ended with 1: it broke", "60"),
        ([sys.executable, "-c", "import time; time.sleep(60)"], "took more than 0.3 s and was ended", "0.3"),
        ([sys.executable, "-c", "import os; os.close(0); print('x' * 10**6)"], "", "60"),
        (["nul\0byte"], "cannot be run", "60"),
    ],
)
def test_a_hook_that_goes_wrong_is_logged_and_nothing_else(
    layout: Layout, caplog: pytest.LogCaptureFixture, command: list[str], says: str, seconds: str
) -> None:
    if "\0" not in command[0]:
        configure(layout, on_keep=command)
        picture(layout.inbox(Kind.SCORE) / "a.png")
        line = daemon(layout, ScriptedExecutor(always(6.6)), HOOKS__TIMEOUT_SECONDS=seconds)
        assert line.run(once=True).done == 1
        assert (layout.root / "keep/a.png").exists()
    else:
        notifications = Notifications("/r", HookSettings(on_keep=tuple(command)), NotifySettings())
        notifications.tell("keep", {})
        notifications.close(60)
    assert says in caplog.text


def test_a_slow_hook_holds_nothing_up(layout: Layout, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    notifications = Notifications(
        "/r", HookSettings(on_keep=(sys.executable, "-c", "import time; time.sleep(90)")), NotifySettings()
    )
    started = time.monotonic()
    for number in range(3000):
        notifications.tell("keep", {"path": str(number)})
    assert "some events are left out" in caplog.text
    notifications.close(0.1)
    assert time.monotonic() - started < 60


#: What this process sleeps for, and no other one: in seconds.
LONG = f"3600.{os.getpid()}"


def sleepers() -> list[psutil.Process]:
    return [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", LONG]]


def test_what_a_hook_started_is_ended_with_it(caplog: pytest.LogCaptureFixture) -> None:
    notifications = Notifications(
        "/r", HookSettings(on_idle=("sh", "-c", f"sleep {LONG}; true"), timeout_seconds=1), NotifySettings()
    )
    notifications.tell("idle", {})
    wait_for(lambda: "was ended" in caplog.text, 20, "it is ended")
    wait_for(lambda: sleepers() == [], 10, "what it has started, too")
    notifications.close(60)


def test_a_hook_that_ends_is_not_waited_for_longer(caplog: pytest.LogCaptureFixture) -> None:
    notifications = Notifications(
        "/r", HookSettings(on_idle=("sh", "-c", f"sleep {LONG} & exit 0"), timeout_seconds=3000), NotifySettings()
    )
    started = time.monotonic()
    notifications.tell("idle", {})
    notifications.close(120)
    assert time.monotonic() - started < 100
    assert caplog.text == ""
    wait_for(lambda: len(sleepers()) == 1, 20, "it has left that behind")
    sleepers()[0].kill()


def test_the_end_is_not_held_up_and_what_is_lost_is_said(caplog: pytest.LogCaptureFixture) -> None:
    notifications = Notifications("/r", HookSettings(on_keep=("sleep", LONG)), NotifySettings())
    for number in range(5):
        notifications.tell("keep", {"path": str(number)})
    wait_for(lambda: bool(sleepers()), 20, "the first one runs")
    notifications.close(0.3)
    wait_for(lambda: sleepers() == [], 10, "it is ended")
    assert "events were not told" in caplog.text


# --- messages ------------------------------------------------------------------------------------


class Inbox:
    """Takes messages as a web hook does."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                inbox.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"json://127.0.0.1:{self.server.server_address[1]}/"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    found = Inbox()
    yield found
    found.close()


def failure(name: str) -> dict[str, Any]:
    return {"source_file": name, "error": {"message": "it is empty"}}


def test_messages_come_together_and_not_too_often(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    notifications = Notifications(
        "/r", HookSettings(), NotifySettings(urls=(inbox.url,), on=("failed", "idle"), every_seconds=600)
    )
    notifications.tell("failed", failure("first.png"))
    wait_for(lambda: len(inbox.got) == 1, 20, "the first one at once")
    for number in range(10):
        notifications.tell("failed", failure(f"{number}.png"))
    notifications.tell("keep", {"path": "a", "score": 7.0})  # not asked for
    wait_for(lambda: len(notifications._untold) == 10, 20, "what comes too soon waits")
    now[0] += 599
    notifications.tell("idle", {"done": 4, "failed": 11})
    wait_for(lambda: len(notifications._untold) == 11, 20, "a moment before its time it waits, too")
    assert len(inbox.got) == 1
    now[0] += 2
    notifications._queue.put(("keep", {}))  # which nobody asked for: it looks at the clock again
    wait_for(lambda: len(inbox.got) == 2, 20, "the others together")
    assert inbox.got[0]["title"] == "hotfolder: 1 failed"
    assert inbox.got[0]["message"] == "first.png: it is empty"
    assert inbox.got[1]["title"] == "hotfolder: 10 failed, all done"
    assert "… and 7 more" in inbox.got[1]["message"]
    assert "4 done, 11 failed" in inbox.got[1]["message"]
    notifications.tell("failed", failure("last.png"))
    notifications.close(120)  # what is untold is told at the end
    assert [each["title"] for each in inbox.got[2:]] == ["hotfolder: 1 failed"]


def test_messages_do_not_wait_for_busy_hooks(inbox: Inbox) -> None:
    hooks = HookSettings(on_keep=("sleep", LONG), timeout_seconds=3000)
    notifications = Notifications("/r", hooks, NotifySettings(urls=(inbox.url,), on=("failed",), every_seconds=0))
    notifications.tell("failed", failure("a.png"))
    for number in range(100):
        notifications.tell("keep", {"path": str(number)})
    wait_for(lambda: len(inbox.got) == 1, 10, "it is told at once")
    notifications.close(0.1)


def test_messages_that_cannot_be_sent_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    notifications = Notifications(
        "/r", HookSettings(), NotifySettings(urls=("nonsense://x", "json://127.0.0.1:9/"), on=("idle",))
    )
    notifications.tell("idle", {})
    notifications.close(120)
    assert "apprise does not understand nonsense://***" in caplog.text
    assert "could not be sent to every one" in caplog.text


def test_a_message_names_what_happened() -> None:
    title, body = message([("keep", {"path": "keep/a.png", "score": 7.123}), ("paused", {"reason": "disk full"})])
    assert title == "hotfolder: 1 kept, paused"
    assert body == "keep/a.png  7.12\ndisk full"
