"""What the daemon of another user may do: whoever asks about a root need not be who works it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from hotfolder.folders.layout import Layout
from hotfolder.folders.lock import is_held_by

_ACCESS_LIST = "system.posix_acl_access"


@dataclass(frozen=True, slots=True)
class Rights:
    """A user and the groups of a process."""

    uid: int
    gids: frozenset[int]

    def may(self, path: str, need: int) -> bool:
        """Whether a file or folder lets them, by its mode; `need` is as for os.access.

        True where that is not known: it cannot be looked at, or has an access list.
        """
        if self.uid == 0:
            return True
        try:
            info = Path(path).stat()
            if _ACCESS_LIST in os.listxattr(path):
                return True
        except OSError:
            return True
        shift = 6 if info.st_uid == self.uid else 3 if info.st_gid in self.gids else 0
        return (info.st_mode >> shift) & need == need


def of_process(pid: int) -> Rights | None:
    """See proc_pid_status(5); None where that may not be read."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
        told = {name: values.split() for name, _, values in (line.partition(":") for line in lines)}
        uid, gid = int(told["Uid"][1]), int(told["Gid"][1])
        return Rights(uid, frozenset({gid, *map(int, told["Groups"])}))
    except (OSError, KeyError, IndexError, ValueError):
        return None


def of_other_daemon(layout: Layout, pid: int | None) -> Rights | None:
    """Of the daemon that works a root now, where it is not this user's; `pid` is what holds the lock, if anything."""
    found = of_process(pid) if pid and is_held_by(layout.lock, pid) else None
    return found if found is not None and found.uid != os.geteuid() else None
