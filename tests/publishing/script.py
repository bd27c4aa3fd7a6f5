"""What the executor says of each file of a stored root: by its name, so that every version is told the same."""

from __future__ import annotations

from pathlib import Path

from hotfolder.types import Item, Kind


def by_name(_: Kind, item: Item) -> float:
    """The score of a file; for work that is no scoring the number does not count."""
    name = Path(item.source or "").name
    if "_4x" in name:
        return 3.0 if name.startswith("regress") else 9.0
    if name.startswith(("best", "noup", "upagain", "upof")):
        return 7.5
    if name.startswith(("low", "redo")):
        return 3.0
    if name.startswith("set"):
        return 6.0 if name.endswith("-s41.png") else 6.8
    return 6.8
