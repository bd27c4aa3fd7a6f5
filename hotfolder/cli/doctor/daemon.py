"""The daemon, and the service that starts it."""

from __future__ import annotations

import shutil
import time

from hotfolder import __version__
from hotfolder.cli.doctor.check import Check
from hotfolder.cli.service import Manager
from hotfolder.errors import HotfolderError
from hotfolder.folders.layout import Layout
from hotfolder.folders.lock import holder
from hotfolder.status.live import read


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


def service() -> Check:
    """The service of this user, as systemd knows it."""
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
