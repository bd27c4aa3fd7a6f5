"""Routes that drop something into an inbox: files of any size, and prompts that were written on the page."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

import anyio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from hotfolder.core import naming
from hotfolder.core.litter import ignored
from hotfolder.core.pictures import PLAIN, RAW, ending_of
from hotfolder.core.prompts import ENDINGS, parse, place_of
from hotfolder.errors import HotfolderError
from hotfolder.files.beneath import Beneath
from hotfolder.files.trouble import is_full
from hotfolder.folders.layout import ARRIVING, INBOX
from hotfolder.gallery.access import Refused, json_object
from hotfolder.gallery.site import Site, site_of
from hotfolder.prompt_files.checking import PromptCheck
from hotfolder.prompt_files.reading import draw_seed
from hotfolder.prompt_files.wildcards import WildcardLists
from hotfolder.types import Kind

_MOST_PROMPT = 64 * 1024
_LONGEST_NAME, _MOST_SAME = 180, 1000
#: How mistakes call what was written.
_SHOWN_AS = "prompt.txt"
#: What no file system, shell or script is well with.
_BAD = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|\u200e\u200f\u202a-\u202e\u2066-\u2069]')


async def upload(request: Request) -> Response:
    """The body is the file; `inbox` and `name` stand in the address. It is there whole, or not at all."""
    site = site_of(request)
    inbox, kind = _inbox(site, request.query_params.get("inbox", ""))
    name = safe_name(request.query_params.get("name", ""))
    known = (*PLAIN, *RAW, *(ENDINGS if kind is Kind.GENERATE else ()))
    if ending_of(name) not in known:
        wanted = f"pictures and prompt files ({', '.join(ENDINGS)})" if kind is Kind.GENERATE else "pictures"
        raise Refused(415, "wrong_type", f"{name} is not taken here: {wanted} are")
    if pattern := ignored(name, site.settings.watch.ignore):
        raise Refused(415, "ignored", f"{name} would be left alone: watch.ignore has '{pattern}'", "rename it")
    path = await _arrive(site, request.stream(), f"{INBOX}/{inbox}/{name}")
    return JSONResponse({"schema_version": 1, "path": path}, 201)


async def prompt(request: Request) -> Response:
    """A prompt file of what was written. What is not understood is told at once, and nothing is dropped."""
    site, asked = site_of(request), json_object(await request.body())
    text = asked.get("text")
    if not isinstance(text, str) or not text.strip() or len(text) > _MOST_PROMPT:
        raise Refused(400, "bad_request", f"a prompt is wanted, of at most {_MOST_PROMPT:,} letters")
    inbox, kind = _inbox(site, str(asked.get("inbox", Kind.GENERATE.value)))
    if kind is not Kind.GENERATE:
        raise Refused(400, "bad_request", "prompts go to an inbox that generates")

    def understood() -> int:
        specs = parse(_SHOWN_AS, text, draw_seed, WildcardLists(site.layout))
        check = PromptCheck(site.layout, site.settings.catalogue(), site.settings)
        return len(check.all_completed((place_of(_SHOWN_AS, spec), spec) for spec in specs))

    try:
        count = await anyio.to_thread.run_sync(understood)
    except HotfolderError as error:
        raise Refused(422, error.kind, error.message, error.fix) from None

    async def body() -> AsyncIterator[bytes]:
        yield text.encode("utf-8", "replace")

    name = time.strftime("gallery-%Y%m%d-%H%M%S.txt")
    path = await _arrive(site, body(), f"{INBOX}/{inbox}/{name}")
    return JSONResponse({"schema_version": 1, "path": path, "images": count}, 201)


def safe_name(name: str) -> str:
    """A name for a file that a browser calls so: no path, nothing hidden, of no extreme length. Raises Refused."""
    last = re.split(r"[/\\]", name)[-1]
    clean = _BAD.sub("_", last.encode("utf-8", "replace").decode()).strip(" .")
    if not clean:
        raise Refused(400, "bad_request", "the file has no name")
    stem, dot, ending = clean.rpartition(".")
    if not dot:
        return clean.encode()[:_LONGEST_NAME].decode("utf-8", "ignore")
    room = _LONGEST_NAME - len(ending.encode()[:16]) - 1
    return f"{stem.encode()[:room].decode('utf-8', 'ignore')}.{ending.encode()[:16].decode('utf-8', 'ignore')}"


def _inbox(site: Site, name: str) -> tuple[str, Kind]:
    """Raises Refused for what is none."""
    kind = site.settings.inboxes.get(name)
    if kind is None:
        raise Refused(400, "bad_request", f"there is no inbox of that name: {', '.join(site.settings.inboxes)}")
    return name, kind


async def _arrive(site: Site, body: AsyncIterator[bytes], path: str) -> str:
    """Writes it under a temporary name and renames it; gives the path that was free. Raises Refused."""
    partial = f"{ARRIVING}/{secrets.token_hex(16)}"
    beneath = Beneath(site.layout.root)
    try:
        file = await anyio.to_thread.run_sync(beneath.create, partial)
        try:
            with file:
                async for chunk in body:
                    await anyio.to_thread.run_sync(file.write, chunk)
                await anyio.to_thread.run_sync(_flush, file)
            return await anyio.to_thread.run_sync(_place, beneath, partial, path)
        except BaseException:
            with contextlib.suppress(OSError):
                beneath.unlink(partial)
            raise
    except ClientDisconnect:
        raise Refused(400, "cut_off", "the file did not come to its end") from None
    except OSError as error:
        full = is_full(error) or error.errno == errno.EFBIG
        status, told = (507, "the disk is full") if full else (500, f"it cannot be written: {error.strerror}")
        raise Refused(status, "not_written", told, "see: hotfolder doctor") from None
    finally:
        beneath.close()


def _flush(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _place(beneath: Beneath, partial: str, path: str) -> str:
    """Raises OSError."""
    for number in range(_MOST_SAME):
        free = naming.numbered(path, number)
        try:
            beneath.rename(partial, free)
        except FileExistsError:
            continue
        return free
    raise FileExistsError(errno.EEXIST, "a thousand files are called so", path)
