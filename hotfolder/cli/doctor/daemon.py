"""The daemon, and the service that starts it."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from hotfolder import __version__
from hotfolder.cli.check import SILENT
from hotfolder.cli.doctor.check import Check
from hotfolder.cli.service import Manager
from hotfolder.cli.workers import long_out
from hotfolder.core.times import span
from hotfolder.errors import HotfolderError
from hotfolder.folders.layout import Layout
from hotfolder.folders.lock import holder
from hotfolder.status.live import read
from hotfolder.system.units import root_of_usual, services_of


def examine(layout: Layout) -> Check:
    """Whether one runs, of which version, by which settings, and whether it waits."""
    try:
        pid = holder(layout.lock)
    except HotfolderError as error:
        return Check("daemon", "warn", error.message, error.fix)
    if pid is None:
        return Check("daemon", "warn", "not running", "hotfolder run, or hotfolder service install")
    live = read(layout.live_status)
    if live is None:
        return Check("daemon", "ok", f"process {pid} is starting")
    late = max(0.0, time.time() - live.updated_at)
    if late > SILENT:
        text = f"process {pid} has said nothing for {span(late)}: it hangs"
        return Check("daemon", "fail", text, f"hotfolder stop, or kill -9 {pid}; then start it again")
    if live.version and live.version != __version__:
        text = f"process {pid} is of hotfolder {live.version}, this is {__version__}"
        return Check("daemon", "warn", text, "hotfolder stop; then start it again")
    if live.refused:
        fix = "mend it, then: hotfolder reload"
        return Check("daemon", "warn", f"process {pid} works by older settings: {live.refused}", fix)
    if live.paused:
        return Check("daemon", "warn", f"process {pid}, paused: {live.paused}", "see: hotfolder status")
    if out := long_out(live.devices):
        return Check("daemon", "warn", f"process {pid}: {'; '.join(out)}", "see: hotfolder workers")
    return Check(
        "daemon", "ok", f"process {pid}, {live.stage}, watching by {live.watcher}, heard of {late:.0f} s ago"
    )


def service(root: Path | None) -> Check:
    """The service of a root, as systemd knows it; without a root the usual one of this user."""
    if shutil.which("systemctl") is None:
        return Check("service", "warn", "no systemd here", "start 'hotfolder run' by other means")
    usual = Manager(system=False, user=None, name="hotfolder")
    installed = services_of(root) if root is not None else []
    managers = [Manager(system=user is not None, user=user, name=name) for name, user in installed] or [usual]
    try:
        each = [(manager, manager.properties()) for manager in managers]
    except HotfolderError:
        fix = "log in to a session of your own for 'service install'; until then: hotfolder run"
        return Check("service", "warn", "systemd runs no session for this user", fix)
    manager, found = next((told for told in each if told[1].get("ActiveState") == "active"), each[0])
    if found.get("LoadState") != "loaded":
        return Check("service", "warn", "no service is installed", "hotfolder service install")
    other = root_of_usual() if root is not None and not installed else None
    if other is not None:
        text = f"no service is installed for this root; {usual.unit} works on {other}"
        return Check("service", "warn", text, "hotfolder service install --name NAME")
    told = " ".join(found[key] for key in ("UnitFileState", "StatusText") if found.get(key))
    good = found.get("ActiveState") == "active"
    text = f"{manager.unit} is {found.get('ActiveState')}, {told}".strip(", ")
    return Check("service", "ok" if good else "warn", text, manager.typed("logs"))
