"""Routes that ask something of the daemon. Each leaves a command, and tells its name; the answer comes as an event."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hotfolder.core.stars import MOST_STARS
from hotfolder.folders.lock import holder
from hotfolder.gallery.access import Refused, json_object
from hotfolder.gallery.site import MOST_ID, Site, site_of
from hotfolder.status import mailbox
from hotfolder.types import How

_MOST_IMAGES = 500_000
_LONGEST_PAUSE = 366 * 86_400
#: Looks that are told at a time, and the shortest one that counts, in milliseconds.
_MOST_LOOKS, SHORTEST_LOOK = 1000, 400

_Build = Callable[[Mapping[str, Any]], dict[str, Any]]


def asks(build: _Build) -> Callable[[Request], Awaitable[Response]]:
    """A route that leaves the command which `build` makes of the request's body."""

    @functools.wraps(build)
    async def route(request: Request) -> Response:
        site = site_of(request)
        command = build(json_object(await request.body()))
        name = await anyio.to_thread.run_sync(site.asking.ask, command)
        return await _accepted(site, name)

    return route


async def _accepted(site: Site, name: str) -> Response:
    is_running = await anyio.to_thread.run_sync(holder, site.layout.lock) is not None
    return JSONResponse({"schema_version": 1, "command": name, "daemon_is_running": is_running}, 202)


@asks
def verdict(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Keeps or rejects images."""
    wanted = asked.get("verdict")
    if wanted not in ("keep", "reject"):
        raise Refused(400, "bad_request", "verdict is keep or reject")
    return {"do": "verdict", "verdict": wanted, "how": How.KEY.value, "images": ids(asked, "images")}


@asks
def stars(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Gives images so many stars; 0: none."""
    wanted = asked.get("stars")
    if not isinstance(wanted, int) or isinstance(wanted, bool) or not 0 <= wanted <= MOST_STARS:
        raise Refused(400, "bad_request", f"stars are a number from 0 to {MOST_STARS}")
    return {"do": "stars", "stars": wanted, "images": ids(asked, "images")}


@asks
def reroute(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Sorts everything by another threshold."""
    keep = asked.get("keep")
    if isinstance(keep, bool) or not isinstance(keep, int | float) or not 1 <= keep <= 10:
        raise Refused(400, "bad_request", "keep is a threshold from 1 to 10")
    return {"do": "reroute", "keep": keep, "also_mine": asked.get("also_mine") is True}


@asks
def pause(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Begins nothing new, for so many seconds or until `resume`."""
    seconds = asked.get("seconds")
    if seconds is None:
        return {"do": "pause"}
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= _LONGEST_PAUSE:
        raise Refused(400, "bad_request", "seconds are a positive number")
    return {"do": "pause", "seconds": seconds}


@asks
def resume(_: Mapping[str, Any]) -> dict[str, Any]:
    return {"do": "resume"}


@asks
def cancel(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What waits for dropped files, or single jobs."""
    return {"do": "cancel", "drops": ids(asked, "drops"), "jobs": ids(asked, "jobs")}


@asks
def first(asked: Mapping[str, Any]) -> dict[str, Any]:
    return {"do": "first", "drops": ids(asked, "drops"), "jobs": ids(asked, "jobs")}


async def retry(request: Request) -> Response:
    """Failed jobs, or all that has failed of some dropped files."""
    site, asked = site_of(request), json_object(await request.body())
    jobs, drops = ids(asked, "jobs"), ids(asked, "drops")

    def leave() -> str:
        if drops:
            with site.reading() as reader:
                jobs.extend(reader.failed_jobs_of(drops))
        if not jobs:
            raise Refused(409, "nothing_failed", "nothing of that has failed", "it may be tried again already")
        return site.asking.ask({"do": "retry", "jobs": jobs})

    return await _accepted(site, await anyio.to_thread.run_sync(leave))


@asks
def enlarge(asked: Mapping[str, Any]) -> dict[str, Any]:
    images = ids(asked, "images")
    return {"do": "enlarge", "images": images, "scales": [None] * len(images)}


@asks
def seen(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Images that were looked at large, long enough, and left as they were: pairs of id and milliseconds."""
    looks = asked.get("looks")
    if not isinstance(looks, list) or len(looks) > _MOST_LOOKS or not all(map(_is_look, looks)):
        raise Refused(400, "bad_request", "looks are pairs of an image and milliseconds")
    longest: dict[int, int] = {}
    for image_id, milliseconds in looks:
        if milliseconds >= SHORTEST_LOOK:
            longest[image_id] = max(milliseconds, longest.get(image_id, 0))
    return {"do": "seen", "images": list(longest), "milliseconds": list(longest.values())}


@asks
def forget_seen(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Of some images, or of all."""
    return {"do": "forget_seen"} | ({"images": ids(asked, "images")} if "images" in asked else {})


async def undo(request: Request) -> Response:
    """What one command of this page did, or, without one, what a person asked for last.

    A command that no daemon has begun is taken out of the mailbox, and so done at once.
    """
    site = site_of(request)
    name = json_object(await request.body()).get("command")
    if name is not None and not isinstance(name, str):
        raise Refused(400, "bad_request", "command is the name of one")
    return await anyio.to_thread.run_sync(_undo, site, name)


def _undo(site: Site, name: str | None) -> Response:
    if name is None:
        waits = [
            each
            for each in site.asking.waiting()
            if not each.is_begun and each.command.get("do") in mailbox.UNDOABLE
        ]
        name = waits[-1].path.name if waits else None
    if name is not None and site.asking.withdraw(name):
        return JSONResponse({"schema_version": 1, "withdrawn": name})
    last: list[dict[str, Any]] = []
    if name is None:
        with site.reading() as reader:
            last = reader.last_actions(1)
        if not last:
            raise Refused(409, "nothing_to_undo", "there is nothing to undo")
    command = {"do": "undo", "last": 1} if name is None else {"do": "undo", "asked": name}
    told = [{"action": each["kind"], "files": each["files"]} for each in last]
    return JSONResponse({"schema_version": 1, "command": site.asking.ask(command), "undoes": told}, 202)


def ids(asked: Mapping[str, Any], key: str) -> list[int]:
    """Raises Refused."""
    found = asked.get(key, [])
    if not isinstance(found, list) or len(found) > _MOST_IMAGES or not all(map(_is_id, found)):
        raise Refused(400, "bad_request", f"{key} is a list of numbers")
    return list(dict.fromkeys(found))


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST_ID


def _is_look(value: object) -> bool:
    return (
        isinstance(value, list) and len(value) == 2 and all(map(_is_id, value))
        and value[1] <= 86_400_000
    )  # fmt: skip
