"""`hotfolder sheet`: the results of a root, or what came of one file, as one picture."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import typer

from hotfolder.cli import table, times
from hotfolder.cli.display import Display
from hotfolder.cli.files import check_drawn
from hotfolder.cli.finding import find_image
from hotfolder.cli.queue import relative_names
from hotfolder.config.root import find_root
from hotfolder.errors import EnvironmentTrouble, UsageError
from hotfolder.files.beneath import Beneath, open_below
from hotfolder.files.trouble import refused
from hotfolder.folders.layout import Layout
from hotfolder.imaging.sheet import Cell, Section, as_png, draw_sheet, is_sheet
from hotfolder.ledger.reader import Reader
from hotfolder.printable import printable

#: Where it is drawn unless another place is named, relative to the root.
NAME = "contact-sheet.png"
#: Pictures on it unless a number is given.
_MOST = 40
#: Images that are looked at of one file.
_MOST_OF_FILE = 5000
Family = tuple[int, dict[str, Any]]


def run_sheet(
    given: Path | None,
    file: Path | None,
    most: int | None,
    since: str | None,
    out: Path | None,
    *,
    opened: bool,
    as_json: bool,
) -> None:
    """Raises UsageError for a file that nothing came of, and where the sheet cannot be written."""
    layout = Layout(find_root(given))
    if file is not None and since is not None:
        raise UsageError("--since is of all results", "leave it out, or name no file")
    place = out or layout.root / NAME
    check_drawn(place, "--out", is_sheet, "contact sheet")
    moment = times.since(since)
    with Reader(layout.database) as reader:
        if file is None:
            families = reader.best_originals(most or _MOST, since=moment)
            about = f"the best {len(families)}" if len(families) == (most or _MOST) else f"{len(families)} images"
        else:
            found = _of_file(reader, layout, file)
            families = found[: most or _MOST]
            about = f"{len(families)} of {len(found)} that came of {file.name}"
        cells = [_cell(reader, layout, original, row) for original, row in families]
    if moment is not None:
        about += f" since {datetime.fromtimestamp(moment).astimezone():%Y-%m-%d %H:%M}"
    counted = Counter(cell.verdict for cell in cells)
    told = [
        f"{counted[name]} {word}" for name, word in (("keep", "kept"), ("reject", "rejected")) if counted[name]
    ]
    with Display() as display:
        sheet = draw_sheet(
            layout.root.name, ": ".join([about, ", ".join(told)] if told else [about]), [Section("", cells)],
            partial(open_below, layout.root), lambda done: display.update("drawing", done, len(cells)),
        )  # fmt: skip
    save(place, as_png(sheet))
    if as_json:
        images = [
            {
                "path": row["path"], "score": row["score"], "verdict": _gates(cell.verdict), "role": row["role"],
                "gain": cell.gain,
            }
            for (_, row), cell in zip(families, cells, strict=True)
        ]  # fmt: skip
        table.write_json({"sheet": str(place), "width": sheet.width, "height": sheet.height, "images": images})
    else:
        sys.stdout.write(f"{len(cells)} images: {printable(str(place))}\n")
    if opened and typer.launch(str(place)) != 0:
        raise EnvironmentTrouble(f"no program was found that opens {place}", "open it in a viewer of yours")


def _gates(verdict: str | None) -> str | None:
    """What the gate said: one that was dropped to be enlarged has no verdict."""
    return None if verdict == "upscaled" else verdict


def save(place: Path, png: bytes) -> None:
    """Whole or not at all, in the place of an older sheet. Raises UsageError, DiskFull."""
    try:
        with Beneath(place.parent) as folder:
            folder.write(place.name, png)
    except OSError as error:
        raise refused(error, f"{place} cannot be written", "name another file with --out") from None


def _of_file(reader: Reader, layout: Layout, file: Path) -> list[Family]:
    """What came of a dropped file, or the tries and enlargements of an image; the best first."""
    drops = [reader.last_drop(path) or reader.drop_placed_at(path) for path in relative_names(layout, file)]
    dropped = next((drop for drop in drops if drop is not None), None)
    ids: Iterable[int]
    if dropped is not None:
        ids = reader.images_of_drop(dropped["id"], _MOST_OF_FILE)
    else:
        image = find_image(reader, layout, file).row
        ids = [image["id"]]
        if image["drop_id"] is not None and image["prompt"] is not None:
            ids = reader.tries(image["drop_id"], image["prompt"], _MOST_OF_FILE)
    best: dict[int, dict[str, Any]] = {}
    for image_id in ids:
        original = reader.original_of(image_id)
        for each in (image_id, original, *reader.children(original)):
            row = reader.image_row(each)
            had = best.get(original)
            if row is not None and (had is None or (row["score"] or 0) > (had["score"] or 0)):
                best[original] = row
    return sorted(best.items(), key=lambda item: (-(item[1]["score"] or 0), item[0]))


def _cell(reader: Reader, layout: Layout, original: int, row: dict[str, Any]) -> Cell:
    """Of an image and what was enlarged from it; what is drawn is the smaller one, which looks the same."""
    first = reader.image_row(original) or row
    gain = None
    for child in reader.children(original):
        enlarged = reader.image_row(child)
        gain = reader.gain_of(enlarged["path"]) if enlarged is not None else gain
    path = layout.root / row["path"]
    smaller = layout.root / first["path"]
    verdict = first["verdict"] or ("upscaled" if gain is not None else None)
    return Cell(
        path, row["score"], verdict, gain, (first["width"], first["height"]),
        drawn_from=smaller if smaller != path and smaller.is_file() else None, try_number=try_of(first),
    )  # fmt: skip


def try_of(image: dict[str, Any]) -> int:
    """Which try of its prompt an image was, by its row of `images`."""
    return int(json.loads(image.get("settings") or "{}").get("try", 1))
