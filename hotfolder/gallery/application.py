"""The web application, put together."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from hotfolder.config.settings import Settings
from hotfolder.errors import EnvironmentTrouble, HotfolderError, LedgerError
from hotfolder.folders.layout import Layout
from hotfolder.gallery import actions, dropping, files, images, monitoring, pages, panel, tasting
from hotfolder.gallery.access import Access, Gate, Refused
from hotfolder.gallery.asking import Asking
from hotfolder.gallery.events import Events
from hotfolder.gallery.likeness import Likeness
from hotfolder.gallery.site import Site
from hotfolder.gallery.thumbnails import Thumbnails


class _Number(Convertor[int]):
    """A number of at most as many digits as those of SQLite: of thousands of digits Python reads none."""

    regex = "[0-9]{1,19}"

    def convert(self, value: str) -> int:
        return int(value)

    def to_string(self, value: int) -> str:
        return str(value)


register_url_convertor("number", _Number())
_GET, _POST = ["GET"], ["POST"]
_ROUTES = [
    Route("/", pages.index, methods=_GET),
    Route("/login", pages.login, methods=_GET),
    Route("/login", pages.let_in, methods=_POST),
    Route("/static/{name:path}", pages.static, methods=_GET),
    Route("/events", pages.events, methods=_GET),
    Route("/api/columns", images.columns, methods=_GET),
    Route("/api/order", images.order, methods=_GET),
    Route("/api/names", images.names, methods=_GET),
    Route("/api/choices", images.choices, methods=_GET),
    Route("/api/files", files.files, methods=_GET),
    Route("/api/images/{id:number}", images.why, methods=_GET),
    Route("/thumbnail/{size:number}/{id:number}/{version}", images.thumbnail, methods=_GET),
    Route("/original/{id:number}/{version}", images.original, methods=_GET),
    Route("/api/verdict", actions.verdict, methods=_POST),
    Route("/api/stars", actions.stars, methods=_POST),
    Route("/api/undo", actions.undo, methods=_POST),
    Route("/api/reroute", actions.reroute, methods=_POST),
    Route("/api/pause", actions.pause, methods=_POST),
    Route("/api/resume", actions.resume, methods=_POST),
    Route("/api/cancel", actions.cancel, methods=_POST),
    Route("/api/first", actions.first, methods=_POST),
    Route("/api/retry", actions.retry, methods=_POST),
    Route("/api/enlarge", actions.enlarge, methods=_POST),
    Route("/api/seen", actions.seen, methods=_POST),
    Route("/api/forget-seen", actions.forget_seen, methods=_POST),
    Route("/api/taste", tasting.known, methods=_GET),
    Route("/api/taste/why/{id:number}", tasting.why, methods=_GET),
    Route("/api/taste/close", tasting.close, methods=_GET),
    Route("/api/taste", tasting.settle, methods=_POST),
    Route("/api/taste/pair", tasting.pair, methods=_POST),
    Route("/api/prompt", dropping.prompt, methods=_POST),
    Route("/upload", dropping.upload, methods=_POST),
    Route("/healthz", monitoring.health, methods=_GET),
    Route("/metrics", monitoring.metrics, methods=_GET),
]


def application(layout: Layout, settings: Settings, access: Access) -> ASGIApp:
    """Everything behind one gate."""
    asking = Asking(layout)
    events = Events(layout, asking, functools.partial(panel.panel, layout, asking))
    thumbnails = Thumbnails(layout, settings.gallery.thumbnails_mb * 2**20)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        watching = asyncio.create_task(events.run())
        try:
            yield
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching

    handlers = {Refused: _refused, HotfolderError: _failed, HTTPException: _not_routed, OverflowError: _not_routed}
    app = Starlette(routes=_ROUTES, exception_handlers=handlers, lifespan=lifespan)
    app.state.site = Site(layout, settings, access, thumbnails, asking, events, Likeness(layout))
    return Gate(app, access)


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return error.answer()


async def _failed(_: Request, error: Exception) -> Response:
    assert isinstance(error, HotfolderError)
    status = 503 if isinstance(error, EnvironmentTrouble | LedgerError) else 400
    return Refused(status, error.kind, error.message, error.fix).answer()


async def _not_routed(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    return Refused(status, "wrong_method" if status == 405 else "not_found", "there is no such page").answer()
