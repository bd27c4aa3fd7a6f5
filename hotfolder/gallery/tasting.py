"""Routes about taste: what is known, why a picture has its score, what is worth comparing; and what is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hotfolder.config.folder_settings import FolderSettings
from hotfolder.config.tastes import subject
from hotfolder.folders.layout import inbox_of
from hotfolder.gallery.access import Refused
from hotfolder.gallery.actions import asks, ids
from hotfolder.gallery.site import site_of
from hotfolder.ledger.labels import LabelReader
from hotfolder.taste.in_use import InUse
from hotfolder.taste.reports import last_report, offered

#: What the page is told of a report.
_TOLD = (
    "inbox", "prior", "keep", "labels", "kept", "rejected", "pairs", "level", "offered", "threshold", "draws_line",
    "direction", "why_not_more", "more", "calibration", "lately", "learnt_at", "prior_counts_least",
)  # fmt: skip
_MOST_COMPARED = 8


async def known(request: Request) -> Response:
    """What was learnt of each inbox, with its evidence, and which head the gate looks at."""
    site = site_of(request)

    def found() -> list[dict[str, Any]]:
        in_use = InUse(site.layout.root).heads()
        told = []
        for inbox in site.settings.inboxes:
            report = last_report(site.layout, inbox)
            if report is not None:
                told.append({**{key: report.get(key) for key in _TOLD}, "in_use": in_use.get(inbox)})
        return told

    return JSONResponse({"schema_version": 1, "tastes": await anyio.to_thread.run_sync(found)})


async def why(request: Request) -> Response:
    """The three parts of a picture's score by the taste that is in use, or offered; null where there is none."""
    site, image_id = site_of(request), request.path_params["id"]

    def found() -> dict[str, Any] | None:
        row = site.row(image_id)
        inbox = inbox_of(row["source_file"])
        if inbox is None or inbox not in site.settings.inboxes:
            return None
        used = InUse(site.layout.root).head(inbox)
        name = used or offered(site.layout, inbox)
        if name is None:
            return None
        from hotfolder.taste.explaining import explained  # NumPy: only where there is a taste

        with LabelReader(site.layout.database) as reader:
            wanted = subject(FolderSettings(site.layout.root, site.settings), inbox)
            told = explained(site.layout, reader, wanted, name, image_id)
        return {**told, "is_in_use": used == name} if told is not None else None

    return JSONResponse({"schema_version": 1, "taste": await anyio.to_thread.run_sync(found)})


async def close(request: Request) -> Response:
    """Sets of pictures of one prompt near the person's threshold."""
    site = site_of(request)
    inbox = request.query_params.get("inbox", "")
    if inbox not in site.settings.inboxes:
        raise Refused(400, "bad_request", "inbox is the name of one")

    def found() -> list[list[int]]:
        if not site.layout.database.exists():
            return []
        from hotfolder.taste.explaining import close_sets  # NumPy

        wanted = subject(FolderSettings(site.layout.root, site.settings), inbox)
        report = last_report(site.layout, inbox) or {}
        threshold = report.get("threshold")
        is_own = InUse(site.layout.root).head(inbox) is None and isinstance(threshold, dict)
        # By a taste that is in use, the person's threshold stands at the gate's.
        keep = float(threshold["at"]) if is_own and threshold else wanted.keep
        with LabelReader(site.layout.database) as reader:
            return close_sets(site.layout, reader, wanted, keep)

    return JSONResponse({"schema_version": 1, "sets": await anyio.to_thread.run_sync(found)})


@asks
def settle(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Has the gate look at a head, or at none."""
    inbox, head = asked.get("inbox"), asked.get("head")
    if not isinstance(inbox, str) or not (head is None or isinstance(head, str)):
        raise Refused(400, "bad_request", "inbox is a name, head is one or null")
    return {"do": "taste", "inbox": inbox, **({"what": "off"} if head is None else {"what": "use", "head": head})}


@asks
def pair(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Of some pictures of one prompt the first is the best."""
    images = ids(asked, "images")
    if not 2 <= len(set(images)) == len(images) <= _MOST_COMPARED:
        raise Refused(400, "bad_request", f"images are two to {_MOST_COMPARED} different ones, the best one first")
    return {"do": "taste", "what": "pairs", "images": images}
