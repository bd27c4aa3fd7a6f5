"""Which picture a sidecar, a caption or the like belongs to, and where it went with that."""

from __future__ import annotations

import contextlib
import os
from pathlib import PurePosixPath

from hotfolder.core.companions import belongs_to, may_be_one, pairs, renamed
from hotfolder.folders.layout import Layout
from hotfolder.ledger.reader import Reader


def picture_of(layout: Layout, path: str) -> str | None:
    """The name of the picture beside it that a file belongs to."""
    folder, _, name = path.rpartition("/")
    if may_be_one(name):
        with contextlib.suppress(OSError):
            return pairs(other.name for other in (layout.root / folder).iterdir()).get(name)
    return None


def went_along(reader: Reader, layout: Layout, path: str) -> str | None:
    """Where a file lies now that lay beside a picture in an inbox, and left it with that."""
    folder, _, name = path.rpartition("/")
    if not may_be_one(name):
        return None
    for dropped, placed in reader.placed(f"{folder}/{name.split('.')[0]}"):
        picture, now = PurePosixPath(dropped), PurePosixPath(placed)
        if str(picture.parent) == folder and belongs_to(name, picture.name):
            lies = str(now.with_name(renamed(name, picture.name, now.name)))
            if os.path.lexists(layout.root / lies):
                return lies
    return None
