"""`hotfolder status`."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hotfolder.folders.layout import Layout
from hotfolder.folders.lock import holder
from hotfolder.ledger.reader import Reader
from hotfolder.live import Snapshot, read
from hotfolder.printable import printable
from hotfolder.root import find_root

STATES = ("queued", "running", "done", "failed", "cancelled")


def gather(layout: Layout) -> dict[str, Any]:
    """Everything that `status` tells, as JSON: times in UTC."""
    pid = holder(layout.lock)
    live = read(layout.live_status) if pid is not None else None
    queue: dict[str, dict[str, int]] = {}
    images = {"keep": 0, "reject": 0, "upscaled": 0}
    running: list[dict[str, Any]] = []
    failures: list[dict[str, Any]] = []
    if layout.database.exists():
        with Reader(layout.database) as reader:
            queue, images = reader.counts(), reader.outcome_counts()
            running, failures = reader.running(), reader.recent_failures()
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
        },
        "queue": {k: {s: queue.get(k, {}).get(s, 0) for s in STATES} for k in kinds},
        "images": images,
        "running": [
            {
                "job_id": row["id"], "kind": row["kind"], "source_file": row["source_file"],
                "attempt": row["attempt"], "started_at": utc(row["started_at"]),
            }
            for row in running
        ],
        "recent_failures": [
            {
                "job_id": row["id"], "kind": row["kind"], "source_file": row["source_file"],
                "error": {"kind": row["error_kind"], "message": row["error"], "fix": row["fix"]},
                "finished_at": utc(row["finished_at"]),
            }
            for row in failures
        ],
    }  # fmt: skip


def utc(moment: float | None) -> str | None:
    if moment is None:
        return None
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def show_status(given: Path | None, *, as_json: bool) -> None:
    layout = Layout(find_root(given))
    found = gather(layout)
    if as_json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
        return
    sys.stdout.write(_text(found, read(layout.live_status)))


def _text(found: dict[str, Any], live: Snapshot | None) -> str:
    daemon = found["daemon"]
    lines = [f"root     {found['root']}"]
    if not daemon["running"]:
        lines.append("daemon   not running (start it with: hotfolder run)")
    else:
        since = f" for {_span(time.time() - live.started_at)}" if live else ""
        lines.append(f"daemon   running, process {daemon['pid']}{since}, watching by {daemon['watcher']}")
        step = f" {daemon['step']}/{daemon['steps']}" if daemon["steps"] else ""
        lines.append(f"now      {daemon['stage']}{step}")
        if daemon["paused"]:
            lines.append(f"paused   {daemon['paused']}")
        if daemon["unsettled"]:
            lines.append(f"arriving {daemon['unsettled']} files that are not complete yet")
    lines += ["", f"{'':<9}" + "".join(f"{state:>11}" for state in STATES)]
    for kind, states in found["queue"].items():
        lines.append(f"{kind:<9}" + "".join(f"{states[state]:>11}" for state in STATES))
    images = found["images"]
    lines += [
        "",
        f"images   {images['keep']} kept, {images['reject']} rejected, {images['upscaled']} enlarged",
    ]
    if found["recent_failures"]:
        lines += ["", "latest failures"]
        for failure in found["recent_failures"]:
            lines.append(f"  {printable(failure['source_file'])}: {printable(failure['error']['message'])}")
            if failure["error"]["fix"]:
                lines.append(f"    fix: {printable(failure['error']['fix'])}")
    return "\n".join(lines) + "\n"


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} days"
