"""Everything that `hotfolder status` tells."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from hotfolder.core.times import utc
from hotfolder.documents.commands import as_document
from hotfolder.folders.layout import Layout
from hotfolder.folders.lock import holder, taken_at
from hotfolder.ledger.reader import Reader
from hotfolder.status import mailbox
from hotfolder.status.live import Snapshot, read
from hotfolder.status.queue import at_rest

_KINDS = ("generate", "score", "upscale")
STATES = ("queued", "running", "done", "failed", "cancelled")
#: Seconds whose jobs make the pace.
_PACE_SECONDS = 600
_HOUR = 3600


def gather(layout: Layout) -> dict[str, Any]:
    """Everything that `status` tells, as JSON: times in UTC."""
    pid, now = holder(layout.lock), time.time()
    live = read(layout.live_status) if pid is not None else None
    is_working = is_at_work(layout, pid, live)
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
            today, pace = reader.outcome_counts(midnight()), reader.pace(now - _PACE_SECONDS)
            failed_lately = reader.failures_since(now - _HOUR)
    return {
        "schema_version": 1,
        "root": str(layout.root),
        "daemon": of_daemon(pid, live),
        "heartbeat_seconds": _since(live.updated_at, now) if live else None,
        "unchanged_seconds": _since(live.changed_at, now) if live and live.changed_at else None,
        "status_is_readable": _is_readable(layout),
        "starting_seconds": _since(taken_at(layout.lock), now) if pid is not None and live is None else None,
        "commands": [as_document(layout, each) for each in _commands(layout)],
        "queue": of_queue(queue, is_at_work=is_working),
        "interrupted": 0 if is_working else sum(states.get("running", 0) for states in queue.values()),
        "images": images,
        "today": today,
        "jobs_per_second": {kind: round(rate, 4) for kind, rate in pace.items()},
        "eta_seconds": left(live),
        "running": [
            {
                "job_id": row["id"], "kind": row["kind"], "source_file": row["source_file"],
                "attempt": row["attempt"], "started_at": utc(row["started_at"]),
            }
            for row in (running if is_working else ())
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


def is_at_work(layout: Layout, pid: int | None, live: Snapshot | None) -> bool:
    """Whether what the ledger has as running is in work: else it is what a daemon left that was killed."""
    return pid is not None and (live is not None or not _is_readable(layout))


def works_on(layout: Layout) -> bool:
    """The same, where nothing else of the daemon is asked for. Raises UsageError as `holder` does."""
    pid = holder(layout.lock)
    return is_at_work(layout, pid, read(layout.live_status) if pid is not None else None)


def _is_readable(layout: Layout) -> bool:
    """Whether a daemon that has told something would be heard; where it has not yet, it is starting."""
    return not os.path.lexists(layout.live_status) or os.access(layout.live_status, os.R_OK)


def of_daemon(pid: int | None, live: Snapshot | None) -> dict[str, Any]:
    """What the daemon does just now; None where nothing is known of it."""
    return {
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
        "devices": [dict(each) for each in live.devices] if live else [],
        "refused_configuration": live.refused if live else None,
        "version": live.version or None if live else None,
    }


def of_queue(counts: Mapping[str, Mapping[str, int]], *, is_at_work: bool) -> dict[str, dict[str, int]]:
    """Every kind and state, also those of which there is no job."""
    found = {kind: {state: counts.get(kind, {}).get(state, 0) for state in STATES} for kind in _KINDS}
    return found if is_at_work else {kind: at_rest(states) for kind, states in found.items()}


def _since(moment: float | None, now: float) -> float | None:
    """Seconds; a clock that was set back makes none of them negative."""
    return None if moment is None else round(max(0.0, now - moment), 1)


def _commands(layout: Layout) -> list[mailbox.Waiting]:
    """What was asked of a daemon and is not carried out yet."""
    with contextlib.suppress(OSError):  # another user's: `doctor` tells of it
        return list(mailbox.waiting(layout))
    return []


def midnight() -> float:
    """When today began here, in seconds since the epoch."""
    return datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0).timestamp()


def left(live: Snapshot | None) -> float | None:
    """Seconds until nothing is left, as the daemon estimates it; None where it does not know, or waits."""
    if live is None or live.paused or live.left_seconds is None:
        return None
    return round(max(0.0, live.left_seconds - (time.time() - live.updated_at)), 1)


def _step_eta(live: Snapshot | None) -> float | None:
    """Seconds until the last step of what is in work."""
    if live is None or not live.step or not live.steps:
        return None
    return round((live.steps - live.step) * (live.updated_at - live.stage_since) / live.step, 1)
