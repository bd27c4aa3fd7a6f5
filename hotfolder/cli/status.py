"""`hotfolder status`."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from hotfolder import __version__
from hotfolder.cli.times import span, utc
from hotfolder.cli.withdraw import as_document
from hotfolder.config.root import find_root
from hotfolder.errors import UsageError
from hotfolder.folders.layout import Layout
from hotfolder.folders.lock import holder, taken_at
from hotfolder.ledger.reader import Reader
from hotfolder.printable import printable
from hotfolder.status import mailbox
from hotfolder.status.live import Snapshot, read

STATES = ("queued", "running", "done", "failed", "cancelled")
#: Seconds whose jobs make the pace, and between two looks.
_PACE_SECONDS, _WATCH_EVERY = 600, 1.0
_HOUR = 3600
#: Commands that are named.
_SOME = 5


def gather(layout: Layout) -> dict[str, Any]:
    """Everything that `status` tells, as JSON: times in UTC."""
    pid, now = holder(layout.lock), time.time()
    live = read(layout.live_status) if pid is not None else None
    queue: dict[str, dict[str, int]] = {}
    images = today = {"keep": 0, "reject": 0, "upscaled": 0}
    pace: dict[str, float] = {}
    running: list[dict[str, Any]] = []
    failures: list[dict[str, Any]] = []
    failed_lately = 0
    if layout.database.exists():
        with Reader(layout.database) as reader:
            queue, images = reader.counts(), reader.outcome_counts()
            running, failures = reader.running(), reader.recent_failures()
            today, pace = reader.outcome_counts(_midnight()), reader.pace(now - _PACE_SECONDS)
            failed_lately = reader.failures_since(now - _HOUR)
    kinds = ("generate", "score", "upscale")
    return {
        "schema_version": 1,
        "root": str(layout.root),
        "daemon": {
            "running": pid is not None,
            "pid": pid,
            "started_at": utc(live.started_at) if live else None,
            "watcher": live.watcher if live else None,
            "stage": live.stage if live else None,
            "step": live.step if live else None,
            "steps": live.steps if live else None,
            "paused": live.paused if live else None,
            "unsettled": live.unsettled if live else None,
            "taking": live.taking if live else None,
            "unplaced": live.unplaced if live else None,
            "left_alone": dict(live.left_alone) if live else None,
            "eta_seconds": _step_eta(live),
            "device": live.device or None if live else None,
            "memory_used": live.memory_used or None if live else None,
            "memory_total": live.memory_total or None if live else None,
            "refused_configuration": live.refused if live else None,
            "version": live.version or None if live else None,
        },
        "heartbeat_seconds": _since(live.updated_at, now) if live else None,
        "unchanged_seconds": _since(live.changed_at, now) if live and live.changed_at else None,
        "status_is_readable": not os.path.lexists(layout.live_status) or os.access(layout.live_status, os.R_OK),
        "starting_seconds": _since(taken_at(layout.lock), now) if pid is not None and live is None else None,
        "commands": [as_document(layout, each) for each in _commands(layout)],
        "queue": {k: {s: queue.get(k, {}).get(s, 0) for s in STATES} for k in kinds},
        "images": images,
        "today": today,
        "jobs_per_second": {kind: round(rate, 4) for kind, rate in pace.items()},
        "eta_seconds": _left(live),
        "running": [
            {
                "job_id": row["id"], "kind": row["kind"], "source_file": row["source_file"],
                "attempt": row["attempt"], "started_at": utc(row["started_at"]),
            }
            for row in running
        ],
        "failures_last_hour": failed_lately,
        "recent_failures": [
            {
                "job_id": row["id"], "kind": row["kind"], "source_file": row["source_file"],
                "error": {"kind": row["error_kind"], "message": row["error"], "fix": row["fix"]},
                "finished_at": utc(row["finished_at"]),
            }
            for row in failures
        ],
    }  # fmt: skip


def _since(moment: float | None, now: float) -> float | None:
    """Seconds; a clock that was set back makes none of them negative."""
    return None if moment is None else round(max(0.0, now - moment), 1)


def _commands(layout: Layout) -> list[mailbox.Waiting]:
    """What was asked of a daemon and is not carried out yet."""
    with contextlib.suppress(OSError):  # another user's: `doctor` tells of it
        return list(mailbox.waiting(layout))
    return []


def _midnight() -> float:
    """When today began here, in seconds since the epoch."""
    return datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0).timestamp()


def _left(live: Snapshot | None) -> float | None:
    """Seconds until nothing is left, as the daemon estimates it; None where it does not know, or waits."""
    if live is None or live.paused or live.left_seconds is None:
        return None
    return round(max(0.0, live.left_seconds - (time.time() - live.updated_at)), 1)


def _step_eta(live: Snapshot | None) -> float | None:
    """Seconds until the last step of what is in work."""
    if live is None or not live.step or not live.steps:
        return None
    return round((live.steps - live.step) * (live.updated_at - live.stage_since) / live.step, 1)


def one_of(**wanted: bool) -> None:
    """Raises UsageError where more than one of these options is there."""
    names = [f"--{name}" for name, is_there in wanted.items() if is_there]
    if len(names) > 1:
        raise UsageError(f"{' and '.join(names)} exclude each other", "choose one")


def check_status(given: Path | None, *, most_failures: int, as_json: bool) -> int:
    """For a monitoring system; gives its exit code. Nothing is raised but for Ctrl-C."""
    from hotfolder.cli.check import run_check

    return run_check(lambda: gather(Layout(find_root(given))), time.time(), most_failures, as_json=as_json)


def export_status(given: Path | None, target: str) -> None:
    """For Prometheus, to a file or with '-' to stdout. Raises UsageError where it cannot be written."""
    from hotfolder.cli.prometheus import write

    write(gather(Layout(find_root(given))), time.time(), target)


def show_status(given: Path | None, *, as_json: bool, watch: bool) -> None:
    """Once, or again and again until Ctrl-C. Raises UsageError for JSON that would not end."""
    layout = Layout(find_root(given))
    if watch and as_json:
        raise UsageError("--watch does not end, so it cannot be one JSON document", "leave one of the two out")
    if as_json:
        sys.stdout.write(json.dumps(gather(layout), indent=2) + "\n")
    elif not watch:
        sys.stdout.write(_text(gather(layout), read(layout.live_status)))
    else:
        _watch(layout)


def _watch(layout: Layout) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        if sys.stdout.isatty():
            _watch_on_terminal(layout)
        while True:
            sys.stdout.write(f"{_text(gather(layout), read(layout.live_status))}\n")
            sys.stdout.flush()
            time.sleep(_WATCH_EVERY)


def _watch_on_terminal(layout: Layout) -> NoReturn:
    from rich.live import Live  # only here: it takes its time
    from rich.text import Text

    with Live(auto_refresh=False, screen=True) as display:
        while True:
            clock = datetime.now().astimezone().strftime("%H:%M:%S")
            text = f"{_text(gather(layout), read(layout.live_status))}\n{clock}, Ctrl-C ends"
            display.update(Text(text), refresh=True)
            time.sleep(_WATCH_EVERY)


def _text(found: dict[str, Any], live: Snapshot | None) -> str:
    daemon = found["daemon"]
    lines = [f"root     {found['root']}"]
    if not daemon["running"]:
        lines.append("daemon   not running (start it with: hotfolder run)")
    else:
        since = f" for {span(time.time() - live.started_at)}" if live else ""
        lines.append(f"daemon   running, process {daemon['pid']}{since}, watching by {daemon['watcher']}")
        if daemon["version"] not in (None, __version__):
            lines.append(f"version  the daemon is of {daemon['version']}, this is {__version__}: start it anew")
        step = f" {daemon['step']}/{daemon['steps']}" if daemon["steps"] else ""
        left = f", {span(daemon['eta_seconds'])} left" if daemon["eta_seconds"] else ""
        lines.append(f"now      {daemon['stage']}{step}{left}")
        if daemon["memory_total"]:
            used, total = daemon["memory_used"] / 2**30, daemon["memory_total"] / 2**30
            lines.append(f"device   {daemon['device']}, {used:.1f} of {total:.1f} GiB memory in use")
        if daemon["paused"]:
            lines.append(f"paused   {daemon['paused']}")
        if daemon["refused_configuration"]:
            lines.append(
                f"refused  {printable(daemon['refused_configuration'])}; what was read before is in force"
            )
        if daemon["unplaced"]:
            lines.append(
                f"waiting  {daemon['unplaced']} results: their files cannot be moved (hotfolder why FILE)"
            )
        if daemon["left_alone"]:
            lines.append(f"left     {left_alone_text(daemon['left_alone'])} (hotfolder why FILE)")
        if daemon["unsettled"] and not daemon["taking"]:
            lines.append(f"waiting  {daemon['unsettled']} files: none is taken while the queue is paused")
        elif daemon["unsettled"]:
            lines.append(f"arriving {daemon['unsettled']} files that are just found or not complete yet")
    lines += [
        f"asked    {command['command']} "
        + ("(begun)" if command["begun"] else f"(to take it back: hotfolder withdraw {command['id']})")
        for command in found["commands"][:_SOME]
    ]
    if len(found["commands"]) > _SOME:
        lines.append(f"         and {len(found['commands']) - _SOME} more commands: hotfolder withdraw")
    lines += ["", f"{'':<9}" + "".join(f"{state:>11}" for state in STATES) + f"{'pace':>13}"]
    for kind, states in found["queue"].items():
        rate = found["jobs_per_second"].get(kind)
        pace = f"{rate:>10.1f}/s" if rate and rate >= 1 else f"{rate * 60:>8.1f}/min" if rate else ""
        lines.append(f"{kind:<9}" + "".join(f"{states[state]:>11}" for state in STATES) + f" {pace}".rstrip())
    if found["eta_seconds"] is not None:
        lines.append(
            f"\ndone in  about {span(found['eta_seconds'])}, with the scores, new tries and enlargements to come"
        )
    lines.append("")
    for name, counts in (("images", found["images"]), ("today", found["today"])):
        lines.append(f"{name:<9}{counts['keep']} kept, {counts['reject']} rejected, {counts['upscaled']} enlarged")
    if found["recent_failures"]:
        lines += ["", "latest failures"]
        for failure in found["recent_failures"]:
            lines.append(f"  {printable(failure['source_file'])}: {printable(failure['error']['message'])}")
            if failure["error"]["fix"]:
                lines.append(f"    fix: {printable(failure['error']['fix'])}")
    return "\n".join(lines) + "\n"


def left_alone_text(counts: Mapping[str, int]) -> str:
    """What lies in the inboxes and is not taken, in words."""
    told = ", ".join(f"{count} {_SORTS.get(kind, kind)}" for kind, count in counts.items())
    return f"{sum(counts.values())} in the inboxes are not taken: {told}"


#: What is not taken, by the kinds of folders.admission.
_SORTS = {
    "links": "links",
    "no_files": "pipes, sockets or devices",
    "companions": "companions without their picture",
    "restored": "that you had put back",
    "no_pictures": "no pictures",
    "refused": "that may not be moved",
    "unreadable": "files or folders that may not be read",
}
