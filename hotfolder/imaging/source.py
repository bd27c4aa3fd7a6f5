"""An image file as it is read: whole, once, and only a regular file."""

from __future__ import annotations

import errno
import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from hotfolder.errors import BadInput, EmptyFile, FileTooLarge, Vanished
from hotfolder.files.regular import Opens, open_regular


@dataclass(frozen=True, slots=True)
class Source:
    """A file as it was read; `data` may be without metadata that nobody can use."""

    name: str
    data: bytes = field(repr=False)
    sha256: str


def read(path: Path, max_bytes: int, opens: Opens = open_regular) -> Source:
    """Reads a whole regular file; `opens` says how it is reached.

    Raises Vanished, EmptyFile, FileTooLarge, or BadInput when it may not be read.
    """
    try:
        with opens(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > max_bytes:
                raise FileTooLarge(
                    f"{path.name} has {size:,} bytes, more than the {max_bytes:,} allowed",
                    "make it smaller, or raise executor.max_file_bytes",
                )
            data = file.read(size)  # should it grow meanwhile, it is not what was taken
    except FileNotFoundError:
        raise Vanished(f"{path.name} is not there any more", "drop it again") from None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise Vanished(f"{path.name} is not where it was: {error.strerror}", "drop it again") from None
        if error.errno in (errno.EACCES, errno.EPERM):
            raise BadInput(f"{path.name} may not be read", "give this user permission to read it") from None
        if error.errno == errno.ENOTSUP:
            raise BadInput(f"{path.name} is no regular file", "copy the file itself") from None
        raise
    if not data:
        raise EmptyFile(f"{path.name} is empty", "copy it again: the copy may have failed")
    return Source(path.name, data, hashlib.sha256(data).hexdigest())
