"""/healthz and /metrics, where the settings allow them."""

from __future__ import annotations

import time

import anyio
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from hotfolder.documents.status import gather
from hotfolder.errors import HotfolderError
from hotfolder.gallery.site import no_page, site_of
from hotfolder.status.prometheus import exposition

_OFF = "gallery.metrics = true switches it on"
_TYPE = "text/plain; version=0.0.4; charset=utf-8"


async def health(request: Request) -> Response:
    """200 while the database answers, whether a daemon runs or not."""
    site = site_of(request)
    if not site.settings.gallery.metrics:
        raise no_page(_OFF)

    def answers() -> bool:
        if not site.layout.database.exists():
            return True
        try:
            with site.reading() as reader:
                reader.newest_change()
        except HotfolderError:
            return False
        return True

    is_well = await anyio.to_thread.run_sync(answers)
    return PlainTextResponse("ok\n" if is_well else "the database does not answer\n", 200 if is_well else 503)


async def metrics(request: Request) -> Response:
    """What `hotfolder status --prometheus` writes."""
    site = site_of(request)
    if not site.settings.gallery.metrics:
        raise no_page(_OFF)
    text = await anyio.to_thread.run_sync(lambda: exposition(gather(site.layout), time.time()))
    return PlainTextResponse(text, headers={"content-type": _TYPE})
