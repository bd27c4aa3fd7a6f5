"""What is in work, what waits, what has failed and what was asked: for the page's side panel."""

from __future__ import annotations

from typing import Any

from hotfolder.core.times import utc
from hotfolder.documents.status import gather
from hotfolder.folders.layout import Layout
from hotfolder.gallery.asking import Asking
from hotfolder.ledger.shown import Shown

#: Jobs that wait, and failures, that are told; and images that wait for a verdict to be carried out.
_MOST_JOBS, _MOST_FAILURES, _MOST_PENDING = 50, 50, 20_000
#: What tells of this machine, and is nothing for a page; and what is the same but for the time.
_PRIVATE = ("root", "running", "recent_failures", "commands", "heartbeat_seconds", "unchanged_seconds")


def panel(layout: Layout, asking: Asking) -> dict[str, Any]:
    """JSON, without any absolute path. Raises HotfolderError."""
    found = {key: value for key, value in gather(layout).items() if key not in _PRIVATE}
    found["daemon"] = {key: value for key, value in found["daemon"].items() if key not in ("pid", "device")}
    waiting = asking.waiting()
    jobs: list[dict[str, Any]] = []
    failures: list[dict[str, Any]] = []
    undoable = None
    if layout.database.exists():
        with Shown(layout.database) as reader:
            jobs, failures = reader.shown_jobs(_MOST_JOBS), reader.shown_failures(_MOST_FAILURES)
            last = reader.last_actions(1)
            undoable = {"action": last[0]["kind"], "files": last[0]["files"]} if last else None
    pending: dict[int, str] = {}
    for each in waiting:
        if each.command.get("do") == "verdict":
            for image_id in each.command.get("images", [])[: _MOST_PENDING - len(pending)]:
                pending[image_id] = str(each.command.get("verdict"))
    return {
        **found,
        "jobs": jobs,
        "failures": [{**row, "finished_at": utc(row["finished_at"])} for row in failures],
        "waiting": len(waiting),
        "pending": list(pending.items()),
        "undoable": undoable,
    }
