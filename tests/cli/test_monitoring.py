"""status --check and --prometheus: what monitoring is told of a line that is dead, paused, stuck, or has failures."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hotfolder import __version__
from hotfolder.cli.app import app
from hotfolder.cli.check import SILENT, STUCK, State, check
from hotfolder.cli.doctor.daemon import examine as of_daemon
from hotfolder.cli.status import show_status
from hotfolder.cli.why import explain
from hotfolder.cli.workers import show_workers
from hotfolder.core.health import LONGEST
from hotfolder.daemon import loop, metrics
from hotfolder.daemon.notifications import Notifications
from hotfolder.documents.status import gather
from hotfolder.errors import BadInput, ConfigError
from hotfolder.folders.layout import Layout
from hotfolder.folders.lock import RootLock
from hotfolder.gallery.asking import Asking
from hotfolder.gallery.panel import panel
from hotfolder.ledger.reader import Reader
from hotfolder.status.live import HEARTBEAT_EVERY, Live, Snapshot, read, snapshot
from hotfolder.status.prometheus import exposition
from hotfolder.types import Kind
from tests.faults.disks import working
from tests.support.gallery import serving
from tests.support.live import wait_for
from tests.support.roots import daemon, picture
from tests.support.scripted import ScriptedExecutor, always

NOW = 1_800_000_000.0


def moment(**differs: Any) -> Snapshot:
    usual = snapshot(
        started_at=NOW - 500, now=NOW - 1, watcher="inotify", progress=None, since=NOW, done=0, failed=0, open_jobs=0,
        unsettled=0, paused=None, unplaced=0, taking=True, left_alone={}, expected=0.0, left_seconds=None,
    )  # fmt: skip
    return replace(usual, **{"changed_at": NOW - 5, **differs})


@pytest.fixture
def running(layout: Layout) -> Iterator[Layout]:
    lock = RootLock(layout.lock)
    lock.acquire()
    yield layout
    lock.release()


def judged(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, snap: Snapshot | None, **differs: Any
) -> tuple[State, str]:
    monkeypatch.setattr(time, "time", lambda: NOW)
    if snap is None:
        layout.live_status.unlink(missing_ok=True)
    else:
        layout.live_status.write_text(json.dumps(asdict(snap)))
    found = {**gather(layout), **differs}
    checked = check(found, NOW, differs.pop("most", 0))
    assert checked.line.count("|") == 1
    assert "\n" not in checked.line
    return checked.state, checked.text


def test_each_state_of_a_line_has_its_code(running: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    def found(snap: Snapshot | None, **differs: Any) -> tuple[State, str]:
        return judged(running, monkeypatch, snap, **differs)

    waiting = {"queue": {"score": {"queued": 3, "running": 1, "done": 0, "failed": 0}}}
    assert found(moment()) == (State.OK, "idle; 0 jobs open")
    assert found(moment(changed_at=NOW - 10 * STUCK)) == (State.OK, "idle; 0 jobs open")
    assert found(moment(), **waiting) == (State.OK, "idle; 4 jobs open")
    state, text = found(moment(changed_at=NOW - STUCK - 1), **waiting)
    assert (state, text) == (State.CRITICAL, "stuck: 4 jobs wait and nothing has changed for 2701 s")
    state, text = found(moment(updated_at=NOW - SILENT - 1))
    assert state is State.CRITICAL
    assert "has said nothing for 181 s" in text
    assert found(moment(updated_at=NOW + 3600))[0] is State.OK  # the clock was set back
    assert found(moment(paused="you asked for it")) == (State.WARNING, "paused: you asked for it")
    assert found(moment(paused="disk | full", taking=False))[0] is State.CRITICAL
    assert found(moment(), failures_last_hour=2) == (State.WARNING, "2 jobs failed in the last hour")
    assert found(moment(), failures_last_hour=2, most=2)[0] is State.OK
    assert found(moment(refused="gate.kep: unknown"))[0] is State.WARNING
    assert found(moment(unplaced=1))[0] is State.WARNING
    assert found(moment(left_alone={"links": 3}))[0] is State.OK
    assert found(moment(left_alone={"unreadable": 1}))[0] is State.WARNING
    state, text = found(moment(paused="no space", taking=False, unplaced=1), failures_last_hour=1)
    assert (state, text.split("; ")[0]) == (State.CRITICAL, "paused: no space")
    assert len(text.split("; ")) == 3
    assert found(None, starting_seconds=9.0) == (State.OK, "starting; 0 jobs open")
    assert found(None, starting_seconds=301.0)[0] is State.WARNING
    assert found(None, status_is_readable=False)[0] is State.UNKNOWN


@pytest.mark.parametrize(
    ("state", "out", "is_told"),
    [
        ("set aside", LONGEST + 1, True), ("loading", LONGEST + 1, True), ("unfit", LONGEST + 1, True),
        ("set aside", LONGEST - 1, False), ("idle", None, False), ("working", None, False),
    ],
)  # fmt: skip
def test_a_device_that_is_set_aside_for_long_is_a_warning(
    running: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], state: str,
    out: float | None, is_told: bool,
) -> None:  # fmt: skip
    each = {
        "device": "cuda:1", "machine": "box", "pid": 1, "state": state, "holds": [], "kind": None, "jobs": 0,
        "stage": None, "step": 0, "steps": 0, "pace": {}, "memory_used": None, "memory_total": None, "lacks": [],
        "temperature": None, "reason": "it is gone", "back_in_seconds": 60.0, "out_seconds": out,
    }  # fmt: skip
    told = judged(running, monkeypatch, moment(devices=[each]))
    text = "cuda:1 gets no work for 30 min: it is gone"
    assert told == ((State.WARNING, text) if is_told else (State.OK, "idle; 0 jobs open"))
    assert of_daemon(running).status == ("warn" if is_told else "ok")
    show_status(running.root, as_json=False, watch=False)
    show_workers(running.root, as_json=False, watch=False)
    assert capsys.readouterr().out.count("it is gone, for 30 min") == 2 * is_told
    metric = f'hotfolder_worker_out_seconds{{root="{running.root}",device="cuda:1",machine="box"}} {out or 0:g}\n'
    assert metric in exposition(gather(running), NOW)
    older = {key: value for key, value in each.items() if key != "out_seconds"}
    assert judged(running, monkeypatch, moment(devices=[older]))[0] is State.OK


def test_the_command_tells_by_its_exit_code(layout: Layout, tmp_path: Path) -> None:
    def run(*options: str) -> Any:
        return CliRunner().invoke(app, ["status", *options])

    dead = run("--check", "--root", str(layout.root))
    assert (dead.exit_code, dead.stderr) == (2, "")
    assert re.fullmatch(
        rf"HOTFOLDER CRITICAL: no daemon works on {layout.root} "
        r"\| queued=0;;;0 running=0;;;0 failures=0;0;;0\n", dead.stdout,
    )  # fmt: skip
    document = json.loads(run("--check", "--json", "--root", str(layout.root)).stdout)
    assert document["check"]["state"] == "critical"
    assert document["daemon"]["running"] is False
    for root in (tmp_path / "none", layout.root / "keep"):
        unknown = run("--check", "--root", str(root))
        assert (unknown.exit_code, unknown.stdout.partition(":")[0]) == (3, "HOTFOLDER UNKNOWN")
    layout.database.write_bytes(b"no database" * 99)
    unknown = run("--check", "--root", str(layout.root))
    assert (unknown.exit_code, "cannot be read" in unknown.stdout) == (3, True)
    assert run("--check", "--watch", "--root", str(layout.root)).exit_code != 0


#: A line of https://prometheus.io/docs/instrumenting/exposition_formats/
SAMPLE = re.compile(r'([a-z_]+)\{((?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)+)\} (\S+)')


def test_metrics_are_what_prometheus_reads(running: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW)
    snap = moment(paused="x", taking=False, refused="y", device="cuda:0", memory_used=5, memory_total=9)
    running.live_status.write_text(json.dumps(asdict(snap)))
    odd = '/a "b"\\c\nd\udce9'
    text = exposition({**gather(running), "root": odd}, NOW)
    assert text.endswith("\n")
    types: dict[str, str] = {}
    values = {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            name, types[name] = line.split()[2:]
        elif not line.startswith("# HELP "):
            found = SAMPLE.fullmatch(line)
            assert found is not None, line
            assert found[2].startswith('root="/a \\"b\\"\\\\c\\nd\\\\udce9"')
            assert found[1] in types
            labels = found[2].partition(",")[2]
            assert values.setdefault((found[1], labels), float(found[3])) == float(found[3])
    assert all(name.startswith("hotfolder_") for name in types)
    assert all((kind == "counter") == name.endswith("_total") for name, kind in types.items())
    assert values["hotfolder_up", ""] == 1
    assert values["hotfolder_paused", 'by="trouble"'] == 1
    assert values["hotfolder_paused", 'by="person"'] == 0
    assert values["hotfolder_config_last_reload_successful", ""] == 0
    assert values["hotfolder_start_time_seconds", ""] == NOW - 500
    assert values["hotfolder_heartbeat_time_seconds", ""] == NOW - 1
    assert values["hotfolder_device_memory_used_bytes", 'device="cuda:0"'] == 5
    assert values["hotfolder_build_info", f'version="{__version__}"'] == 1


def test_metrics_are_written_whole_or_not_at_all(layout: Layout, tmp_path: Path) -> None:
    target = tmp_path / "hotfolder.prom"

    def write(file: str) -> Any:
        return CliRunner().invoke(app, ["status", "--prometheus", file, "--root", str(layout.root)])

    assert write(str(target)).exit_code == 0
    assert f'hotfolder_up{{root="{layout.root}"}} 0\n' in target.read_text()
    inode = target.stat().st_ino
    assert write(str(target)).exit_code == 0
    assert target.stat().st_ino != inode  # another file, in its place
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["hotfolder.prom"]
    assert "hotfolder_up" in write("-").stdout
    target.write_text("")  # made by who keeps the folder
    assert write(str(target)).exit_code == 0
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff")
    assert "is there already" in str(write(str(tmp_path / "photo.jpg")).exception)
    assert (tmp_path / "photo.jpg").read_bytes() == b"\xff\xd8\xff"
    (tmp_path / "photo.jpg").unlink()
    (tmp_path / "link.prom").symlink_to(target)
    assert "it is no regular file" in str(write(str(tmp_path / "link.prom")).exception)  # nor is a device replaced
    refused = write("/proc/none/x.prom")
    assert "cannot be written" in str(refused.exception)


def test_a_daemon_with_nothing_to_do_still_says_that_it_lives(tmp_path: Path) -> None:
    live, told = Live(tmp_path / "status.json", None, lambda _: None), moment()
    times = []
    for second in range(0, 31, 1):
        live.update(NOW + second, lambda now=NOW + second: replace(told, updated_at=now, changed_at=0.0))  # type: ignore[misc]
        found = read(tmp_path / "status.json")
        assert found is not None
        times.append((found.updated_at - NOW, found.changed_at - NOW))
    assert sorted(set(times)) == [(0, 0), (HEARTBEAT_EVERY, 0), (2 * HEARTBEAT_EVERY, 0), (3 * HEARTBEAT_EVERY, 0)]
    live.update(NOW + 40, lambda: replace(told, stage="scoring", updated_at=NOW + 40))
    found = read(tmp_path / "status.json")
    assert found is not None
    assert found.changed_at == NOW + 40
    for second, differs in {
        50: {"left_seconds": 9.0},
        60: {"open": 5, "unsettled": 2},
        70: {"memory_used": 7},
    }.items():
        live.update(NOW + second, lambda d=differs: replace(told, stage="scoring", **d))  # type: ignore[misc]
        found = read(tmp_path / "status.json")
        assert found is not None
        assert found.changed_at == NOW + 40, differs  # nothing of that is work that gets on
    assert found.version == __version__
    # What a later version adds is no reason to know nothing.
    (tmp_path / "status.json").write_text(json.dumps({**asdict(found), "moons": 2}))
    assert read(tmp_path / "status.json") == found
    for odd in ("[]", "{}", '"x"', ""):
        (tmp_path / "status.json").write_text(odd)
        assert read(tmp_path / "status.json") is None


def test_what_a_killed_daemon_said_last_is_not_said_of_the_one_that_starts(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    killed = moment(paused="no space", taking=False, updated_at=time.time() - 9999)
    layout.live_status.write_text(json.dumps(asdict(killed)))
    during: list[tuple[Any, str, int]] = []
    opened = loop.open_or_rebuild

    def slow(*arguments: Any, **options: Any) -> Any:
        show_status(layout.root, as_json=False, watch=False)
        found = check(gather(layout), time.time(), 0)
        during.append((found, capsys.readouterr().out, layout.live_status.stat().st_size))
        return opened(*arguments, **options)

    monkeypatch.setattr(loop, "open_or_rebuild", slow)
    daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    ((checked, shown, size),) = during
    assert (checked.state, checked.text) == (State.OK, "starting; 0 jobs open")
    assert "starting for 0 s" in shown
    assert "None" not in shown
    assert size > 10_000  # a full disk takes no new file


def test_a_daemon_that_waits_for_its_hooks_at_the_end_does_not_seem_to_start(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Snapshot | None] = []
    monkeypatch.setattr(Notifications, "close", lambda *_: told.append(read(layout.live_status)))
    daemon(layout, ScriptedExecutor(always(6.6))).run(once=True)
    (last,) = told
    assert last is not None and last.stage == "idle"
    assert not layout.live_status.exists()


def test_a_daemon_of_another_version_and_refused_settings_are_shown(
    running: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    running.live_status.write_text(json.dumps(asdict(moment(version="0.0.1", refused="unknown key 'gate.kep'"))))
    show_status(running.root, as_json=False, watch=False)
    told = capsys.readouterr().out
    assert f"version  the daemon is of 0.0.1, this is {__version__}: start it anew" in told
    assert "refused  unknown key 'gate.kep'; what was read before is in force" in told


def test_failures_of_the_last_hour_are_counted(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(3):
        picture(layout.inbox(Kind.SCORE) / f"{number}.png", number)
    line = daemon(layout, ScriptedExecutor(lambda *_: BadInput("it is broken", "mend it")))
    with working(line):
        wait_for(layout.live_status.exists, 20, "it runs")
        wait_for(lambda: gather(layout)["failures_last_hour"] == 3, 20, "three failed")
        assert check(gather(layout), time.time(), 0).state is State.WARNING
        assert check(gather(layout), time.time(), 3).state is State.OK
        show_status(layout.root, as_json=True, watch=False)
    found = json.loads(capsys.readouterr().out)
    assert found["daemon"]["version"] == __version__
    assert found["heartbeat_seconds"] < 60


def test_the_daemon_writes_the_metrics_itself(layout: Layout, tmp_path: Path) -> None:
    target = tmp_path / "metrics" / "hotfolder.prom"
    target.parent.mkdir()
    picture(layout.inbox(Kind.SCORE) / "a.png")
    up = f'hotfolder_up{{root="{layout.root}"}}'
    with working(daemon(layout, ScriptedExecutor(always(6.6)), METRICS__TEXTFILE=str(target))):
        wait_for(target.exists, 20, "it is written")
        assert f"{up} 1\n" in target.read_text()
        wait_for(lambda: list((layout.root / "keep").iterdir()) != [], 20, "the picture is kept")
    told = target.read_text()
    assert f"{up} 0\n" in told  # it ended in order, and what it did stands there
    assert f'hotfolder_images{{root="{layout.root}",result="keep"}} 1\n' in told
    assert f'hotfolder_jobs_completed_total{{root="{layout.root}",kind="score"}} 1\n' in told
    assert [path.name for path in target.parent.iterdir()] == ["hotfolder.prom"]


def test_metrics_that_cannot_be_written_hinder_nothing(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(metrics, "EVERY", 0.0)
    picture(layout.inbox(Kind.SCORE) / "a.png")
    line = daemon(layout, ScriptedExecutor(always(6.6)), METRICS__TEXTFILE="/proc/none/x.prom")
    assert line.run(once=True).done == 1
    assert caplog.text.count("no metrics") == 1
    with pytest.raises(ConfigError, match="textfile"):
        daemon(layout, ScriptedExecutor(always(6.6)), METRICS__TEXTFILE="metrics.txt")


def test_after_a_kill_nothing_is_said_to_be_in_work(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    killed = Layout(tmp_path / "killed")

    def left(source: str, target: str) -> None:
        """As a kill leaves it just now; what was dropped is the very file."""
        (os.link if "/inbox/" in source else shutil.copy2)(source, target)

    def script(*_: Any) -> float:
        if not killed.root.exists():
            shutil.copytree(layout.root, killed.root, copy_function=left)
        return 6.6

    for number in range(3):
        picture(layout.inbox(Kind.SCORE) / f"{number}.png", number)
    daemon(layout, ScriptedExecutor(script), SCORE__BATCH_SIZE="2").run(once=True)
    with Reader(killed.database) as reader:
        in_work = [row["source_file"] for row in reader.running()]
    assert len(in_work) == 2

    def shown() -> str:
        show_status(killed.root, as_json=False, watch=False)
        return capsys.readouterr().out

    found = gather(killed)
    assert (found["queue"]["score"]["queued"], found["queue"]["score"]["running"]) == (3, 0)
    assert (found["interrupted"], found["running"], found["daemon"]["running"]) == (2, [], False)
    assert "not running (start it with: hotfolder run)\nbegun    2 jobs were in work when the last" in shown()
    checked = check(found, time.time(), 0)
    assert (checked.state, checked.text.partition("; ")[2]) == (
        State.CRITICAL, "jobs in work when the last one ended: 2",
    )  # fmt: skip
    assert " running=0;" in checked.values
    assert re.search(r'hotfolder_jobs\{.*kind="score",state="running"\} 0\n', exposition(found, NOW))
    why = explain(killed, killed.root / in_work[0])
    assert (why["state"], why["reason"]) == (
        "waiting", "no daemon runs on this root; score was in work when the last one ended, and is taken up again",
    )  # fmt: skip
    with serving(killed) as client:
        told = client.get(f"/api/files?ids={','.join(map(str, range(1, 4)))}").json["files"]
        assert {(each["state"], each["running"], each["waiting"]) for each in told} == {("waiting", 0, 1)}
    asked = panel(killed, Asking(killed))
    assert {job["state"] for job in asked["jobs"]} == {"queued"}
    assert asked["queue"]["score"]["running"] == 0
    # The next one takes them up, and while it starts says so.
    during: list[str] = []
    opened = loop.open_or_rebuild
    monkeypatch.setattr(loop, "open_or_rebuild", lambda *a, **k: (during.append(shown()), opened(*a, **k))[1])
    assert daemon(killed, ScriptedExecutor(always(6.6))).run(once=True).done == 3
    assert "starting for 0 s\nbegun    2 jobs were in work when the last daemon ended" in during[0]
    assert gather(killed)["interrupted"] == 0
    assert "begun" not in shown()
