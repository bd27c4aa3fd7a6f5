"""Small files that a generator takes on beside its model."""

from __future__ import annotations

from pathlib import Path

from hotfolder.errors import BadInput


def stamp(path: Path, what: str) -> tuple[int, ...]:
    """What changes when another file is put there.

    Raises BadInput for a file that is gone: no model is to blame, and nobody else has to wait.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise BadInput(f"the {what} {path} cannot be read: {error.strerror}", "put it back") from None
    return found.st_ino, found.st_size, found.st_mtime_ns
