"""What the daemon, its link to a Ray cluster and the hosts there say to each other. Nothing here is of Ray."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hotfolder.types import Group, RunnerSettings

#: To the link: (SUBMIT, device, batch), (CANCEL, device, job ids), (INTERRUPT,), (UNLOAD, device),
#: (ABANDON, device, why), (RECONFIGURE, settings, idle seconds).
SUBMIT, CANCEL, INTERRUPT, UNLOAD, ABANDON, RECONFIGURE = (
    "submit", "cancel", "interrupt", "unload", "abandon", "reconfigure",
)  # fmt: skip
#: From the link: (DEVICES, all of them, whether the first look is over); (BROKEN, why it has no cluster); (ALIVE,);
#: or a Done.
DEVICES, BROKEN, ALIVE = "devices", "broken", "alive"

#: Names a kernel from its start to its end: two processes that read the same are on one machine.
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Setup:
    """What a link is told when it begins."""

    settings: RunnerSettings
    idle_seconds: float
    address: str
    root: str | None = None  # of which nodes that see it get paths; None: all get bytes
    probe: str | None = None  # a file below the root
    nonce: str = ""  # what stands in it
    boot_id: str = ""  # of the daemon's machine
    groups: tuple[Group, ...] = ()  # those that the configuration names: nodes are asked for their models at once


def boot_id() -> str:
    """Of this machine; empty where it cannot be known."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def short(error: Exception) -> str:
    """What an error of Ray says, in one line: they are long."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines)[:400] or type(error).__name__


def why_unfit(ours: Mapping[str, Any], theirs: Mapping[str, Any], machine: str) -> str:
    """How the programs of a node differ from those of the daemon's machine, both named; empty where they do not."""
    names = {"hotfolder": "hotfolder", "python": "Python", "ray": "Ray"}
    wrong = [
        f"{name} is {theirs.get(key)} on {machine} and {ours[key]} here"
        for key, name in names.items()
        if theirs.get(key) != ours[key]
    ]
    return "; ".join(wrong)
