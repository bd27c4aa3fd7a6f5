"""Errors of the file system in words, and whom they concern: one file, or everything."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from hotfolder.errors import CannotPlace, DiskFull, EnvironmentTrouble, HotfolderError, UsageError

#: Of one file or folder; its neighbours are not concerned.
_OWN = {
    errno.EACCES, errno.EPERM, errno.EXDEV, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EINVAL,
    errno.EBUSY, errno.ETXTBSY, errno.EMLINK,
}  # fmt: skip


#: Why one file cannot be read, by its own fault. All else is the disk's, the share's or the machine's, and may pass.
_UNREADABLE = _OWN | {errno.ENOENT, errno.ENOTSUP, errno.ENXIO}


def explain_read(error: OSError, name: str) -> EnvironmentTrouble | None:
    """Why a file cannot be read just now; None where that is the file's own fault, and stays so."""
    if error.errno in _UNREADABLE:
        return None
    return EnvironmentTrouble(
        f"{name} cannot be read: {error.strerror or error}",
        "look at its disk or share; it is tried again by itself",
    )


def explain(error: OSError) -> EnvironmentTrouble:
    """An error of the disk or its permissions, in words."""
    if is_full(error):
        return _full(error, "free some; the queue goes on by itself")
    where = error.filename2 or error.filename or "the disk"
    return EnvironmentTrouble(
        f"{where}: {error.strerror or error}", "make the folder writable; the queue goes on by itself"
    )


def refused(error: OSError, what: str, fix: str) -> HotfolderError:
    """Why `what` is not done for a person who asked for it: it was the wrong place, unless the disk is full."""
    if is_full(error):
        return _full(error, "free some, or remove files; see: df -h, df -i")
    return UsageError(f"{what}: {error.strerror or error}", fix)


def is_full(error: OSError) -> bool:
    """No space, no file that could still be made, or no more for this user."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def _full(error: OSError, fix: str) -> DiskFull:
    where = error.filename2 or error.filename
    return DiskFull(f"no space left for {where}" if where else "no space left on the disk", fix)


def explain_move(error: OSError, folders: tuple[Path, ...]) -> EnvironmentTrouble | CannotPlace:
    """Why a file could not be moved. EnvironmentTrouble where it concerns all that goes into one of `folders`."""
    if error.errno not in _OWN:
        return explain(error)
    if error.errno in (errno.EACCES, errno.EPERM) and not all(os.access(folder, os.W_OK) for folder in folders):
        return explain(error)
    source, target = error.filename or "a file", error.filename2
    way = f"{source} cannot be moved to {target}" if target else f"{source} cannot be moved"
    return CannotPlace(f"{way}: {error.strerror or error}", _FIXES.get(error.errno or 0, _USUAL))


_USUAL = "let this user move it; it is tried again by itself"
_FIXES = {
    errno.EXDEV: "put its folder on the file system of the root; it is tried again by itself",
    errno.ENAMETOOLONG: "give the file, or its folders, a shorter name",
    errno.EBUSY: "it is in use, or a file system is mounted on it; it is tried again by itself",
}
