"""Routes that show: all images in a few bytes each, their order, their pictures, and why each is where it is."""

from __future__ import annotations

import math
import struct
from collections.abc import AsyncIterator, Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from hotfolder.core.pictures import HEAD
from hotfolder.documents.image import image_document
from hotfolder.errors import HotfolderError
from hotfolder.files.beneath import open_below
from hotfolder.gallery.access import Refused
from hotfolder.gallery.site import MOST_ID, Site, not_found, site_of
from hotfolder.gallery.thumbnails import SIZES, WHOLE
from hotfolder.ledger.shown import FOLDERS, ROLES, SORTS, Columns, Filters

#: Images whose names are told at a time.
_MOST_NAMES = 500
_MOST_WORDS, _LONGEST = 20, 1000
_FOREVER = {"cache-control": "private, max-age=31536000, immutable"}
#: What browsers show, by its first bytes; nothing else is sent as it lies there, whatever it is called.
_SHOWN = (
    (b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)  # fmt: skip
_CHUNK = 256 * 1024


async def columns(request: Request) -> Response:
    """Every image that is there: `struct` of two 32-bit numbers (how many, newest change), then columns.

    float64 scores (NaN: none), uint32 ids, uint32 versions, uint8 flags; see hotfolder.ledger.shown.
    """
    return Response(
        await anyio.to_thread.run_sync(_columns, site_of(request)), media_type="application/octet-stream"
    )


def _columns(site: Site) -> bytes:
    if not site.layout.database.exists():
        return struct.pack("<II", 0, 0)
    with site.reading() as reader:
        found: Columns = reader.columns()
    head = struct.pack("<II", len(found.ids), found.changed)
    return b"".join(
        (head, found.scores.tobytes(), found.ids.tobytes(), found.versions.tobytes(), found.flags.tobytes())
    )


async def order(request: Request) -> Response:
    """Ids (uint32) of the images that the address asks for, in its order."""
    filters, sort = filters_of(request.query_params), request.query_params.get("sort", "newest")
    if sort not in SORTS:
        raise Refused(400, "bad_request", f"sort is one of {', '.join(SORTS)}")
    site = site_of(request)

    def ordered() -> bytes:
        if not site.layout.database.exists():
            return b""
        with site.reading() as reader:
            return reader.ordered(filters, sort).tobytes()

    return Response(await anyio.to_thread.run_sync(ordered), media_type="application/octet-stream")


def filters_of(asked: Any) -> Filters:
    """What the address says. Raises Refused for what is not understood."""

    def one(name: str, read: Callable[[str], Any] = str) -> Any:
        text = asked.get(name, "")
        if len(text) > _LONGEST:
            raise Refused(400, "bad_request", f"{name} is too long")
        try:
            return read(text) if text else None
        except (ValueError, OverflowError):
            raise Refused(400, "bad_request", f"{name} is not understood") from None

    def some(*known: str) -> Callable[[str], tuple[str, ...]]:
        def read(text: str) -> tuple[str, ...]:
            parts = tuple(text.split(","))
            if not set(parts) <= set(known):
                raise ValueError
            return parts

        return read

    def single(*known: str) -> Callable[[str], str]:
        return lambda text: some(*known)(text)[0]

    words = one("words", lambda text: tuple(text.split()[:_MOST_WORDS]))
    below = one("below")
    until = one("until", lambda text: _midnight(text, 1))
    return Filters(
        folders=one("folder", some(*FOLDERS)),
        verdicts=one("verdict", some("keep", "reject", "none")),
        by=one("by", single("gate", "person", "taste")),
        role=one("role", single(*ROLES)),
        lowest=one("from", _number),
        highest=one("to", _number),
        stars=one("stars", _integer),
        model=one("model"),
        seed=one("seed", _integer),
        source=one("source"),
        below=f"{below.strip('/')}/" if below else None,
        since=one("since", lambda text: _midnight(text, 0)),
        until=until,
        words=words or None,
        lowest_gain=one("gain", _number),
    )


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return value


def _integer(text: str) -> int:
    value = int(text)
    if abs(value) > MOST_ID:
        raise ValueError
    return value


def _midnight(text: str, days: int) -> float:
    """When a day begins on this machine's clock, or so many days later."""
    day = date.fromisoformat(text) + timedelta(days)
    return datetime(day.year, day.month, day.day).astimezone().timestamp()


async def names(request: Request) -> Response:
    """id, path, prompt and size of some images: `ids` has them with commas between."""
    try:
        ids = [_integer(text) for text in request.query_params.get("ids", "").split(",")[:_MOST_NAMES]]
    except ValueError:
        raise Refused(400, "bad_request", "ids are numbers with commas between") from None

    def found() -> list[dict[str, Any]]:
        with site_of(request).reading() as reader:
            return reader.names(ids)

    return JSONResponse({"schema_version": 1, "images": await anyio.to_thread.run_sync(found)})


async def choices(request: Request) -> Response:
    """What filters may be set to: models and dropped files."""

    def found() -> dict[str, Any]:
        with site_of(request).reading() as reader:
            models = [row["model"] for row in reader.models() if row["model"]]
            return {"models": models, "sources": reader.sources()}

    return JSONResponse({"schema_version": 1, **await anyio.to_thread.run_sync(found)})


async def why(request: Request) -> Response:
    """All that is known of one image, as `hotfolder show --json` tells it; without the root's own path."""
    site, image_id = site_of(request), request.path_params["id"]

    def found() -> dict[str, Any]:
        row = site.row(image_id)
        with site.reading() as reader:
            document = image_document(reader, row, Path())  # the root's own path is nothing for a page
            larger = [child for child in reader.children(image_id) if _is_there(reader.image_row(child))]
        settings = site.settings.gate
        return {
            "schema_version": 1, "id": image_id, **document, "parent_id": row["parent_id"], "larger": larger,
            "gate": {"keep": settings.keep, "upscale": settings.upscale},
        }  # fmt: skip

    return JSONResponse(await anyio.to_thread.run_sync(found))


def _is_there(row: dict[str, Any] | None) -> bool:
    return row is not None and row["gone_at"] is None and row["role"] == "upscaled"


async def thumbnail(request: Request) -> Response:
    """WebP of one of SIZES. The version in the address is of the content, so it may be kept for ever."""
    size = request.path_params["size"]
    if size not in SIZES:
        raise not_found()
    row = await anyio.to_thread.run_sync(site_of(request).row, request.path_params["id"])
    return await _small(request, row, size)


async def _small(request: Request, row: dict[str, Any], size: int) -> Response:
    async def still_wanted() -> bool:
        return not await request.is_disconnected()

    try:
        data = await site_of(request).thumbnails.get(row, size, still_wanted)
    except (HotfolderError, OSError, MemoryError, ValueError):
        raise Refused(422, "not_shown", "this picture cannot be shown", "see: hotfolder why FILE") from None
    if data is None:
        return Response(status_code=499)
    return Response(data, media_type="image/webp", headers=_FOREVER)


async def original(request: Request) -> Response:
    """The file itself, where browsers can show it; else a large WebP of it. Ranges are not understood: all of it."""
    site = site_of(request)
    row = await anyio.to_thread.run_sync(site.row, request.path_params["id"])
    try:
        file = await anyio.to_thread.run_sync(open_below, site.layout.root, site.layout.root / row["path"])
    except OSError:
        raise not_found() from None
    head = await anyio.to_thread.run_sync(file.read, HEAD)
    kind = next((kind for begin, kind in _SHOWN if head.startswith(begin)), None)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        kind = "image/webp"
    elif head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis"):
        kind = "image/avif"
    if kind is None:
        file.close()
        return await _small(request, row, WHOLE)
    headers = {**_FOREVER, "content-security-policy": "default-src 'none'; sandbox"}
    return StreamingResponse(_whole(file, head), media_type=kind, headers=headers)


async def _whole(file: BinaryIO, head: bytes) -> AsyncIterator[bytes]:
    try:
        yield head
        while chunk := await anyio.to_thread.run_sync(file.read, _CHUNK):
            yield chunk
    finally:
        file.close()
