"""The folders of a root, and how files in them are noticed."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from hotfolder.cli.doctor.check import Check
from hotfolder.config.settings import Settings
from hotfolder.core.litter import ignored
from hotfolder.core.settle import Writers
from hotfolder.errors import HotfolderError
from hotfolder.files.beneath import Beneath
from hotfolder.files.filesystem import free_bytes, free_files, tells_events, type_of
from hotfolder.files.trouble import is_full
from hotfolder.folders.admission import UNREADABLE, Refused, refused
from hotfolder.folders.guard import check_folders
from hotfolder.folders.layout import INBOX, Layout
from hotfolder.folders.lease import writers
from hotfolder.folders.lock import holder
from hotfolder.folders.rights import Rights, of_other_daemon
from hotfolder.folders.scan import scan
from hotfolder.folders.watch import Watcher

#: Seconds for an event to come.
_EVENT_SECONDS = 5.0
#: Watches and instances of inotify that should be left.
_FEW_WATCHES, _FEW_INSTANCES = 8192, 16


def examine(layout: Layout, settings: Settings) -> Iterator[Check]:
    """The folders, which are made where they are missing, what is not taken from them, and the disk."""
    names = settings.inboxes
    try:
        layout.make(names)
        check_folders(layout, names)
    except HotfolderError as error:
        yield Check("folders", "fail", error.message, error.fix)
    except OSError as error:
        yield Check("folders", "fail", f"{layout.root}: {error.strerror}", "may this user write there?")
        return
    for name in names:
        yield _inbox(layout.inbox(name), settings)
    yield from left_alone(layout, settings)
    free, least = free_bytes(layout.root), settings.output.min_free_mb << 20
    text = f"{free / 1e9:.1f} GB free on the disk of {layout.root}"
    if free_files(layout.root) == 0:
        text = f"no more files can be made on the disk of {layout.root}: it is out of inodes"
        yield Check("disk", "fail", text, "remove files you do not need; see: df -i")
    elif free < least:
        fix = "free some space, or lower output.min_free_mb"
        yield Check("disk", "fail", f"{text}: less than output.min_free_mb, so nothing is begun", fix)
    elif free < 4 * least:
        yield Check("disk", "warn", text, "free some space")
    else:
        yield Check("disk", "ok", text)


def left_alone(layout: Layout, settings: Settings) -> Iterator[Check]:
    """What is not taken, as it lies there now; of what a daemon found by content, it tells itself."""
    passed_over: dict[str, Refused] = {}
    other: Rights | None = None
    with suppress(HotfolderError):  # whether a daemon runs is not known
        other = of_other_daemon(layout, holder(layout.lock))
    for name in settings.inboxes:
        with suppress(OSError):
            unread: list[str] = []
            with Beneath(layout.root) as beneath:
                for seen in scan(layout.root, f"{INBOX}/{name}", settings.watch.ignore, unread, passed_over):
                    why = refused(beneath, seen.path, other)
                    if why is not None:
                        passed_over[seen.path] = why
            passed_over.update(dict.fromkeys(unread, UNREADABLE))
    passed_over |= _in_no_inbox(layout, settings)
    by_reason: dict[str, list[str]] = {}
    for path, why in sorted(passed_over.items()):
        by_reason.setdefault(why.reason, []).append(path)
    for reason, paths in by_reason.items():
        many = f", and {len(paths) - 1} more" if len(paths) > 1 else ""
        yield Check("inbox", "warn", f"{paths[0]}{many}: {reason}", passed_over[paths[0]].fix)


def _in_no_inbox(layout: Layout, settings: Settings) -> dict[str, Refused]:
    """What lies in inbox/ itself, or in a folder there that is no inbox, or none any more."""
    fix = f"move it into one of {', '.join(f'{INBOX}/{name}' for name in settings.inboxes)}"
    why = Refused("it lies in no inbox, and is never taken", fix)
    try:
        there = sorted(os.scandir(layout.root / INBOX), key=lambda entry: entry.name)
    except OSError:
        return {}
    return {
        f"{INBOX}/{entry.name}": why
        for entry in there
        if entry.name not in settings.inboxes
        and not ignored(entry.name, settings.watch.ignore)
        and (not entry.is_dir(follow_symlinks=False) or any(Path(entry.path).rglob("*.*")))
    }


def _inbox(folder: Path, settings: Settings) -> Check:
    """Proves by a file of its own, which the daemon leaves alone, that events come and writers can be told."""
    type_ = type_of(folder)
    wake = threading.Event()
    watcher = Watcher([folder], wake, "events")
    trial = folder / f".doctor-{os.getpid()}"
    try:
        watcher.ensure()
        wake.clear()
        trial.write_bytes(b"x")
        told = watcher.alive and wake.wait(_EVENT_SECONDS)
        with Beneath(folder) as beneath:
            leases = writers(beneath, trial.name) is not Writers.UNKNOWN
    except OSError as error:
        fix = f"chown it to this user, or chmod u+rwx {folder}"
        if is_full(error) or error.errno == errno.EROFS:
            fix = (
                "mount it writable"
                if error.errno == errno.EROFS
                else "free some, or remove files; see: df -h, df -i"
            )
        return Check("inbox", "fail", f"{folder} cannot be written: {error.strerror}", fix)
    finally:
        watcher.stop()
        with suppress(OSError):
            trial.unlink(missing_ok=True)
    text = f"{folder} ({type_ or 'unknown file system'})"
    if not told or not tells_events(type_):
        polled = settings.watch.mode == "polling" or not tells_events(type_)
        how = f"it is read every {settings.watch.poll_seconds:g} s" if polled else "files are found later"
        return Check("inbox", "ok" if polled else "warn", f"{text}: no events, {how}", "set watch.mode to polling")
    lease = "finished writers are known at once" if leases else "files are taken after a longer quiet time"
    return Check("inbox", "ok", f"{text}: events come, {lease}")


def inotify(layout: Layout | None) -> Iterator[Check]:
    """How much the kernel lets be watched, and how much there is to watch."""
    limits = {}
    for name in ("max_user_watches", "max_user_instances"):
        with suppress(OSError, ValueError):
            limits[name] = int(Path(f"/proc/sys/fs/inotify/{name}").read_text())
    if not limits:
        return
    folders = sum(1 for _ in (layout.root / "inbox").rglob("*/")) if layout else 0
    text = ", ".join(f"{name} {value:,}" for name, value in limits.items()) + f"; {folders} folders are watched"
    few = limits.get("max_user_watches", _FEW_WATCHES) < max(_FEW_WATCHES, 2 * folders)
    if few or limits.get("max_user_instances", _FEW_INSTANCES) < _FEW_INSTANCES:
        fix = "sudo sysctl fs.inotify.max_user_watches=524288 fs.inotify.max_user_instances=512"
        yield Check("inotify", "warn", text, fix)
    else:
        yield Check("inotify", "ok", text)
