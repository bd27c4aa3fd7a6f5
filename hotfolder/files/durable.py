"""Making other programs' files durable, many at a time."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path

#: Up to so many files are synced one by one; of more, their whole file system is.
_FEW = 4


@functools.cache
def _syncfs() -> Callable[[int], int] | None:
    function = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if function is not None:
        function.argtypes = (ctypes.c_int,)
    return function


def sync_files(root: Path, paths: Sequence[str]) -> None:
    """What was written to these files, relative to `root`, survives a power cut from now on.

    A program that drops a file seldom waits for the disk. Files that cannot be opened are passed over: nothing is
    made of them either. Raises OSError where the disk fails.
    """
    function = _syncfs()
    if function is not None and len(paths) > _FEW:
        handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if function(handle) == 0:  # syncfs(2)
                return
        finally:
            os.close(handle)
    for path in paths:
        with contextlib.suppress(FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError):
            handle = os.open(root / path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
