"""`hotfolder doctor`: looks at everything the line stands on, and says how to mend what is wrong."""

from __future__ import annotations

import errno
import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from hotfolder import __version__
from hotfolder.cli import table
from hotfolder.cli.card import planned
from hotfolder.cli.models import how_to_mend
from hotfolder.cli.service import Manager
from hotfolder.config import loading
from hotfolder.config.root import FILE_NAME, find_root_if_any
from hotfolder.config.settings import Settings
from hotfolder.core import channels_last
from hotfolder.core.settle import Writers
from hotfolder.errors import ExitCode, HotfolderError
from hotfolder.files.beneath import Beneath
from hotfolder.files.filesystem import free_bytes, free_files, tells_events, type_of
from hotfolder.files.remembered import Remembered
from hotfolder.files.trouble import is_full
from hotfolder.folders.admission import UNREADABLE, Refused, refused
from hotfolder.folders.guard import check_folders
from hotfolder.folders.layout import INBOX, Layout
from hotfolder.folders.lease import writers
from hotfolder.folders.lock import holder
from hotfolder.folders.scan import scan
from hotfolder.folders.watch import Watcher
from hotfolder.ledger import health, kept
from hotfolder.ledger.reader import Reader
from hotfolder.models.fingerprint import fingerprint
from hotfolder.printable import printable
from hotfolder.status.live import read
from hotfolder.types import Kind

#: What the line is made of, as installed.
_PACKAGES = (
    "torch",
    "torchvision",
    "diffusers",
    "transformers",
    "spandrel",
    "open_clip_torch",
    "watchdog",
    "pillow",
)
#: Seconds: for the devices to be asked, and for an event to come.
_PROBE_SECONDS, _EVENT_SECONDS = 180, 2.0
#: Watches and instances of inotify that should be left.
_FEW_WATCHES, _FEW_INSTANCES = 8192, 16


@dataclass(frozen=True, slots=True)
class Check:
    """One line: what was looked at, how it is, and how to mend it."""

    name: str
    status: Literal["ok", "warn", "fail"]
    message: str
    fix: str = ""


def run_doctor(given: Path | None, *, as_json: bool) -> ExitCode:
    """Exit 1 when something fails; a warning alone is no failure."""
    found: list[Check] = []
    for check in examine(find_root_if_any(given)):
        found.append(check)
        if not as_json:
            _show(check)
    counts = {status: sum(1 for check in found if check.status == status) for status in ("ok", "warn", "fail")}
    if as_json:
        table.write_json({"checks": [asdict(check) for check in found], **counts})
    else:
        sys.stdout.write(f"\n{counts['ok']} ok, {counts['warn']} warnings, {counts['fail']} failures\n")
    return ExitCode.FAILURE if counts["fail"] else ExitCode.DONE


def _show(check: Check) -> None:
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    code = {"ok": "32", "warn": "33", "fail": "31"}[check.status]
    status = f"\x1b[{code}m{check.status:<4}\x1b[0m" if colour else f"{check.status:<4}"
    sys.stdout.write(f"{status}  {check.name:<13} {printable(check.message)}\n")
    if check.fix and check.status != "ok":
        sys.stdout.write(f"{'':<20}fix: {printable(check.fix)}\n")
    sys.stdout.flush()


def examine(root: Path | None) -> Iterator[Check]:
    """Every check, one after the other; those of a root only where there is one."""
    yield _python()
    yield from _packages()
    settings = None
    if root is None:
        yield Check("root", "warn", "there is no root here", "hotfolder init ~/hotfolder --preset tiny")
    else:
        try:
            settings = loading.load(root)
            yield from _configuration(root / FILE_NAME, settings)
        except HotfolderError as error:
            yield Check("configuration", "fail", error.message, error.fix)
    yield from _devices(settings or Settings())
    if root is not None:
        yield from _folders(Layout(root), settings or Settings())
        yield from _database(Layout(root), settings or Settings())
    yield from _inotify(Layout(root) if root else None)
    if settings is not None:
        yield from _models(settings)
        yield from _orders(settings)
    if root is not None:
        yield _daemon(Layout(root))
    yield _service()


def _configuration(path: Path, settings: Settings) -> Iterator[Check]:
    yield Check("configuration", "ok", str(path))
    if settings.holds_secrets and _everybody_reads(path) and not settings.output.readers & 0o004:
        yield Check(
            "configuration", "warn", f"{path} may hold passwords (notify, hooks), and everybody may read it",
            f"chmod o-r {shlex.quote(str(path))}; the daemon does so when it starts",
        )  # fmt: skip


def _everybody_reads(path: Path) -> bool:
    return bool(path.stat().st_mode & 0o004) and all(folder.stat().st_mode & 0o001 for folder in path.parents)


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    return Check("python", "ok", f"{version}, {sys.executable}")


def _packages() -> Iterator[Check]:
    versions, missing = [], []
    for name in _PACKAGES:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        yield Check(
            "packages", "fail", f"not installed: {', '.join(missing)}", "uv sync, or install hotfolder again"
        )
    yield Check("packages", "ok", ", ".join(versions))


def _devices(settings: Settings) -> Iterator[Check]:
    wanted = settings.executor.device
    command = [sys.executable, "-P", "-m", "hotfolder.engines.probe"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=_PROBE_SECONDS)
        found: dict[str, Any] = json.loads(told.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        said = told.stderr.strip().splitlines()[-1:] if isinstance(error, ValueError) else [str(error)]
        yield Check("torch", "fail", f"torch cannot be used: {' '.join(said)}", "install hotfolder again: uv sync")
        return
    yield Check("torch", "ok", f"{found['torch']}, CUDA {found['cuda'] or 'not built in'}")
    devices = found["devices"]
    for each in devices:
        memory = f", {each['free_mb']:,} of {each['memory_mb']:,} MiB free" if "memory_mb" in each else ""
        text = f"{each['device']}: {each['name']}{memory}, native {', '.join(each.get('native', ()))}"
        if each["trouble"]:
            yield Check("device", "fail", f"{text}: {each['trouble']}", "does the driver fit? see: nvidia-smi")
        else:
            yield Check("device", "ok", f"{text}, used in {each['used']}")
    yield from _plan(settings, devices)
    names = {each["device"] for each in devices}
    has_cuda = any(name.startswith("cuda") for name in names)
    listed = () if settings.executor.devices == "auto" else settings.executor.devices
    for name in (each for each in listed if ("cuda:0" if each == "cuda" else each) not in names):
        yield Check(
            "device", "fail", f"executor.devices names {name}, which is not there", "leave it out, or auto"
        )
    if wanted.startswith("cuda") and (wanted if ":" in wanted else "cuda:0") not in names:
        yield Check("device", "fail", f"executor.device is {wanted}, which is not there", "set it to auto or cpu")
    elif not has_cuda and wanted == "auto":
        driver = Path("/proc/driver/nvidia").exists()
        why = (
            "there is an NVIDIA driver, but torch sees no GPU" if driver else "no GPU: everything runs on the CPU"
        )
        fix = "see: nvidia-smi; is torch built for a CUDA that the driver knows?" if driver else ""
        yield Check("device", "warn", why, fix or "nothing, for the presets tiny and cpu; the others need one")


def _plan(settings: Settings, devices: Sequence[Mapping[str, Any]]) -> Iterator[Check]:
    """How the configured generator goes onto the GPU, as far as its sizes are known."""
    entry = settings.catalogue().entry(settings.generate.model)
    wanted = settings.executor.device
    cards = [each for each in devices if "memory_mb" in each and wanted in ("auto", "cuda", each["device"])]
    if entry is None or not cards:
        return
    best = max(cards, key=lambda each: int(each["memory_mb"]))
    found = planned(entry, best["memory_mb"] << 20, settings.generate.memory, best["name"])
    if found is None:
        return
    fits, text = found
    yield Check("plan", "ok" if fits else "warn", text, "hotfolder init --preset NAME; see docs/administration.md")


def _folders(layout: Layout, settings: Settings) -> Iterator[Check]:
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
    yield from _left_alone(layout, settings)
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


def _left_alone(layout: Layout, settings: Settings) -> Iterator[Check]:
    """What is not taken, as it lies there now; of what a daemon found by content, it tells itself."""
    passed_over: dict[str, Refused] = {}
    for name in settings.inboxes:
        with suppress(OSError):
            unread: list[str] = []
            with Beneath(layout.root) as beneath:
                for seen in scan(layout.root, f"{INBOX}/{name}", settings.watch.ignore, unread, passed_over):
                    why = refused(beneath, seen.path)
                    if why is not None:
                        passed_over[seen.path] = why
            passed_over.update(dict.fromkeys(unread, UNREADABLE))
    by_reason: dict[str, list[str]] = {}
    for path, why in sorted(passed_over.items()):
        by_reason.setdefault(why.reason, []).append(path)
    for reason, paths in by_reason.items():
        many = f", and {len(paths) - 1} more" if len(paths) > 1 else ""
        yield Check("inbox", "warn", f"{paths[0]}{many}: {reason}", passed_over[paths[0]].fix)


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


def _database(layout: Layout, settings: Settings) -> Iterator[Check]:
    if not layout.database.exists():
        yield Check("database", "ok", f"{layout.database} is made when the daemon first runs")
        return
    problem = health.problem(layout.database, thoroughly=True)
    if problem:
        fix = "start the daemon: it mends it, or sets it aside and makes a new one from the folders"
        yield Check("database", "fail", f"{layout.database}: {problem}", fix)
        return
    try:
        with Reader(layout.database):
            pass
    except HotfolderError as error:
        yield Check("database", "fail", f"{layout.database}: {error.message}", error.fix)
        return
    size = layout.database.stat().st_size
    yield Check("database", "ok", f"{layout.database}, {size / 1e6:,.1f} MB, whole")
    if _everybody_reads(layout.database) and not settings.output.readers & 0o004:
        fix = f'chmod o-r {shlex.quote(str(layout.database))}*, or output.umask = "022" if that is meant'
        text = f"everybody may read {layout.database}, with all prompts and names"
        yield Check("database", "warn", text, fix)
    if copies := kept.copies(layout.database):
        size = sum(copy.stat().st_size for copy in copies)
        text = f"{len(copies)} copies from before its schema was changed, {size / 1e6:,.1f} MB, the newest {copies[0]}"
        yield Check("database", "ok", text)
    aside = sorted(layout.root.glob("hotfolder.damaged-*.db"))
    if aside:
        yield Check("database", "warn", f"set aside as damaged: {aside[-1]}", "remove it when you miss nothing")


def _inotify(layout: Layout | None) -> Iterator[Check]:
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


def _models(settings: Settings) -> Iterator[Check]:
    catalogue = settings.catalogue()
    for kind, name in settings.models_needed():
        entry = catalogue.entry(name)
        try:
            catalogue.resolve(name, kind)
            parts = [part for part in catalogue.needs(name) if part.name != entry.twin] if entry else []
            found = [(part, file) for part in parts for file in catalogue.find(part)]
            wrong = [(part, file.path) for part, file in found if file.is_damaged()]
        except HotfolderError as error:
            yield Check("model", "fail", error.message, error.fix)
        except OSError as error:
            yield Check("model", "fail", f"'{name}' cannot be read: {error}", "let this user read it")
        else:
            if wrong:
                part, path = wrong[0]
                yield Check("model", "fail", f"{path} is damaged", how_to_mend(part))
            else:
                pinned = found and all(file.sha256 for _, file in found)
                known = "sha256 verified" if pinned else "no sha256 to compare"
                yield Check("model", "ok", f"{name} ({kind}), {known}")


def _orders(settings: Settings) -> Iterator[Check]:
    """What was found out of how the generator is fastest here."""
    file = Remembered(channels_last.FILE)
    entries, name = file.read(), settings.generate.model
    if not entries or settings.generate.channels_last != "auto":
        return
    try:
        own = fingerprint(settings.catalogue().resolve(name, Kind.GENERATE))
    except (HotfolderError, OSError):
        return  # the check of models says so
    for key, entry in entries.items():
        device, model, how = channels_last.read_key(key)
        if model == own and (words := channels_last.told(entry)):
            yield Check("speed", "ok", f"{name} on {device}, {how}: {words}; deleting {file.path} forgets it")


def _daemon(layout: Layout) -> Check:
    try:
        pid = holder(layout.lock)
    except HotfolderError as error:
        return Check("daemon", "warn", error.message, error.fix)
    if pid is None:
        return Check("daemon", "warn", "not running", "hotfolder run, or hotfolder service install")
    live = read(layout.live_status)
    if live is None:
        return Check("daemon", "ok", f"process {pid} is starting")
    if live.version and live.version != __version__:
        text = f"process {pid} is of hotfolder {live.version}, this is {__version__}"
        return Check("daemon", "warn", text, "hotfolder stop; then start it again")
    if live.refused:
        fix = "mend it, then: hotfolder reload"
        return Check("daemon", "warn", f"process {pid} works by older settings: {live.refused}", fix)
    if live.paused:
        return Check("daemon", "warn", f"process {pid}, paused: {live.paused}", "see: hotfolder status")
    late = time.time() - live.updated_at
    return Check(
        "daemon", "ok", f"process {pid}, {live.stage}, watching by {live.watcher}, heard of {late:.0f} s ago"
    )


def _service() -> Check:
    if shutil.which("systemctl") is None:
        return Check("service", "warn", "no systemd here", "start 'hotfolder run' by other means")
    try:
        found = Manager(system=False, user=None, name="hotfolder").properties()
    except HotfolderError:
        fix = "log in to a session of your own for 'service install'; until then: hotfolder run"
        return Check("service", "warn", "systemd runs no session for this user", fix)
    if found.get("LoadState") != "loaded":
        return Check("service", "warn", "no service is installed", "hotfolder service install")
    text = (
        f"hotfolder.service is {found.get('ActiveState')}, {found.get('UnitFileState')} {found.get('StatusText')}"
    )
    good = found.get("ActiveState") == "active"
    return Check("service", "ok" if good else "warn", text.strip(), "hotfolder service logs")
