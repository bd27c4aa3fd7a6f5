"""The page itself, the page that takes the token, and the files that belong to them."""

from __future__ import annotations

import asyncio
import hashlib
import json
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse

from hotfolder.gallery.access import COOKIE, Refused, is_token, json_object
from hotfolder.gallery.site import Site, no_page, site_of

_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".txt": "text/plain"}
#: Seconds that a browser is remembered, and that a wrong token costs.
_REMEMBERED, _WRONG = 90 * 86_400, 1.0


@cache
def _environment() -> Environment:
    return Environment(autoescape=True)


def _page(template: str, **values: object) -> HTMLResponse:
    text = (files("hotfolder.gallery") / "templates" / template).read_text(encoding="utf-8")
    return HTMLResponse(_environment().from_string(text).render(**values))


async def index(request: Request) -> Response:
    site = site_of(request)
    return _page("index.html", name=site.layout.root.name or "hotfolder", settings=_for_scripts(site))


def _for_scripts(site: Site) -> str:
    """What the scripts have to know; put into an attribute, and so escaped by the template."""
    gate = site.settings.gate
    return json.dumps(
        {
            "keep": gate.keep, "read_only": site.access.read_only, "most_upload": site.access.most_upload,
            "inboxes": {name: kind.value for name, kind in site.settings.inboxes.items()},
        }
    )  # fmt: skip


async def login(request: Request) -> Response:
    return _page("login.html")


async def let_in(request: Request) -> Response:
    """Takes the token, which the page has from the part of its address that browsers do not send."""
    given = json_object(await request.body()).get("token")
    if not isinstance(given, str) or not is_token(given, site_of(request).access):
        await asyncio.sleep(_WRONG)
        raise Refused(401, "no_token", "this is not the token")
    answer = JSONResponse({"schema_version": 1})
    is_secure = request.headers.get("origin", "").startswith("https:")
    answer.set_cookie(COOKIE, given, max_age=_REMEMBERED, httponly=True, samesite="strict", secure=is_secure)
    return answer


@cache
def _static() -> dict[str, tuple[bytes, str, str]]:
    """Every file there is, with its type and its mark: what is asked for is looked up, and no path is followed."""
    found: dict[str, tuple[bytes, str, str]] = {}

    def add(folder: Traversable, prefix: str) -> None:
        for each in folder.iterdir():
            if each.is_dir():
                add(each, f"{prefix}{each.name}/")
            elif (ending := f".{each.name.rpartition('.')[2]}") in _TYPES:
                data = each.read_bytes()
                found[prefix + each.name] = (data, _TYPES[ending], f'"{hashlib.sha256(data).hexdigest()[:16]}"')

    add(files("hotfolder.gallery") / "static", "")
    return found


async def static(request: Request) -> Response:
    known = _static().get(request.path_params["name"])
    if known is None:
        raise no_page()
    data, kind, mark = known
    headers = {"etag": mark, "cache-control": "no-cache"}
    if request.headers.get("if-none-match") == mark:
        return Response(status_code=304, headers=headers)
    return Response(data, media_type=kind, headers=headers)


async def events(request: Request) -> Response:
    """Server-sent events; `after`, or Last-Event-ID, is the newest change that the page has seen."""
    site = site_of(request)
    if site.events.is_full:
        raise Refused(503, "too_many", "too many pages are open", "close some")
    text = request.headers.get("last-event-id") or request.query_params.get("after", "")
    after = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
    return StreamingResponse(
        site.events.stream(after), media_type="text/event-stream", headers={"x-accel-buffering": "no"}
    )
