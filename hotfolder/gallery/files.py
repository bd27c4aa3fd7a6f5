"""A route that shows dropped files which wait, are in work, or have failed: most have no picture yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hotfolder.documents.status import works_on
from hotfolder.folders.layout import INBOX
from hotfolder.gallery.site import ids_of, site_of


async def files(request: Request) -> Response:
    """What is known of some of them: `ids` has their numbers with commas between."""
    site, ids = site_of(request), ids_of(request)

    def found() -> list[dict[str, Any]]:
        is_working = works_on(site.layout)
        with site.reading() as reader:
            return [_told(row, is_working=is_working) for row in reader.files_by_id(ids)]

    return JSONResponse({"schema_version": 1, "files": await anyio.to_thread.run_sync(found)})


def _told(row: Mapping[str, Any], *, is_working: bool) -> dict[str, Any]:
    """Without a daemon that works, what was in work when it was killed waits."""
    running = row["running"] if is_working else 0
    counts = {"running": running, "waiting": row["waits"] + row["running"] - running, "failed": row["failed"]}
    return {
        "id": row["id"], "name": row["path"].removeprefix(f"{INBOX}/"), "lies": row["placed_path"] or row["path"],
        "state": next((name for name, count in counts.items() if count), "done"), "work": row["work"],
        "image_id": row["image_id"], "error": row["error"], "fix": row["fix"], **counts,
    }  # fmt: skip
