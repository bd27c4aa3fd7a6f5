"""pause, resume and cancel."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from hotfolder.cli import queue
from hotfolder.cli.app import app
from hotfolder.cli.times import seconds_of
from hotfolder.daemon.loop import Daemon
from hotfolder.documents.commands import described
from hotfolder.errors import ExitCode, UsageError
from hotfolder.folders.layout import Layout
from hotfolder.folders.lock import RootLock
from hotfolder.ledger.drops import Drops
from hotfolder.ledger.reader import Reader
from hotfolder.status import mailbox
from hotfolder.types import Item, Kind
from tests.faults.disks import paused, wait_for_pause, working
from tests.support import forks
from tests.support.live import wait_for
from tests.support.roots import check_consistent, daemon, files_in, is_worked, picture, rows, settings
from tests.support.scripted import ScriptedExecutor, always

pytestmark = pytest.mark.slow


def hotfolder(layout: Layout, *arguments: str) -> subprocess.CompletedProcess[str]:
    return forks.hotfolder(*arguments, "--root", layout.root)


def test_pause_and_resume(layout: Layout) -> None:
    executor = ScriptedExecutor(always(6.6))
    with working(daemon(layout, executor)):
        wait_for(layout.live_status.exists, 20, "it runs")
        assert hotfolder(layout, "pause").stdout == "paused; go on with: hotfolder resume\n"
        wait_for_pause(layout, "you asked for it")
        picture(layout.inbox(Kind.SCORE) / "a.png")
        wait_for(lambda: rows(layout, "SELECT 1 FROM drops") != [], 20, "it is still taken")
        time.sleep(0.5)
        assert executor.batches == []
        assert hotfolder(layout, "resume").stdout == "it goes on\n"
        wait_for((layout.root / "keep/a.png").exists, 20, "it is done")
        wait_for(lambda: paused(layout) == "", 5, "it is not paused any more")
        assert hotfolder(layout, "resume").stdout == "it was not paused by you\n"


def test_a_pause_outlives_a_restart_and_ends_by_itself(layout: Layout) -> None:
    picture(layout.inbox(Kind.SCORE) / "a.png")
    assert "no daemon runs" in hotfolder(layout, "pause", "--for", "2h").stdout
    report = daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    assert report.paused is not None
    assert "until" in report.paused
    report = daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    assert report.paused is not None
    passed = 7200 - 10  # seconds, while no daemon runs
    executor = ScriptedExecutor(always(6.6))
    with working(Daemon(layout.root, settings(layout), executor, clock=lambda: time.time() + passed)):
        wait_for_pause(layout, "you asked for it, until")
        passed += 60
        wait_for((layout.root / "keep/a.png").exists, 20, "it goes on by itself")
    assert not layout.hold.exists()


@pytest.mark.usefixtures("heard_at_once")
def test_cancel_leaves_what_is_not_begun_and_what_is_in_work(layout: Layout) -> None:
    in_work, go_on = threading.Event(), threading.Event()

    def script(kind: Kind, item: Item) -> float:
        if kind is Kind.GENERATE and item.params["seed"] >= 4:
            in_work.set()
            go_on.wait(240)
        return 6.6

    (layout.inbox(Kind.GENERATE) / "p.txt").write_text("a --seed 0 --count 20")
    with working(daemon(layout, ScriptedExecutor(script))):
        assert in_work.wait(120)
        asked = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "hotfolder",
                "--root",
                str(layout.root),
                "cancel",
                "inbox/generate/p.txt",
                "--json",
            ],
            stdout=subprocess.PIPE,
        )
        wait_for(lambda: list(layout.control.glob("*.json")) != [], 40, "the wish is there")
        go_on.set()
        told = json.loads(asked.communicate(timeout=240)[0])
        assert told["cancelled"][0]["file"] == "inbox/generate/p.txt"
        assert 1 <= told["cancelled"][0]["jobs"] <= 20  # and the scores of what is drawn
        wait_for((layout.root / "archive/p.txt").exists, 20, "the prompt file is in the archive")
        wait_for(lambda: is_worked(layout), 20, "it ends")
    made = [path for path in files_in(layout, "keep", "archive") if path.endswith(".png")]
    assert 4 <= len(made) <= 20
    assert rows(layout, "SELECT count(*) FROM queue WHERE kind = 'generate' AND state = 'done'") == [(len(made),)]
    assert files_in(layout, "failed", "inbox") == []
    check_consistent(layout)


def test_very_many_are_cancelled_at_once_and_the_answer_is_waited_for(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each in a transaction of its own, the disk would be waited for thousands of times."""
    for number in range(1200):
        (layout.inbox(Kind.SCORE) / f"{number}.png").write_bytes(b"x")
    layout.hold.write_text('{"until": null}')
    alone: list[bool] = []
    real = Drops.cancel

    def noted(self: Drops, *arguments: Any) -> list[int]:
        alone.append(not self._database._connection.in_transaction)
        return real(self, *arguments)

    monkeypatch.setattr(Drops, "cancel", noted)
    line = daemon(layout, ScriptedExecutor(always(6.6)))
    with working(line):
        wait_for(layout.live_status.exists, 20, "it runs")
        wait_for(lambda: rows(layout, "SELECT count(*) FROM jobs") == [(1200,)], 60, "all are taken")
        told = json.loads(hotfolder(layout, "cancel", "--all", "--json").stdout)
        assert (len(told["cancelled"]), told["waits"]) == (1200, False)
        wait_for(lambda: len(files_in(layout, "archive")) == 1200, 60, "they are in the archive")
        assert rows(layout, "SELECT state, count(*) FROM jobs GROUP BY state") == [("cancelled", 1200)]
    assert alone == [False] * 1200


@pytest.mark.parametrize(
    "command",
    [
        ("pause",),
        ("resume",),
        ("cancel", "--all"),
        ("retry", "--all"),
        ("reroute", "--keep", "6"),
        ("reroute", "--undo"),
    ],
)
def test_a_daemon_that_is_late_with_its_answer_is_not_said_to_be_none(
    layout: Layout, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (layout.inbox(Kind.SCORE) / "bad.png").write_bytes(b"no picture")
    picture(layout.inbox(Kind.SCORE) / "a.png")
    daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    picture(layout.inbox(Kind.SCORE) / "b.png")
    layout.hold.write_text('{"until": null}')
    with working(daemon(layout, ScriptedExecutor(always(6.6)))):
        wait_for(lambda: len(rows(layout, "SELECT 1 FROM drops")) == 3, 20, "it is taken, and waits")
        if "--undo" in command:
            assert hotfolder(layout, "reroute", "--keep", "9").returncode == 0
    waited: list[float] = []
    monkeypatch.setattr(mailbox, "answer_to", lambda _, seconds: waited.append(seconds))
    monkeypatch.setattr("sys.argv", ["hotfolder", *command, "--root", str(layout.root)])

    def told(*more: str) -> str:
        with pytest.raises(SystemExit) as ended:
            app([*command, "--root", str(layout.root), *more], prog_name="hotfolder")
        assert not ended.value.code
        return capsys.readouterr().out

    lock = RootLock(layout.lock)
    lock.acquire()
    assert "asked; the daemon has not answered yet" in told()
    assert json.loads(told("--json"))["waits"] is True
    assert waited[0] >= 10
    lock.release()
    assert "no daemon runs" in told()
    assert json.loads(told("--json"))["waits"] is True


def test_cancel_everything_and_nothing(layout: Layout) -> None:
    daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    assert hotfolder(layout, "cancel", "--all").stdout == "nothing is waited for\n"
    assert hotfolder(layout, "cancel", "inbox/score/x.png").returncode == 2
    assert hotfolder(layout, "cancel").returncode == 2
    for number in range(3):
        picture(layout.inbox(Kind.SCORE) / f"{number}.png", number)
    for command in ("cancel", "first"):  # no daemon has taken it yet
        told = hotfolder(layout, command, "inbox/score/0.png")
        assert (told.returncode, "is not taken yet" in told.stderr) == (2, True)
        assert "hotfolder why inbox/score/0.png" in told.stderr
    with working(daemon(layout, ScriptedExecutor(always(6.6)))):
        wait_for(layout.live_status.exists, 20, "it runs")
    assert len(files_in(layout, "keep", "archive", "inbox")) == 3


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1.5d", 129_600)])
def test_times(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "h", "-1h", "0s", "2 weeks", "1e9d", "99999d"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(UsageError, match="is no time"):
        seconds_of(text)


# --- first ---------------------------------------------------------------------------------------


def ahead(layout: Layout, name: str) -> int:
    with Reader(layout.database) as reader:
        ((job,),) = rows(layout, "SELECT id FROM jobs WHERE source = ?", [f"inbox/score/{name}"])
        return reader.jobs_ahead(job)


def test_first_moves_what_waits_for_a_file_to_the_front(layout: Layout) -> None:
    for number in range(4):
        picture(layout.inbox(Kind.SCORE) / f"{number}.png", number)
    layout.hold.write_text('{"until": null}')
    executor = ScriptedExecutor(always(6.6))
    with working(daemon(layout, executor, SCORE__BATCH_SIZE="1")):
        wait_for(layout.live_status.exists, 20, "it runs")
        wait_for(lambda: rows(layout, "SELECT count(*) FROM jobs") == [(4,)], 20, "all are taken")
        assert ahead(layout, "3.png") == 3
        assert hotfolder(layout, "first", "inbox/score/3.png").stdout == "inbox/score/3.png: 1 jobs go first\n"
        told = json.loads(hotfolder(layout, "first", "inbox/score/2.png", "--json").stdout)
        assert (told["first"], told["waits"]) == ([{"file": "inbox/score/2.png", "jobs": 1}], False)
        assert [ahead(layout, f"{n}.png") for n in range(4)] == [2, 3, 0, 1]
        assert hotfolder(layout, "first", "inbox/score/x.png").returncode == 2
        assert hotfolder(layout, "resume").returncode == 0
        wait_for(lambda: len(files_in(layout, "keep")) == 4, 20, "all are done")
    assert [str(batch.items[0].source)[-5] for batch in executor.batches] == ["2", "3", "0", "1"]


def test_what_a_daemon_refuses_is_an_error_and_no_success(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "holder", lambda _: 1)
    monkeypatch.setattr(mailbox, "answer_to", lambda *_: {"error": "a command that is not known: first"})
    monkeypatch.setattr(queue, "waited_for", lambda *_: queue.Meant([1], []))
    daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    with pytest.raises(UsageError, match="not known: first"):
        queue.run_first(layout.root, [], as_json=False)
    with pytest.raises(UsageError, match="not known"):
        queue.run_resume(layout.root, as_json=True)


# --- commands that wait ---------------------------------------------------------------------------


def test_what_waits_for_a_daemon_is_shown_and_can_be_withdrawn(layout: Layout) -> None:
    picture(layout.inbox(Kind.SCORE) / "a.png")
    layout.hold.write_text('{"until": null}')
    with working(daemon(layout, ScriptedExecutor(always(6.6)))):
        wait_for(layout.live_status.exists, 20, "it runs")
        wait_for(lambda: rows(layout, "SELECT 1 FROM jobs") != [], 20, "it is taken")
    assert hotfolder(layout, "withdraw").stdout == "no command waits\n"
    for command in (("cancel", "inbox/score/a.png"), ("cancel", "--all"), ("pause", "--for", "2h"), ("resume",)):
        assert "no daemon runs" in hotfolder(layout, *command).stdout
    told = json.loads(hotfolder(layout, "status", "--json").stdout)["commands"]
    wanted = ["cancel inbox/score/a.png", "cancel --all", "pause for 2.0 h", "resume"]
    assert [each["command"] for each in told] == wanted
    assert {each["begun"] for each in told} == {False}
    shown = hotfolder(layout, "status").stdout
    for each in told:
        assert f"asked    {each['command']} (to take it back: hotfolder withdraw {each['id']})" in shown
    done = hotfolder(layout, "withdraw", told[0]["id"], told[1]["id"], told[2]["id"])
    assert done.stdout == "".join(f"withdrawn: {each}\n" for each in wanted[:3])
    assert hotfolder(layout, "withdraw", told[0]["id"]).returncode == 2
    assert hotfolder(layout, "withdraw", "--all", told[3]["id"]).returncode == 2
    daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    assert files_in(layout, "keep") == ["keep/a.png"]  # it was resumed, and not cancelled
    assert json.loads(hotfolder(layout, "withdraw", "--json").stdout)["waiting"] == []


def test_every_command_that_waits_is_told_as_a_person_gave_it(layout: Layout) -> None:
    commands = {
        "undo 3": {"do": "undo", "last": 3},
        "reroute --undo": {"do": "undo"},
        "reroute --keep 6.5 --also-mine": {"do": "reroute", "keep": 6.5, "also_mine": True},
        "reject 2 images": {"do": "verdict", "verdict": "reject", "images": [1, 2]},
        "upscale 1 images": {"do": "enlarge", "images": [1], "scales": [None]},
        "restore 2 files": {"do": "restore", "drops": [1, 2]},
        "stop": {"do": "stop"},
    }
    for command in commands.values():
        mailbox.ask(layout, command)
    assert [described(layout, each.command) for each in mailbox.waiting(layout)] == list(commands)


def test_a_line_that_nothing_is_waited_of_is_not_told_as_cancelled(layout: Layout) -> None:
    (layout.inbox(Kind.GENERATE) / "p.txt").write_text("a\n# a comment\nb\nc\n")
    (layout.inbox(Kind.GENERATE) / "one.txt").write_text("# a comment\na\n")
    picture(layout.inbox(Kind.SCORE) / "a.png")
    layout.hold.write_text('{"until": null}')
    with working(daemon(layout, ScriptedExecutor(always(6.6)))):
        wait_for(layout.live_status.exists, 20, "it runs")
        wait_for(lambda: rows(layout, "SELECT count(*) FROM jobs") == [(5,)], 20, "all is taken")

        def cancel(name: str, line: int, *options: str) -> Any:
            return hotfolder(layout, "cancel", f"inbox/{name}", "--line", line, *options)

        for line in (2, 9, 500):
            told = cancel("generate/p.txt", line)
            assert (told.returncode, told.stdout) == (ExitCode.USAGE, "")
            assert f"inbox/generate/p.txt has no prompt on line {line}\n" in told.stderr
            assert "fix: there are: 1, 3 to 4\n" in told.stderr
        error = json.loads(cancel("generate/p.txt", 500, "--json").stdout)["error"]
        assert (error["kind"], error["fix"]) == ("usage", "there are: 1, 3 to 4")
        for name in ("generate/one.txt", "score/a.png"):
            told = cancel(name, 2)
            assert told.returncode == ExitCode.USAGE and "has no lines to choose from" in told.stderr
        assert cancel("generate/p.txt", 3).stdout == "inbox/generate/p.txt: 1 jobs cancelled\n"
        told = cancel("generate/p.txt", 3)
        assert told.returncode == ExitCode.USAGE
        assert "nothing waits to be done for line 3 of inbox/generate/p.txt" in told.stderr
        assert rows(layout, "SELECT count(*) FROM jobs WHERE state = 'cancelled'") == [(1,)]
        for command in ("cancel", "first"):
            assert "inbox/generate is a folder" in hotfolder(layout, command, "inbox/generate").stderr
        assert "failed is a folder" in hotfolder(layout, "retry", "failed").stderr


def test_a_command_that_is_begun_cannot_be_withdrawn_and_outlives_a_crash(layout: Layout) -> None:
    mailbox.ask(layout, {"do": "resume"})
    for path, _ in mailbox.commands(layout):
        (waits,) = mailbox.waiting(layout)
        assert waits.is_begun
        assert not mailbox.withdraw(waits.path)
        assert path.exists()
        assert "asked    resume (begun)\n" in hotfolder(layout, "status").stdout
    ((path, command),) = mailbox.commands(layout)  # nobody has answered
    assert command == {"do": "resume"}
    mailbox.done(path, {})
    assert list(mailbox.waiting(layout)) == []


# --- reroute -------------------------------------------------------------------------------------


@pytest.fixture
def judged(layout: Layout) -> Layout:
    scores = {"a": 4.0, "b": 6.0, "c": 6.6, "d": 6.9}
    for number, name in enumerate(scores):
        picture(layout.inbox(Kind.SCORE) / f"sub/{name}.png", number)
    daemon(layout, ScriptedExecutor(lambda _, item: scores[str(item.source)[-5]])).run(once=True)
    assert sorted_into(layout) == "reject/sub: ab, keep/sub: cd"
    return layout


def sorted_into(layout: Layout) -> str:
    found = {folder: "".join(p[-5] for p in files_in(layout, folder)) for folder in ("reject/sub", "keep/sub")}
    return ", ".join(f"{folder}: {names}" for folder, names in found.items())


def test_reroute_moves_by_stored_scores_and_can_be_undone(judged: Layout) -> None:
    dry = hotfolder(judged, "reroute", "--keep", "6.8", "--dry-run")
    assert dry.stdout == "0 images would go to keep/, 1 to reject/\n  6.60  keep/sub/c.png\n"
    assert sorted_into(judged) == "reject/sub: ab, keep/sub: cd"
    executor = ScriptedExecutor(always(9.9))
    with working(daemon(judged, executor)):
        wait_for(judged.live_status.exists, 20, "it runs")
        done = hotfolder(judged, "reroute", "--keep", "6.8")
        assert done.stdout.startswith("0 images went to keep/, 1 to reject/\n"), done.stderr
        assert sorted_into(judged) == "reject/sub: abc, keep/sub: d"
        assert json.loads(hotfolder(judged, "reroute", "--keep", "5", "--json").stdout)["kept"] == 2
        assert sorted_into(judged) == "reject/sub: a, keep/sub: bcd"
        assert rows(judged, "SELECT path, verdict FROM results ORDER BY path")[0] == ("keep/sub/b.png", "keep")
        assert hotfolder(judged, "reroute", "--undo").stdout == "0 images went to keep/, 2 to reject/\n"
        assert sorted_into(judged) == "reject/sub: abc, keep/sub: d"
        assert hotfolder(judged, "reroute", "--undo").stdout == "1 images went to keep/, 0 to reject/\n"
        assert sorted_into(judged) == "reject/sub: ab, keep/sub: cd"
        assert hotfolder(judged, "reroute", "--undo").returncode == 2
    assert executor.batches == []
    check_consistent(judged)


def test_reroute_of_what_a_person_took_or_put_there(judged: Layout) -> None:
    (judged.root / "keep/sub/c.png").unlink()
    theirs = picture(judged.root / "reject/sub/d.png", 99).read_bytes()
    with working(daemon(judged, ScriptedExecutor(always(9.9)))):
        wait_for(judged.live_status.exists, 20, "it runs")
        told = json.loads(hotfolder(judged, "reroute", "--keep", "7", "--json").stdout)
        # What was deleted is known to be gone.
        assert (told["kept"], told["rejected"], told["missing"]) == (0, 1, 0)
    assert (judged.root / "reject/sub/d.png").read_bytes() == theirs
    assert (judged.root / "reject/sub/d-1.png").exists()


def test_reroute_that_is_not_understood(judged: Layout) -> None:
    for arguments in ((), ("--keep", "11"), ("--keep", "5", "--undo"), ("--undo",)):
        done = hotfolder(judged, "reroute", *arguments)
        assert done.returncode == 2, arguments
        assert "Traceback" not in done.stderr
