"""Which file it is, whatever it is called."""

from __future__ import annotations

import os
from pathlib import Path

from hotfolder.types import FileIdentity


def identity_of(path: str | Path) -> FileIdentity | None:
    """The file under this path, which is not followed; None where there is none. Raises OSError."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return FileIdentity(found.st_ino, found.st_size, found.st_mtime_ns)


def is_same(wanted: FileIdentity | None, found: FileIdentity) -> bool:
    """Whether it is the file that is meant. An inode alone may have been given to another file since."""
    if wanted is None:
        return True
    return (
        wanted.inode == found.inode
        and wanted.size in (None, found.size)
        and wanted.mtime_ns in (None, found.mtime_ns)
    )
