"""What a person sees of progress."""

from __future__ import annotations

import logging

import pytest

from hotfolder.cli import display
from hotfolder.cli.display import Display, _Rate
from hotfolder.status.live import Snapshot
from hotfolder.system.logs import _BriefFormatter, brief


def snapshot(**facts: object) -> Snapshot:
    usual = {
        "pid": 1, "started_at": 0.0, "updated_at": 0.0, "watcher": "inotify", "stage": "scoring", "step": 0,
        "steps": 0, "stage_since": 0.0, "device": "cpu", "memory_used": 0, "memory_total": 0, "done": 10, "failed": 0,
        "open": 20, "unsettled": 0, "paused": None,
    }  # fmt: skip
    return Snapshot(**{**usual, **facts})  # type: ignore[arg-type]


def test_the_rate_is_that_of_late_and_the_time_left_is_the_one_that_was_told() -> None:
    rate = _Rate(0.0)
    assert rate.told(0, 100, 0.1, None, known=True) == "–/s  ETA –"
    assert rate.told(10, 100, 5.0, 200.0, known=True) == "2.0/s  ETA 3 min"
    assert rate.told(20, 100, 10.0, None, known=False) == "2.0/s  ETA 40 s"
    for second in range(11, 80):
        told = rate.told(20 + (second - 10) / 10, 100, float(second), None, known=True)
    assert told == "6.0/min  ETA –"


def test_it_counts_what_will_follow(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(display, "_PLAIN_EVERY", 0.0)
    with Display() as shown:
        shown.show(snapshot(expected=34.6, left_seconds=61.0))
        shown.show(snapshot(open=0, done=45, stage="idle"))
        shown.show(snapshot(paused="no space", open=3, done=45))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("scoring: 10/45") and lines[0].endswith("ETA 61 s")
    assert lines[1] == "waiting for files: 45/45"
    assert lines[2].startswith("paused: no space: 45/48")


def test_briefly_is_a_line_an_image_and_what_is_wrong() -> None:
    formatter = _BriefFormatter("%(levelname)s %(message)s")
    told = {"msg": "job %d: a", "args": (1,), "levelno": logging.INFO, **brief("keep      6.82  100%s.png")}
    line = logging.makeLogRecord(told)
    assert formatter.format(line) == "keep      6.82  100%s.png"
    wrong = {"msg": "job 1: failed", "levelno": logging.WARNING, "levelname": "WARNING", **brief("x")}
    assert formatter.format(logging.makeLogRecord(wrong)) == "WARNING job 1: failed"
