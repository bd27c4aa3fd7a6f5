"""What is in work, what waits, what has failed and what was asked: for the page's side panel."""

from __future__ import annotations

from typing import Any

from hotfolder.core.times import utc
from hotfolder.documents.status import is_at_work, left, midnight, of_daemon, of_queue
from hotfolder.folders.layout import Layout
from hotfolder.folders.lock import holder
from hotfolder.gallery.asking import Asking
from hotfolder.ledger.shown import Shown
from hotfolder.status.live import read

#: Jobs that wait, and failures, that are told; and images that wait for a verdict to be carried out.
_MOST_JOBS, _MOST_FAILURES, _MOST_PENDING = 50, 50, 20_000
#: What tells of this machine, and is nothing for a page.
_PRIVATE = ("pid", "device")
_OF_A_DEVICE = ("device", "state", "holds", "jobs", "stage", "step", "steps", "memory_used", "memory_total")


def panel(layout: Layout, asking: Asking) -> dict[str, Any]:
    """JSON, without any absolute path: what the page shows of `status`, and no more. Raises HotfolderError."""
    pid = holder(layout.lock)
    live = read(layout.live_status) if pid is not None else None
    is_working = is_at_work(layout, pid, live)
    counts: dict[str, dict[str, int]] = {}
    today = {"keep": 0, "reject": 0, "upscaled": 0}
    jobs: list[dict[str, Any]] = []
    failures: list[dict[str, Any]] = []
    if layout.database.exists():
        with Shown(layout.database) as reader:
            counts, today = reader.counts(), reader.outcome_counts(midnight())
            jobs, failures = reader.shown_jobs(_MOST_JOBS), reader.recent_failures(_MOST_FAILURES)
    pending: dict[str, dict[int, Any]] = {"verdict": {}, "stars": {}}
    for each in asking.waiting():
        do = str(each.command.get("do"))
        if do in pending:
            for image_id in each.command.get("images", [])[: _MOST_PENDING - len(pending[do])]:
                pending[do][image_id] = each.command.get(do)
    daemon = {key: value for key, value in of_daemon(pid, live).items() if key not in _PRIVATE}
    daemon["devices"] = [{key: each[key] for key in _OF_A_DEVICE} for each in daemon["devices"]]
    return {
        "daemon": daemon,
        "queue": of_queue(counts, is_at_work=is_working),
        "today": today,
        "eta_seconds": left(live),
        "jobs": jobs if is_working else [{**job, "state": "queued"} for job in jobs],
        "failures": [{**row, "finished_at": utc(row["finished_at"])} for row in failures],
        "pending": list(pending["verdict"].items()),
        "pending_stars": list(pending["stars"].items()),
    }
