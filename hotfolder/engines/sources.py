"""How a worker reaches the files that it is told to read."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import BinaryIO

from hotfolder.files.beneath import open_below
from hotfolder.files.identity import is_as_seen
from hotfolder.files.regular import Opens, open_regular
from hotfolder.types import Item, Sighting


def opener(item: Item) -> Opens:
    """A file that a person named may be a link. Any other is reached without one, and has to be the one meant."""
    if item.params.get("named"):
        return partial(open_regular, follow=True)
    return partial(_open_below, item.root, item.file) if item.root is not None else open_regular


def opener_below(root: str | None) -> Opens:
    """The same for a file beside the item's own; without a root, for one that a person named."""
    return partial(open_below, root) if root is not None else open_regular


def _open_below(root: str, wanted: Sighting | None, path: Path) -> BinaryIO:
    file = open_below(root, path)
    if wanted is not None and not is_as_seen(wanted, file):
        file.close()
        raise FileNotFoundError(f"{path} is another file now")
    return file
