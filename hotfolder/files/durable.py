"""Making files durable: small ones of our own, and many of other programs at a time."""

from __future__ import annotations

import ctypes
import errno
import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from hotfolder.files.beneath import Beneath

#: Up to so many files are synced one by one; of more, their whole file system is.
_FEW = 4
_NOT_OPENED = {
    errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENOTSUP,
}  # fmt: skip


@functools.cache
def _syncfs() -> Callable[[int], int] | None:
    function = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if function is not None:
        function.argtypes = (ctypes.c_int,)
    return function


def write_durably(path: Path, text: str) -> None:
    """Writes a small file so that it is there whole or not at all, replacing one of the same name."""
    with Beneath(path.parent) as folder:
        folder.write(path.name, text)


def sync_files(beneath: Beneath, paths: Sequence[str]) -> None:
    """What was written to these files survives a power cut from now on.

    A program that drops a file seldom waits for the disk. Files that cannot be opened are passed over: nothing is
    made of them either. Raises OSError where the disk fails.
    """
    function = _syncfs()
    if function is not None and len(paths) > _FEW:
        handle = os.open(beneath.full(""), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if function(handle) == 0:  # syncfs(2)
                return
        finally:
            os.close(handle)
    for path in paths:
        try:
            file = beneath.open(path)
        except OSError as error:
            if error.errno not in _NOT_OPENED:
                raise
            continue
        with file:
            os.fsync(file.fileno())
