"""The contact sheet: every result at a glance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

CELL, CAPTION, GAP, COLUMNS = 176, 40, 14, 6
_GROUND, _INK, _FAINT = (24, 26, 31), (236, 238, 242), (150, 156, 168)
_COLOURS = {"keep": (88, 190, 120), "reject": (226, 96, 88), "upscaled": (96, 160, 240)}


def group_of(row: Mapping[str, Any]) -> str | None:
    """The part of the sheet that a result belongs to; None for originals in the archive."""
    return "upscaled" if row["role"] == "upscaled" else row["verdict"]


def draw_sheet(root: Path, results: Sequence[Mapping[str, Any]], gains: Mapping[str, float], path: Path) -> None:
    """Draws keep, reject and upscaled as rows of thumbnails with score and gain, and saves them as PNG."""
    groups = {name: [row for row in results if group_of(row) == name] for name in _COLOURS}
    for rows in groups.values():
        rows.sort(key=lambda row: -(row["score"] or 0))
    heading = 44
    lines = {name: max(1, -(-len(rows) // COLUMNS)) for name, rows in groups.items() if rows}
    width = GAP + COLUMNS * (CELL + GAP)
    height = GAP + sum(heading + n * (CELL + CAPTION + GAP) for n in lines.values())
    sheet = Image.new("RGB", (width, height), _GROUND)
    draw = ImageDraw.Draw(sheet)
    large, small = ImageFont.load_default(22), ImageFont.load_default(14)
    y = GAP
    for name in lines:
        rows = groups[name]
        draw.text((GAP, y), f"{name}/", _COLOURS[name], font=large)
        draw.text((GAP + 130, y + 7), f"{len(rows)} images", _FAINT, font=small)
        y += heading
        for index, row in enumerate(rows):
            x = GAP + index % COLUMNS * (CELL + GAP)
            top = y + index // COLUMNS * (CELL + CAPTION + GAP)
            _draw_cell(sheet, draw, root, row, gains.get(row["path"]), (x, top), _COLOURS[name], small)
        y += lines[name] * (CELL + CAPTION + GAP)
    sheet.save(path, optimize=True)


def _draw_cell(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    root: Path,
    row: Mapping[str, Any],
    gain: float | None,
    corner: tuple[int, int],
    colour: tuple[int, int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    x, y = corner
    with Image.open(root / row["path"]) as image:
        thumbnail = image.convert("RGB")
        thumbnail.thumbnail((CELL, CELL), Image.Resampling.LANCZOS)
    sheet.paste(thumbnail, (x + (CELL - thumbnail.width) // 2, y + (CELL - thumbnail.height) // 2))
    draw.rectangle((x - 1, y - 1, x + CELL, y + CELL), outline=(58, 62, 72))
    score = "–" if row["score"] is None else f"{row['score']:.2f}"
    draw.text((x, y + CELL + 4), score, colour, font=font)
    note = f"{gain:+.2f}" if gain is not None else f"{row['width']} x {row['height']}"
    draw.text((x + CELL - draw.textlength(note, font=font), y + CELL + 4), note, _FAINT, font=font)
    name = Path(row["path"]).name
    while draw.textlength(name, font=font) > CELL:
        name = name[:-2].rstrip("…") + "…"
    draw.text((x, y + CELL + 21), name, _INK, font=font)
