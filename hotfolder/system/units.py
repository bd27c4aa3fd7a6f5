"""The systemd units: as they stand in systemd/, and as `hotfolder service install` writes them."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from pathlib import Path

from hotfolder.errors import UsageError
from hotfolder.home import home

_COMMON = """\
Type=notify
NotifyAccess=main
ExecStart={command} run
# Waits for the answer: settings that are refused are a reload that failed.
ExecReload={command} reload
# Ready only when the inboxes are watched; fed only by turns of the daemon's loop. A start, a stop or a model's loading
# that takes its time says so.
WatchdogSec=180
TimeoutStartSec=300
# The image in work is finished, or put back after executor.stop_grace_seconds. The daemon ends its worker itself; a
# second signal would cut that short, so only the daemon is told.
KillMode=mixed
KillSignal=SIGTERM
TimeoutStopSec=90
# When memory runs out the kernel takes the worker; the daemon goes on and quarantines what caused it.
OOMPolicy=continue
Restart=on-failure
RestartSec=5
# 2: the configuration is wrong, 4: a model is missing. Starting again would not help.
RestartPreventExitStatus=2 4

# The machine stays usable. For a hard limit on memory add MemoryMax=…: it counts the worker, too.
Nice=5
IOSchedulingClass=best-effort
IOSchedulingPriority=6
LimitNOFILE=65536
LimitCORE=0
TasksMax=4096

# Without PrivateDevices, DevicePolicy or ProtectClock, which would hide the GPU, and without MemoryDenyWriteExecute,
# which CUDA and torch.compile do not survive.
NoNewPrivileges=yes
LockPersonality=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
"""
_GALLERY = """\
Type=notify
NotifyAccess=main
ExecStart={command} gallery
TimeoutStopSec=20
Restart=on-failure
RestartSec=5
# 2: the configuration is wrong, or the address is taken.
RestartPreventExitStatus=2

Nice=5
LimitNOFILE=8192
LimitCORE=0
TasksMax=256
MemoryHigh=1G

# It works no device: it draws small pictures and answers.
NoNewPrivileges=yes
LockPersonality=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
"""
_USER = """\
# User unit, written by `hotfolder {install}`; by hand: copy it to ~/.config/systemd/user/, then
#   systemctl --user daemon-reload && systemctl --user enable --now {name}
# It starts with your session; to start with the machine: loginctl enable-linger
[Unit]
Description=hotfolder: {about}
StartLimitIntervalSec=600
StartLimitBurst=5

[Service]
Environment={variable}
{common}
[Install]
WantedBy=default.target
"""
_SYSTEM = """\
# System unit for any user, written by `hotfolder {install} --system`; by hand: copy it to /etc/systemd/system/,
# mend the path of the program, then
#   systemctl daemon-reload && systemctl enable --now {name}@$USER
# It works on the root of its user, ~/hotfolder. Another one stands in a drop-in of that user alone, as `--user` and
# `--root` write it: {name}@USER.service.d/root.conf
[Unit]
Description=hotfolder of %i: {about}
After=local-fs.target remote-fs.target
StartLimitIntervalSec=600
StartLimitBurst=5

[Service]
User=%i
WorkingDirectory=~
{common}
# Only a system manager can do these. Nothing but the root may be written.
ProtectSystem=strict
ReadWritePaths=-/home/%i/hotfolder
PrivateTmp=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectHostname=yes
RemoveIPC=yes
KeyringMode=private
CapabilityBoundingSet=
AmbientCapabilities=
UMask=0022

[Install]
WantedBy=multi-user.target
"""
_DROP_IN = """\
# Which root {unit} works on; written by `hotfolder service install --system`.
[Unit]
RequiresMountsFor={root}

[Service]
Environment={variable}
ReadWritePaths={root}
"""
#: Where the machine's units lie.
SYSTEM_FOLDER = Path("/etc/systemd/system")
_BY_US = "written by `hotfolder service install"


def user_unit(command: str, root: str, *, gallery: bool = False, name: str = "") -> str:
    """For the user's own systemd: of the daemon, or of the gallery; `name` is that of the service, else the usual.

    `command` and `root` are absolute, or begin with %h/. Raises UsageError.
    """
    common = _common(command, gallery=gallery)
    return _USER.format(variable=_variable(root), common=common, **_names(name, gallery=gallery))


def system_unit(command: str, *, gallery: bool = False, name: str = "") -> str:
    """A template for the machine's systemd, for every user: hotfolder@USER. Raises UsageError."""
    return _SYSTEM.format(common=_common(command, gallery=gallery), **_names(name, gallery=gallery))


def drop_in(unit: str, root: str) -> str:
    """What makes an instance of the template work on this root. Raises UsageError."""
    return _DROP_IN.format(unit=unit, root=_quoted(_escaped(root)), variable=_variable(root))


def is_ours(text: str) -> bool:
    """Whether `install` wrote this unit."""
    return _BY_US in text


def root_in(text: str) -> str | None:
    """The root that a unit, or its drop-in, names; None where it names none."""
    found = re.search(r"^Environment=(.*)$", text, re.MULTILINE)
    words = shlex.split(found[1]) if found else []
    named = next((word for word in words if word.startswith("HOTFOLDER_ROOT=")), None)
    if named is None:
        return None
    root = named.partition("=")[2]
    return (f"{home()}/{root[3:]}" if root.startswith("%h/") else root).replace("%%", "%")


def root_of(path: Path) -> str | None:
    """The root that a unit's file names; None where there is none, or not by `install`."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return root_in(text) if is_ours(text) else None


def root_of_usual() -> str | None:
    """The root that this user's service works on that is called as usual; None where there is none."""
    try:
        return root_of(unit_path("hotfolder", system=False))
    except UsageError:  # without a home
        return None


def is_same(named: str, root: Path) -> bool:
    """Whether a root that a unit names is this one, perhaps by another way to it."""
    try:
        return Path(named) == root or os.path.samefile(named, root)  # noqa: PTH121 - not there is not the same
    except OSError:
        return False


def services_of(root: Path) -> list[tuple[str, str | None]]:
    """The services that `install` wrote for a root's daemon: their names, and whose they are of the machine's."""
    found: list[tuple[str, str | None]] = []
    files = list(SYSTEM_FOLDER.glob("*@?*.service.d/root.conf"))
    with contextlib.suppress(UsageError):  # without a home there is no place for units of one's own
        files += unit_path("hotfolder", system=False).parent.glob("*.service")
    for path in sorted(files):
        named = root_of(path)
        unit = path.parent.name.removesuffix(".d") if path.name == "root.conf" else path.name
        name, _, user = unit.removesuffix(".service").partition("@")
        if named is not None and is_same(named, root) and not _is_of_gallery(path, name):
            found.append((name, user or None))
    return found


def _is_of_gallery(path: Path, name: str) -> bool:
    """By what is run: in the unit itself, or in the template that the root of an instance is for."""
    unit = path if path.suffix == ".service" else unit_path(name, system=True)
    try:
        text = unit.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return re.search(r"^ExecStart=.* gallery\b", text, re.MULTILINE) is not None


def unit_path(name: str, *, system: bool) -> Path:
    """Where the unit of a service lies. Raises UsageError for what can be no name."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise UsageError(f"'{name}' is no name for a service", "use letters, digits, '-' and '_'")
    if system:
        return SYSTEM_FOLDER / f"{name}@.service"
    folder = os.environ.get("XDG_CONFIG_HOME") or home() / ".config"
    return Path(folder, "systemd", "user", f"{name}.service")


def drop_in_path(unit: str) -> Path:
    """Where the root of an instance of the machine's template stands."""
    return SYSTEM_FOLDER / f"{unit}.d" / "root.conf"


def other_instances(name: str, unit: str) -> list[str]:
    """Instances of the machine's template, beside this one, that have a root or are enabled."""
    found = [*SYSTEM_FOLDER.glob(f"{name}@?*.service.d"), *SYSTEM_FOLDER.glob(f"*.wants/{name}@?*.service")]
    return sorted({path.name.removesuffix(".d") for path in found} - {unit})


def _names(name: str, *, gallery: bool) -> dict[str, str]:
    """What a unit is called, what it is, and how it is installed."""
    if gallery:
        return {
            "name": name or "hotfolder-gallery",
            "install": "service install --gallery",
            "about": "the page in the browser",
        }
    return {
        "name": name or "hotfolder",
        "install": "service install",
        "about": "drop prompts and pictures, get the good ones",
    }


def _common(command: str, *, gallery: bool) -> str:
    # Only in a command '$' begins a variable.
    return (_GALLERY if gallery else _COMMON).format(command=_quoted(_escaped(command).replace("$", "$$")))


def _variable(root: str) -> str:
    return _quoted(f"HOTFOLDER_ROOT={_escaped(root)}")


def _escaped(path: str) -> str:
    """A path whose '%' are no specifiers, but for that of a folder to be filled in: see systemd.unit(5)."""
    if any(ord(c) < 32 for c in path):
        raise UsageError("a path with control characters cannot stand in a unit", "use another folder")
    start = next((s for s in ("%h/", "/home/%i/") if path.startswith(s)), "")
    return start + path.removeprefix(start).replace("%", "%%")


def _quoted(text: str) -> str:
    """As one word: see 'Quoting' in systemd.syntax(7)."""
    if not re.search(r"[\s\"'\\;#]", text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
