"""Routes that show: all images in a few bytes each, their order, their pictures, and why each is where it is."""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import AsyncIterator, Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import anyio
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from hotfolder.core.pictures import HEAD
from hotfolder.documents.image import image_document
from hotfolder.errors import HotfolderError
from hotfolder.files.beneath import open_below
from hotfolder.gallery.access import Refused
from hotfolder.gallery.site import Site, ids_of, integer, not_found, site_of
from hotfolder.gallery.thumbnails import SIZES, WHOLE
from hotfolder.ledger.shown import FOLDERS, ROLES, SORTS, STATES, Columns, Filters, Shown

#: The order of what is like something, and what stands before the name of a scorer by whose scores is sorted.
_ALIKE, _BY_SCORER = "alike", "scorer:"
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

    float64 scores (NaN: none), uint32 ids, uint32 versions, uint8 flags, uint8 stars; see hotfolder.ledger.shown.
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
    columns = (found.scores, found.ids, found.versions, found.flags, found.stars)
    return b"".join((head, *(column.tobytes() for column in columns)))


async def order(request: Request) -> Response:
    """Ids (uint32) of the images that the address asks for, in its order; with `state`, of dropped files."""
    site, asked = site_of(request), request.query_params
    filters = filters_of(asked)
    is_of_files = "state" in asked
    find = _files_of(asked, filters) if is_of_files else _images_of(asked, filters, await _alike(site, asked))

    def ordered() -> bytes:
        if not site.layout.database.exists():
            return b""
        with site.reading() as reader:
            return find(reader).tobytes()

    return Response(await anyio.to_thread.run_sync(ordered), media_type="application/octet-stream")


def _files_of(asked: QueryParams, filters: Filters) -> Callable[[Shown], array[int]]:
    """Raises Refused."""
    state = asked["state"]
    if state not in STATES or not set(asked) <= {"state", "words"}:
        known = ", ".join(STATES)
        raise Refused(400, "bad_request", f"state is one of {known}, and goes together with words alone")
    return lambda reader: reader.files(state, filters.words or ())


def _images_of(asked: QueryParams, filters: Filters, alike: list[int] | None) -> Callable[[Shown], array[int]]:
    """Raises Refused."""
    sort, scorer = _sort_of(asked, has_alike=alike is not None)

    def find(reader: Shown) -> array[int]:
        found = reader.ordered(filters, SORTS[0] if sort == _ALIKE else sort, scorer)
        if alike is None:
            return found
        first, others = (alike, set(found)) if sort == _ALIKE else (found, set(alike))
        return array("I", (id_ for id_ in first if id_ in others))

    return find


async def _alike(site: Site, asked: QueryParams) -> list[int] | None:
    """Images that are like one, or show something, the most likely first; None where that is not asked for.

    Raises Refused.
    """
    like, shows = asked.get("like", ""), asked.get("shows", "").strip()
    if like and shows:
        raise Refused(400, "bad_request", "either like or shows can be asked for")
    if like:
        if not (like.isascii() and like.isdigit() and len(like) < 20):
            raise Refused(400, "bad_request", "like is the number of an image")
        await anyio.to_thread.run_sync(site.row, int(like))
        return await site.likeness.like(int(like))
    if len(shows) > _LONGEST:
        raise Refused(400, "bad_request", "shows is too long")
    return await site.likeness.showing(shows) if shows else None


def _sort_of(asked: QueryParams, *, has_alike: bool) -> tuple[str, str | None]:
    """The order, and by whose scores. Raises Refused."""
    sort = asked.get("sort") or (_ALIKE if has_alike else SORTS[0])
    if sort.startswith(_BY_SCORER):
        return "scorer", sort.removeprefix(_BY_SCORER)
    if sort == "scorer" or sort not in (*SORTS, *([_ALIKE] if has_alike else [])):
        known = ", ".join(each for each in SORTS if each != "scorer")
        raise Refused(
            400, "bad_request", f"sort is one of {known}, or scorer:NAME; with like or shows, alike, too"
        )
    return sort, None


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
        stars=one("stars", integer),
        model=one("model"),
        seed=one("seed", integer),
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


def _midnight(text: str, days: int) -> float:
    """When a day begins on this machine's clock, or so many days later."""
    day = date.fromisoformat(text) + timedelta(days)
    return datetime(day.year, day.month, day.day).astimezone().timestamp()


async def names(request: Request) -> Response:
    """id, path, prompt and size of some images: `ids` has them with commas between."""
    ids = ids_of(request)

    def found() -> list[dict[str, Any]]:
        with site_of(request).reading() as reader:
            return reader.names(ids)

    return JSONResponse({"schema_version": 1, "images": await anyio.to_thread.run_sync(found)})


async def choices(request: Request) -> Response:
    """What filters may be set to: models, dropped files, and scorers to sort by."""

    def found() -> dict[str, Any]:
        with site_of(request).reading() as reader:
            models = [row["model"] for row in reader.models() if row["model"]]
            return {"models": models, "sources": reader.sources(), "scorers": reader.scorers()}

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
