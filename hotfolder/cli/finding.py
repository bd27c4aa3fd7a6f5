"""Which result a person means, who names a file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hotfolder.errors import UsageError
from hotfolder.folders.layout import Layout
from hotfolder.ledger.reader import Reader
from hotfolder.printable import printable

GONE = "its file is gone: deleted, changed, or taken out of the root"
#: In the place of a dropped file, of results from before the database was made anew.
NOT_KNOWN = "a file that is not known"
#: Results that are named where several have the name.
_MOST = 10


@dataclass(frozen=True, slots=True)
class FoundImage:
    """A row of an image. `note`: why it is not simply the one of that path."""

    row: dict[str, Any]
    note: str = ""
    is_copy: bool = False  # of the result, which lies elsewhere


def find_image(reader: Reader, layout: Layout, image: Path) -> FoundImage:
    """By its path, from here or from the root; else by its content, when it was moved or renamed; else by its name.

    What lay under the path and is gone is found where nothing else is meant.

    Raises UsageError where none, or more than one, is meant.
    """
    places = [Path(os.path.normpath(base / image)) for base in (Path.cwd(), layout.root)]
    gone = None
    for place in places:
        found = reader.image_by_path(Path(os.path.relpath(place, layout.root)).as_posix())
        row = reader.image_row(found["image_id"]) if found else None
        if row is not None and row["gone_at"] is None:
            return FoundImage(row)
        gone = gone or row
    moved = _by_content(reader, layout, places)
    if moved is not None:
        return moved
    if gone is not None:
        return FoundImage(gone, GONE)
    check_no_folder(image, places)
    if image.name == str(image):
        return _by_name(reader, layout, image)
    if paths := reader.images_called(image.name, _MOST):
        raise UsageError(f"{image} is no result", f"results of that name: {printable(', '.join(sorted(paths)))}")
    raise _none(layout, image)


def check_no_folder(named: Path, places: Iterable[Path], more: str = "") -> None:
    """Raises UsageError where a folder is named and files are meant; `more` is what could be said instead."""
    if any(place.is_dir() for place in places):
        raise UsageError(f"{named} is a folder", f"name the files of it that you mean{more}")


def find_result(reader: Reader, layout: Layout, image: Path) -> dict[str, Any]:
    """The row of a result that is to be moved: as `find_image`, but a copy is none. Raises UsageError."""
    found = find_image(reader, layout, image)
    if found.is_copy and found.row["gone_at"] is None:
        raise UsageError(
            f"{image} is no result, but a copy of one", f"name the result itself: {found.row['path']}"
        )
    return found.row


def digest_of(file: Path) -> str:
    """The sha256 of a file's content. Raises UsageError where it cannot be read."""
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}", "let this user read it") from None


def _by_content(reader: Reader, layout: Layout, places: list[Path]) -> FoundImage | None:
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        return None
    rows = [
        row
        for image_id in reader.images_of_content(digest_of(file))
        if (row := reader.image_row(image_id)) is not None
    ]
    if not rows:
        return None
    # The one whose file has left its place; one that is there still has a copy here.
    gone = next((row for row in rows if not (layout.root / row["path"]).exists()), None)
    if gone is not None:
        return FoundImage(gone, f"moved or renamed by hand: the database has it as {gone['path']}")
    return FoundImage(rows[0], f"a copy: the result itself is {rows[0]['path']}", is_copy=True)


def _by_name(reader: Reader, layout: Layout, image: Path) -> FoundImage:
    paths = reader.images_called(image.name, _MOST)
    if len(paths) > 1:
        raise UsageError(
            f"several results are called {image.name}: {printable(', '.join(sorted(paths)))}",
            "name one with its folder",
        )
    found = reader.image_by_path(paths[0]) if paths else None
    row = reader.image_row(found["image_id"]) if found else None
    if row is None:
        raise _none(layout, image)
    return FoundImage(row)


def _none(layout: Layout, image: Path) -> UsageError:
    return UsageError(
        f"{image} is not in the database of {layout.root}: nothing of this path, name or content was ever a result",
        "name a file of keep/, reject/, upscaled/ or archive/; if it is another root's: --root",
    )
