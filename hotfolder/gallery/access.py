"""One gate before all routes: who may ask, from where, how much and how slowly. What it does not know, it refuses."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "hotfolder"
#: Bytes of a request's body, but for uploads; and of the query of an address.
MOST_JSON, MOST_QUERY = 4 * 2**20, 8192
#: A body may take so many seconds, and one more for so many bytes of it.
_PATIENCE, _SLOWEST = 20.0, 16_384
#: Of a length that is told: Python reads no number of thousands of them.
_MOST_DIGITS = 19
#: What can be had without a token: the page that takes it.
_OPEN = frozenset(("/login", "/static/login.js", "/static/style.css", "/static/icon.svg"))
#: Answers after which the connection is closed.
_ENDS = frozenset((401, 403, 405, 408, 413, 415, 421))
_WRITES = frozenset(("POST",))
_READS = frozenset(("GET", "HEAD"))
#: The one style that OpenSeadragon 6.1.1 puts into the page.
_ITS_STYLE = "'sha256-9xTiqzfwFaL2SGb1rmr8gysEwVVjIvqWAgmZgqFqpEE='"
_HEADERS = {
    "content-security-policy": (
        f"default-src 'none'; script-src 'self'; style-src 'self' {_ITS_STYLE}; img-src 'self' data: blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


@dataclass(frozen=True, slots=True)
class Access:
    """Who may do what. `hosts` are what a Host header may say, with its port where that is not 80 or 443."""

    hosts: frozenset[str]
    token: str | None = None
    read_only: bool = False
    most_upload: int = 512 * 2**20

    @property
    def origins(self) -> frozenset[str]:
        """What an Origin header of our own page says; https: behind a proxy."""
        return frozenset(f"{scheme}://{host}" for host in self.hosts for scheme in ("http", "https"))


class Refused(Exception):
    """A request that is not answered as asked."""

    def __init__(self, status: int, kind: str, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.status, self.kind, self.message, self.fix = status, kind, message, fix

    def answer(self) -> JSONResponse:
        told = {"kind": self.kind, "message": self.message, "fix": self.fix}
        # What else would be sent is not read.
        headers = {"connection": "close"} if self.status in _ENDS else None
        return JSONResponse({"schema_version": 1, "error": told}, self.status, headers)


class Gate:
    """The middleware around the whole application."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # no WebSockets: the server refuses them, too
        has_begun = False

        async def guarded(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        try:
            headers = Headers(scope=scope)
            self._check(scope, headers)
            most = self._access.most_upload if scope["path"] == "/upload" else MOST_JSON
            await self._app(scope, _measured(receive, headers, most), guarded)
        except Refused as refused:
            if not has_begun:
                await refused.answer()(scope, receive, guarded)

    def _check(self, scope: Scope, headers: Headers) -> None:
        """Raises Refused."""
        hosts = headers.getlist("host")
        if len(hosts) != 1 or hosts[0].lower() not in self._access.hosts:
            raise Refused(
                421, "wrong_host", "this server is not called so", "gallery.names has the names that it answers to"
            )
        if len(scope["query_string"]) > MOST_QUERY:
            raise Refused(414, "too_long", "the address is too long")
        method, path = scope["method"], scope["path"]
        if method in _WRITES:
            self._check_write(headers, path)
        elif method not in _READS:
            raise Refused(405, "wrong_method", "only GET, HEAD and POST are answered")
        elif headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            # A link on another page may lead here; nothing else of ours is for another page.
            is_link = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
            if not (is_link and path in ("/", "/login")):
                raise Refused(403, "cross_origin", "this was asked by another page")
        if self._access.token is not None and path not in _OPEN and not self._is_known(headers):
            raise Refused(
                401, "no_token", "this page needs its token", "open the link that `hotfolder gallery` told"
            )

    def _check_write(self, headers: Headers, path: str) -> None:
        """Only our own page writes. Raises Refused."""
        if self._access.read_only and path != "/login":
            raise Refused(403, "read_only", "this gallery only shows", "start it without --read-only")
        site = headers.get("sec-fetch-site")
        # Browsers leave that out where the page came by plain HTTP from another machine.
        is_ours = site == "same-origin" if site is not None else headers.get("origin") in self._access.origins
        if not is_ours or (headers.get("origin") or "") not in (*self._access.origins, ""):
            raise Refused(403, "cross_origin", "this was asked by another page")
        wanted = "application/octet-stream" if path == "/upload" else "application/json"
        if headers.get("content-type", "").partition(";")[0].strip().lower() != wanted:
            raise Refused(415, "wrong_type", f"{wanted} is wanted")

    def _is_known(self, headers: Headers) -> bool:
        given = headers.get("authorization", "").removeprefix("Bearer ")
        cookies: SimpleCookie = SimpleCookie()
        try:
            cookies.load(headers.get("cookie", ""))
        except CookieError:
            return False
        if not given and COOKIE in cookies:
            given = cookies[COOKIE].value
        return is_token(given, self._access)


def is_token(given: str, access: Access) -> bool:
    """Whether it is the token; takes the same time whatever is given."""
    return access.token is not None and hmac.compare_digest(given.encode(), access.token.encode())


def _measured(receive: Receive, headers: Headers, most: int) -> Receive:
    """The body, until it is too much or too slow. Raises Refused."""
    declared = headers.get("content-length", "")
    if declared.isdigit() and (len(declared) > _MOST_DIGITS or int(declared) > most):
        raise Refused(413, "too_large", f"at most {most:,} bytes are taken")
    began, taken, is_whole = time.monotonic(), 0, False

    async def measured() -> Message:
        nonlocal taken, is_whole
        if is_whole:
            return await receive()  # waits for the end of the connection
        left = began + _PATIENCE + taken / _SLOWEST - time.monotonic()
        try:
            message = await asyncio.wait_for(receive(), max(0.0, left))
        except TimeoutError:
            raise Refused(408, "too_slow", "the request does not come to its end") from None
        taken += len(message.get("body", b""))
        is_whole = message["type"] != "http.request" or not message.get("more_body", False)
        if taken > most:
            raise Refused(413, "too_large", f"at most {most:,} bytes are taken")
        return message

    return measured


def json_object(data: bytes) -> Mapping[str, Any]:
    """The body of a request. Raises Refused for what is no JSON object."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Refused(400, "bad_request", "one JSON object is wanted")
    return found
