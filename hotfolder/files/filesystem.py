"""What kind of file system a folder lies on, and what can be relied on there."""

from __future__ import annotations

import functools
import os
import re
import shutil
from pathlib import Path

#: File systems whose changes may come from another machine, of which inotify(7) tells nothing.
_REMOTE = frozenset((
    "9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "drvfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs",
    "nfs4", "orangefs", "prl_fs", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs",
))  # fmt: skip
#: File systems that may give a file another inode number whenever they have forgotten it; so may all in user space.
_FORGETFUL = frozenset((
    "9p", "cifs", "davfs", "drvfs", "exfat", "msdos", "prl_fs", "smb3", "smbfs", "vboxsf", "vfat", "vmhgfs",
))  # fmt: skip
_MOUNTS = Path("/proc/self/mountinfo")


def type_of(path: Path, mounts: Path = _MOUNTS) -> str:
    """The type of the file system that a folder lies on ('ext4', 'nfs4', 'fuse.sshfs'); empty if that is not known.

    From proc_pid_mountinfo(5): the mount point that is the longest prefix of the path, the last one of its name.
    """
    try:
        real = os.path.realpath(path)
        lines = mounts.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return ""
    best, found = -1, ""
    for line in lines:
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5 or not after:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4])
        if (real == point or real.startswith(point.rstrip("/") + "/")) and len(point) >= best:
            best, found = len(point), after.split(" ")[0]
    return found


@functools.lru_cache(maxsize=32)
def has_lasting_inodes(device: int) -> bool:
    """Whether a file keeps its inode number; `device` is st_dev. What is not known is taken to be so."""
    try:
        lines = _MOUNTS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return True
    number = f"{os.major(device)}:{os.minor(device)}"
    types = {
        after.split(" ")[0]
        for before, _, after in (line.partition(" - ") for line in lines)
        if before.split(" ")[2:3] == [number]
    }
    return not any(type_ in _FORGETFUL or type_.startswith("fuse.") for type_ in types)


def tells_events(type_: str) -> bool:
    """Whether inotify can be relied on for a file system of this type."""
    return type_ not in _REMOTE and not type_.startswith("fuse.")


def free_bytes(path: Path) -> int:
    """What this user may still write to the file system. Raises OSError."""
    return shutil.disk_usage(path).free


def free_files(path: Path) -> int | None:
    """How many more files the file system can hold; None where it does not count them. Raises OSError."""
    found = os.statvfs(path)
    return found.f_favail if found.f_files else None
