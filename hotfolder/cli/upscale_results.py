"""Enlarging what is a result of the root: by the line itself, so that the lineage is kept and the gain is measured."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hotfolder.cli.acting import name_root
from hotfolder.cli.queue import ask, later
from hotfolder.config.settings import Settings
from hotfolder.core.sizes import MOST_SCALE, Target, size_for
from hotfolder.errors import EnlargedTooLarge, HotfolderError, LedgerError, UsageError
from hotfolder.folders.layout import ARCHIVE, KEEP, REJECT, UPSCALED, Layout
from hotfolder.ledger.reader import Reader

_FOLDERS = {KEEP, REJECT, UPSCALED, ARCHIVE}
#: Results since a moment, where no number is given.
_MOST = 10_000


def chosen(layout: Layout, top: int | None, since: float | None) -> list[Path]:
    """The best kept images, as they came: without those that were enlarged from them."""
    with Reader(layout.database) as reader:
        rows = reader.best_images(top or _MOST, "keep", since)
    return [layout.root / row["path"] for row in rows]


def results_among(layout: Layout, files: Sequence[Path]) -> dict[int, dict[str, Any]]:
    """Of these files those that are results of the root, and there: their rows, by their place."""
    if not layout.database.exists():
        return {}
    below: dict[int, str] = {}
    for index, file in enumerate(files):
        path = os.path.relpath(Path(os.path.abspath(file)), layout.root)  # noqa: PTH100 - links are not followed
        if path.partition("/")[0] in _FOLDERS and file.exists():
            below[index] = path
    if not below:
        return {}
    found = {}
    with Reader(layout.database) as reader:
        for index, path in below.items():
            image = reader.image_by_path(path)
            row = reader.image_row(image["image_id"]) if image is not None else None
            if row is not None and row["gone_at"] is None:
                found[index] = row
    return found


def enlarge_results(
    layout: Layout,
    settings: Settings,
    results: Mapping[int, dict[str, Any]],
    files: Sequence[Path],
    size: Mapping[str, Any],
    how: Mapping[str, Any],
) -> dict[int, dict[str, Any]]:
    """Asks the daemon for it; a row for each, by its place: queued, done before, or why not.

    `how` are the format, the model and the priority that the command line asks for, if any.
    """
    rows: dict[int, dict[str, Any]] = {}
    scales: dict[int, float | None] = {}
    target = Target(**size)
    for index, image in results.items():
        try:
            scales[index] = _scale(image, target, settings)
        except HotfolderError as error:
            rows[index] = {"image": str(files[index]), "error": error.info().told()}
    if not scales:
        return rows
    images = [results[index]["id"] for index in scales]
    command = {"do": "enlarge", "images": images, "scales": list(scales.values()), **how}
    name_root(layout.root)
    answer = ask(layout, command, notes=len(scales))
    if answer is None:
        sys.stderr.write(later(layout))
        answers: list[dict[str, Any]] = [{"queued": True, "waits": True}] * len(scales)
    elif "error" in answer:
        raise LedgerError(f"the daemon could not do it: {answer['error']}", "see its log")
    else:
        answers = answer["images"]
    for index, told in zip(scales, answers, strict=True):
        rows[index] = _row(layout, files[index], told)
    return rows


def _scale(image: Mapping[str, Any], target: Target, settings: Settings) -> float | None:
    """How many times larger; None where that is left to the settings. Raises EnlargedTooLarge, UsageError."""
    if target == Target():
        return None
    scale, (width, height) = size_for(image["width"], image["height"], target, 1.0)
    if scale > MOST_SCALE:
        raise UsageError(f"{scale:g} times is more than {MOST_SCALE} times larger", "ask for less")
    most, megapixels = settings.upscale.max_output_megapixels, width * height / 1e6
    if 0 < most < megapixels:
        raise EnlargedTooLarge(
            f"enlarged it would have {megapixels:,.0f} megapixels, more than the {most:g} of "
            "upscale.max_output_megapixels",
            "enlarge it here and now, unrecorded: --out FOLDER; or raise upscale.max_output_megapixels",
        )
    return scale


def _row(layout: Layout, file: Path, told: Mapping[str, Any]) -> dict[str, Any]:
    if "error" in told:
        return {"image": str(file), "error": told["error"]}
    done = told.get("done")
    row = {"image": str(file), "output": str(layout.root / done) if done else None, "skipped": done is not None}
    return {**row, "queued": bool(told.get("queued")), **({"waits": True} if told.get("waits") else {})}
