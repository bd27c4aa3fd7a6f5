"""Opening files that somebody else may have put there."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

Opens = Callable[[Path], BinaryIO]


def open_regular(path: Path, *, follow: bool = False) -> BinaryIO:
    """Opens a regular file for reading; never waits for a FIFO, never touches a device.

    Unless `follow`, not through a link either. Raises FileNotFoundError for a file that is gone, OSError (ENOTSUP)
    for one that is something else, and what open(2) raises.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    try:
        handle = os.open(path, flags)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link, a socket
            raise OSError(errno.ENOTSUP, "it is no regular file", str(path)) from None
        raise
    return regular_from(handle, str(path))


def regular_from(handle: int, path: str) -> BinaryIO:
    """The same of a file that is open already; of something else the handle is closed."""
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.ENOTSUP, "it is no regular file", path)
    return open(handle, "rb")


def read_at_most(path: Path, most: int, opens: Opens = open_regular) -> bytes | None:
    """A regular file's content, None for one of more than so many bytes. Raises what opening it raises."""
    with opens(path) as file:
        data = file.read(most + 1)
    return data if len(data) <= most else None
