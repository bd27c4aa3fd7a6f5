"""`hotfolder why FILE`: looks at the file, the rules and the ledger, and says what is going on."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from hotfolder.cli import table
from hotfolder.cli.beside import picture_of, went_along
from hotfolder.cli.finding import GONE, NOT_KNOWN, find_image
from hotfolder.config import loading
from hotfolder.config.folder_settings import FolderSettings
from hotfolder.config.root import FILE_NAME, find_root
from hotfolder.core import naming
from hotfolder.core.litter import ignored
from hotfolder.core.settle import Observation, Writers, settle
from hotfolder.documents.status import is_at_work
from hotfolder.errors import CannotPlace, ConfigError, UsageError
from hotfolder.files.beneath import Beneath
from hotfolder.files.trouble import explain_read
from hotfolder.folders.admission import RESTORED, Refused, irregular_part, no_picture, refused
from hotfolder.folders.layout import INBOX, KEEP, REJECT, UPSCALED, Layout
from hotfolder.folders.lease import writers
from hotfolder.folders.lock import holder
from hotfolder.folders.rights import of_other_daemon
from hotfolder.folders.scan import scan, sight
from hotfolder.home import user_name
from hotfolder.ledger.reader import Reader
from hotfolder.printable import printable
from hotfolder.status.live import Snapshot, read
from hotfolder.status.mailbox import waiting
from hotfolder.types import Kind, Sighting

#: What a person does who wants it after all.
_AGAIN = "drop it again to have it done"
_DOING = {"generate": "drawing it", "score": "scoring it", "upscale": "enlarging it"}
_TO_HAVE_IT_JUDGED = "to have it judged, copy it into inbox/score"


def show_why(given: Path | None, file: Path, *, as_json: bool) -> None:
    layout = Layout(find_root(given))
    answer = explain(layout, file)
    if as_json:
        table.write_json({"root": str(layout.root), **answer})
    else:
        sys.stdout.write(f"{printable(answer['file'])}: {printable(answer['reason'])}\n")
        if answer["fix"]:
            sys.stdout.write(f"  fix: {printable(answer['fix'])}\n")


def explain(layout: Layout, file: Path) -> dict[str, Any]:
    """{'file', 'state', 'reason', 'fix'}. Raises UsageError for a file that is not below the root."""
    candidates = [Path(os.path.normpath(base / file)) for base in (Path.cwd(), layout.root)]
    below = [path for path in candidates if path.is_relative_to(layout.root)]
    absolute = next((path for path in below if os.path.lexists(path)), below[0] if below else None)
    if absolute is None:
        raise UsageError(f"{file} is not below {layout.root}", "name a file of this root, or give --root")
    path = absolute.relative_to(layout.root).as_posix()
    kind = _inbox_of(layout, path)
    if absolute.is_dir() and not absolute.is_symlink():
        return _of_folder(layout, path, kind)
    if not layout.database.exists() or naming.as_text(path) != path:
        return _answer(path, "waiting", *_arriving(layout, path, kind))
    with Reader(layout.database) as reader:
        drop = reader.last_drop(path)
        there = _sight(layout, path)
        is_current = drop and (
            drop["state"] != "open"
            or (there and (there.inode, there.mtime_ns) == (drop["inode"], drop["mtime_ns"]))
        )
        if drop and is_current and not (there and drop["state"] != "open"):
            return _of_drop(reader, layout, path, drop)
        if (
            drop
            and there
            and drop["restored_at"]
            and (there.size, there.mtime_ns) == (drop["size"], drop["mtime_ns"])
        ):
            return _answer(path, "done", RESTORED.reason, RESTORED.fix)
        if kind is not None and (there or _is_irregular(layout, path)):
            return _answer(path, "waiting", *_arriving(layout, path, kind))
        image = reader.image_by_path(path)
        if image is not None and image["gone_at"] is None:
            return _of_image(path, image, reader.cancelled_of_image(image["image_id"]))
        if absolute.is_symlink() and kind is None:
            return _answer(path, "unknown", "it is a link, and links are never followed", "copy the file itself")
        if image is not None and there is None:
            return _of_image(path, image, (), GONE)
        placed = reader.drop_placed_at(path)
        if placed is not None and image is None:
            last = reader.last_drop(placed["path"])
            if there is None and last is not None and last["id"] == placed["id"]:
                return _of_drop(reader, layout, path, last)  # which knows where it was moved to since
            return _of_placed(reader, path, placed)
        if path.endswith(naming.SIDECAR_ENDING):
            return _answer(
                path, "done", "it says why the file beside it failed", "put that back with: hotfolder retry"
            )
        try:
            found = find_image(reader, layout, file)
        except UsageError as error:
            if there is None and kind is not None and (lies := went_along(reader, layout, path)) is not None:
                return _answer(path, "done", f"it went along with its picture: it is {lies} now")
            picture = picture_of(layout, path) if there is not None else None
            row = reader.image_by_path(str(PurePosixPath(path).with_name(picture))) if picture else None
            if row is not None and row["gone_at"] is None:
                return _answer(path, "done", f"it belongs to {picture}, and goes where that goes")
            if there is not None and path.split("/")[0] in (KEEP, REJECT, UPSCALED):
                reason = "it is none of the line's results, which never saw it: it is left alone"
                return _answer(path, "unknown", reason, _TO_HAVE_IT_JUDGED)
            if there is not None and path.split("/")[0] == INBOX:
                return _answer(path, "unknown", *_arriving(layout, path, None))
            place = "there is no such file" if there is None else "it lies in no inbox"
            return _answer(path, "unknown", f"{place}; {error.message}", error.fix)
        cancelled = reader.cancelled_of_image(found.row["id"])
    if found.note == GONE and there is not None:
        was = _of_image(path, found.row, ())["reason"]
        reason = f"it is a new version, or another file, and is left alone; what lay here was {was}"
        return _answer(path, "unknown", reason, _TO_HAVE_IT_JUDGED)
    return {**_of_image(found.row["path"], found.row, cancelled, found.note), "file": path}


def _of_folder(layout: Layout, path: str, kind: Kind | None) -> dict[str, Any]:
    """A folder: what of the files in it waits, in the words of the first one."""
    if path.split("/")[0] != INBOX:
        return _answer(path, "unknown", "it is a folder", "name a file of it")
    if kind is None and path.count("/") < 2:
        kind = loading.load(layout.root).inboxes.get(path.partition("/")[2])
    if kind is None:
        return _answer(
            path, "unknown", "it is no inbox", "drop files into inbox/generate, inbox/score or inbox/upscale"
        )
    passed_over: dict[str, Refused] = {}
    ignore = loading.load(layout.root).watch.ignore
    try:
        files = sorted(seen.path for seen in scan(layout.root, path, ignore, [], passed_over))
    except OSError as error:
        return _answer(path, "waiting", f"it cannot be read: {error.strerror}", "let this user read it")
    left = f", {len(passed_over)} links or the like are left alone" if passed_over else ""
    if not files:
        return _answer(path, "done", f"nothing that could be worked lies in it{left}")
    first = explain(layout, layout.root / files[0])
    reason = f"{len(files)} files lie in it{left}; the first, {files[0]}: {first['reason']}"
    return _answer(path, first["state"], reason, first["fix"])


def _of_placed(reader: Reader, path: str, drop: dict[str, Any]) -> dict[str, Any]:
    """A dropped file that lies in failed/ or archive/."""
    jobs = reader.jobs_of_drop(drop["id"])
    failed = next((job for job in jobs if job["state"] == "failed"), None)
    if failed is not None:
        again = f"hotfolder retry {shlex.quote(path)}"
        fix = f"{failed['fix']}; then: {again}" if failed["fix"] else again
        return _answer(path, "failed", f"{drop['path']} failed: {failed['error']}", fix)
    if any(map(_is_cancelled, jobs)):
        return _answer(path, "cancelled", f"{drop['path']}: {_cancelled(jobs)}", _AGAIN)
    return _answer(path, "done", f"{drop['path']} is done: {len(jobs)} of {len(jobs)} jobs")


def _inbox_of(layout: Layout, path: str) -> Kind | None:
    """What is done with the files of the inbox that a path lies in; None where that is none."""
    parts = path.split("/")
    if len(parts) < 3 or parts[0] != INBOX:
        return None
    if parts[1] in list(Kind):
        return Kind(parts[1])  # the configuration may be broken, and is not needed for these
    return loading.load(layout.root).inboxes.get(parts[1])


def _sight(layout: Layout, path: str) -> Sighting | None:
    try:
        return sight(layout.root, path)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be looked at: {error.strerror}", "let this user read its folder"
        ) from None


def _is_irregular(layout: Layout, path: str) -> bool:
    with Beneath(layout.root) as beneath:
        return irregular_part(beneath, path) is not None


def _answer(path: str, state: str, reason: str, fix: str = "") -> dict[str, Any]:
    return {"file": path, "state": state, "reason": reason, "fix": fix}


def _arriving(layout: Layout, path: str, kind: Kind | None) -> tuple[str, str]:
    """Why a file that is not taken yet is not taken."""
    if kind is None and naming.as_text(path) != path:
        return "its name is not UTF-8, and nothing is known of such names", "rename it"
    if kind is None:
        return "it lies in no inbox", "drop it into inbox/generate, inbox/score or inbox/upscale"
    settings = loading.load(layout.root)
    if path.endswith(f"/{FILE_NAME}"):
        return "it holds the settings of its folder, and stays there", ""
    for part in path.split("/")[2:]:
        pattern = ignored(part, settings.watch.ignore)
        if pattern:
            return (
                f"'{part}' is left alone: watch.ignore has '{pattern}'",
                "rename it, or change watch.ignore",
            )
    there = _sight(layout, path)
    pid = holder(layout.lock)
    other = of_other_daemon(layout, pid)
    with Beneath(layout.root) as beneath:
        if there is None:
            found = irregular_part(beneath, path)
        elif pid is None and layout.private.stat().st_uid != os.geteuid():
            found = None  # who looks is not who will run the daemon
        else:
            found = refused(beneath, path, other)
    if found is not None:
        return found.reason, found.fix
    if there is None:
        return "there is no such file", "check the name"
    if kind is not Kind.GENERATE and (picture := picture_of(layout, path)) is not None:
        return f"it belongs to {picture}, and goes where that goes", ""
    with Beneath(layout.root) as beneath, contextlib.suppress(OSError):
        none = no_picture(beneath, path, kind)
        if none is not None:
            return none.reason, none.fix
    try:
        FolderSettings(layout.root, settings).of(path)
    except ConfigError as error:
        return f"the settings of its folder were not understood: {error.summary}", error.fix
    if pid is None:
        return "no daemon runs on this root", "start it with: hotfolder run"
    live = read(layout.live_status)
    if live and live.paused and not live.taking:
        return f"the queue is paused: {live.paused}", "it goes on by itself when the cause is gone"
    now = time.time()
    seen = Observation(there, min(now, there.mtime_ns / 1e9))
    with Beneath(layout.root) as beneath:
        held = writers(beneath, path)
    decision = settle(seen, held, settings.settle_policy(), now)
    if not decision.ready:
        hint = "close it there" if held is Writers.SOME else ""
        return decision.reason, hint
    try:
        if other is None:  # what this user may read says nothing of another one
            with Beneath(layout.root) as beneath, beneath.open(path) as file:
                file.read(1)
        elif not other.may(str(layout.root / path), os.R_OK):
            name = user_name(other.uid)
            return f"it may not be read by {name}, who runs the daemon", f"let {name} read it: chmod or chown it"
    except OSError as error:
        trouble = explain_read(error, path)
        return (trouble.message, trouble.fix) if trouble else (f"it cannot be read: {error.strerror}", "")
    return "it is complete; the daemon takes it within moments", ""


def _of_drop(reader: Reader, layout: Layout, path: str, drop: dict[str, Any]) -> dict[str, Any]:
    jobs = reader.jobs_of_drop(drop["id"])
    open_jobs = [job for job in jobs if job["state"] in ("queued", "running")]
    ended = f"{len(jobs) - len(open_jobs)} of {len(jobs)} jobs done" if len(jobs) > 1 else ""
    if drop["state"] == "open" and open_jobs:
        if any(_cancels(each.command, drop, open_jobs) for each in waiting(layout)):
            return _answer(path, "waiting", "it is cancelled as soon as a daemon runs", "hotfolder run")
        job = next((job for job in open_jobs if job["state"] == "running"), open_jobs[0])
        if job["error_kind"] == CannotPlace.kind:
            return _answer(path, "waiting", job["error"], job["fix"] or "")
        live, pid = read(layout.live_status), holder(layout.lock)
        is_working = is_at_work(layout, pid, live)
        is_left = job["state"] == "running" and not is_working
        left = f"{job['kind']} was in work when the last one ended, and is taken up again" if is_left else ""
        if pid is None:
            reason = _join("no daemon runs on this root", left)
            return _answer(path, "waiting", reason, "start it with: hotfolder run")
        if is_left:
            return _answer(path, "waiting", _join("the daemon is starting", left, ended))
        if job["state"] == "running":
            return _answer(path, "running", _join(f"{job['kind']} is in work{_step(live, job['kind'])}", ended))
        wait = job["not_before"] - time.time()
        if wait > 0:
            return _answer(path, "waiting", f"tried again in {wait:.0f} s: {job['error']}", job["fix"] or "")
        if live and live.paused:
            fix = (
                "" if live.taking else "it goes on by itself"
            )  # else a person asked for it, and knows how to go on
            return _answer(path, "waiting", f"the queue is paused: {live.paused}", fix)
        ahead = reader.jobs_ahead(job["id"])
        return _answer(path, "waiting", _join(f"queued for {job['kind']}, {ahead} jobs ahead of it", ended))
    failed = [job for job in jobs if job["state"] == "failed"]
    if failed:
        return _answer(path, "failed", f"{failed[0]['error']} (now {drop['lies']})", failed[0]["fix"] or "")
    if drop["state"] == "gone":
        return _answer(path, "cancelled", "it changed or was taken away before it was done")
    where = f"it is {drop['lies']} now" if drop["lies"] else "its jobs are done"
    if drop["gone_at"] is not None:
        where = f"it was {drop['lies']}, and {GONE}"
    if any(map(_is_cancelled, jobs)):
        where = f"; it is {drop['lies']} now" if drop["lies"] else ""
        return _answer(path, "cancelled", f"{_cancelled(jobs)}{where}", _AGAIN)
    notes = [job["error"] for job in jobs if job["state"] == "done" and job["error"]]
    return _answer(path, "done", _join(where, ended, *notes))


def _step(live: Snapshot | None, kind: str) -> str:
    """How far a job of this kind is, where only one device is at such."""
    at_it = [each for each in live.devices if each["kind"] == kind] if live else []
    if len(at_it) != 1 or not at_it[0]["steps"]:
        return ""
    return f", step {at_it[0]['step']} of {at_it[0]['steps']}"


def _of_image(path: str, image: dict[str, Any], cancelled: Sequence[str], note: str = "") -> dict[str, Any]:
    """`cancelled`: the kinds of work at it that a person has cancelled."""
    score = "not scored yet" if image["score"] is None else f"{image['score']:.2f} by {image['scorer']}"
    by = " by you" if image["verdict_by"] == "person" else ""
    verdict = f", {image['verdict']}{by}" if image["verdict"] else ""
    notes = json.loads(image["settings"]).get("notes", [])
    told = f"{image['role']} from {image['source_file'] or NOT_KNOWN}, {score}{verdict}"
    if not cancelled:
        return _answer(path, "done", _join(told, *notes, note))
    what = " and ".join(dict.fromkeys(_DOING[kind] for kind in cancelled))
    fix = _AGAIN if "score" in cancelled else f"to have it enlarged: hotfolder upscale {shlex.quote(path)}"
    return _answer(path, "cancelled", _join(told, f"{what} cancelled by you", *notes, note), fix)


def _is_cancelled(job: dict[str, Any]) -> bool:
    """By a person, and not because its file was taken away."""
    return job["state"] == "cancelled" and job["error_kind"] == "cancelled"


def _cancelled(jobs: Sequence[dict[str, Any]]) -> str:
    cancelled, done = sum(map(_is_cancelled, jobs)), sum(job["state"] == "done" for job in jobs)
    return f"cancelled by you: {done} of {len(jobs)} jobs were done before, {cancelled} are left"


def _cancels(command: Mapping[str, Any], drop: dict[str, Any], jobs: Sequence[dict[str, Any]]) -> bool:
    """Whether a command that waits will cancel all that is open of a dropped file."""
    if command.get("do") != "cancel" or command.get("line") is not None:
        return False
    wanted = command.get("jobs", [])
    return (
        command.get("all") is True
        or drop["id"] in command.get("drops", [])
        or all(job["id"] in wanted for job in jobs)
    )


def _join(*parts: str) -> str:
    return "; ".join(part for part in parts if part)
