"""A contact sheet: many pictures at a glance, each with its score, its verdict and what enlarging gained."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from hotfolder.errors import HotfolderError, Vanished
from hotfolder.files.regular import Opens, open_regular
from hotfolder.files.signed_png import is_signed, signed
from hotfolder.imaging.decode import decode
from hotfolder.imaging.lettering import font_for, plain, shortened
from hotfolder.printable import printable

Colour = tuple[int, int, int]
#: Software of the PNG: a file that says so may be drawn anew.
SOFTWARE = "hotfolder contact sheet"
_GROUND, _TILE, _EDGE = (19, 20, 24), (31, 33, 39), (52, 55, 64)
_INK, _FAINT = (238, 240, 244), (146, 151, 163)
_GREEN, _RED, _BLUE = (98, 200, 132), (235, 110, 100), (108, 168, 248)
#: What is written below a picture, by what became of it, and in which colour.
_VERDICTS = {"keep": ("kept", _GREEN), "reject": ("rejected", _RED), "upscaled": ("enlarged", _BLUE)}
_MARGIN, _GAP, _CAPTION, _HEADING, _TITLE = 28, 18, 58, 46, 74
#: Side of a picture's place by how many there are, at most.
_SIDES = ((1, 560), (4, 340), (12, 260))
_SMALLEST = 208
_MOST_COLUMNS, _FEWEST_PIXELS_WIDE = 8, 620
#: Of one picture: more would take the memory of a small machine.
_MOST_PIXELS = 150_000_000
_THREADS = 2
_CHECKS = 8
#: Between a picture and the edge of its place.
_INSET = 8
#: So many times larger a small picture is shown.
_MOST_ENLARGED = 3.0


@dataclass(frozen=True, slots=True)
class Cell:
    """One picture. `drawn_from` may be a smaller file that looks the same."""

    path: Path
    score: float | None
    verdict: str | None = None  # keep, reject or upscaled
    gain: float | None = None  # what enlarging it added to the score
    size: tuple[int, int] | None = None  # pixels
    drawn_from: Path | None = None
    try_number: int = 1  # of a generated image: which try of its prompt it was


@dataclass(frozen=True, slots=True)
class Section:
    """Pictures under a heading; one without a heading is all there is."""

    heading: str
    cells: Sequence[Cell]
    colour: Colour = _INK


def colour_of(verdict: str) -> Colour:
    return _VERDICTS[verdict][1]


def draw_sheet(
    title: str,
    subtitle: str,
    sections: Sequence[Section],
    opens: Opens = open_regular,
    tell: Callable[[int], None] = lambda _: None,
) -> Image.Image:
    """RGB. A picture that is missing, or cannot be read, leaves its place with a word in it.

    `opens` says how files are reached; `tell` is told how many pictures are drawn.
    """
    cells = [cell for section in sections for cell in section.cells]
    side = next((side for most, side in _SIDES if len(cells) <= most), _SMALLEST)
    widest = max((len(section.cells) for section in sections), default=1)
    columns = max(1, min(_MOST_COLUMNS, widest, math.ceil(math.sqrt(len(cells) * 1.6))))
    width = max(_FEWEST_PIXELS_WIDE, 2 * _MARGIN + columns * (side + _GAP) - _GAP)
    row = side + _CAPTION + _GAP
    height = _TITLE + _MARGIN + sum(_height_of(section, columns, row) for section in sections)
    has_gain = any(cell.gain is not None for cell in cells)
    foot = _HEADING if has_gain or not cells else 0
    sheet = Image.new("RGB", (width, height + foot), _GROUND)
    draw = ImageDraw.Draw(sheet)
    _write(draw, (_MARGIN, 22), title, 28, _INK, width - 2 * _MARGIN)
    _write(draw, (_MARGIN, 58), subtitle, 15, _FAINT, width - 2 * _MARGIN)
    left = (width - columns * (side + _GAP) + _GAP) // 2 if len(cells) == 1 else _MARGIN
    y = _TITLE + _MARGIN
    with ThreadPoolExecutor(_THREADS) as pool:
        pictures = pool.map(lambda cell: _thumbnail(cell, side - 2 * _INSET, opens), cells)
        count = 0
        for section in sections:
            if section.heading:
                _write(draw, (_MARGIN, y), section.heading, 22, section.colour, width - 2 * _MARGIN)
                y += _HEADING
            for index, cell in enumerate(section.cells):
                corner = (left + index % columns * (side + _GAP), y + index // columns * row)
                _draw_cell(sheet, draw, cell, next(pictures), corner, side)
                count += 1
                tell(count)
            y += math.ceil(len(section.cells) / columns) * row
    if not cells:
        _write(draw, (_MARGIN, y), "There is nothing to show yet.", 18, _FAINT, width - 2 * _MARGIN)
    elif has_gain:
        words = "In blue: what enlarging a picture added to its score, or took from it."
        _write(draw, (_MARGIN, y), words, 14, _FAINT, width - 2 * _MARGIN)
    return sheet


def as_png(sheet: Image.Image) -> bytes:
    """The file, which says that it is a sheet."""
    return signed(sheet, SOFTWARE)


def is_sheet(path: Path) -> bool:
    """Whether a file is a sheet that was drawn here."""
    return is_signed(path, SOFTWARE)


def _height_of(section: Section, columns: int, row: int) -> int:
    return (_HEADING if section.heading else 0) + math.ceil(len(section.cells) / columns) * row


def _thumbnail(cell: Cell, side: int, opens: Opens) -> Image.Image | str:
    """RGB, as large as its place allows; or why there is none, in a word or two."""
    for path in (cell.drawn_from, cell.path) if cell.drawn_from else (cell.path,):
        try:
            with opens(cell.path):
                pass  # what it shows may be drawn from another file, but this one has to be there
            image = decode(path, _MOST_PIXELS, first_frame=True, named=True, opens=opens).image
        except (Vanished, FileNotFoundError):
            why = "not there any more"
        except (HotfolderError, OSError, MemoryError):
            why = "cannot be shown"
        else:
            larger = min(side / max(image.size), _MOST_ENLARGED)
            size = (max(1, round(image.width * larger)), max(1, round(image.height * larger)))
            return _on_checks(image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0))
    return why


def _on_checks(image: Image.Image) -> Image.Image:
    """Transparent pixels over grey and white squares, as every editor shows them."""
    if image.mode in ("L", "RGB"):
        return image.convert("RGB")
    checks = Image.new("RGBA", image.size, (206, 208, 212))
    draw = ImageDraw.Draw(checks)
    for y in range(0, image.height, _CHECKS):
        for x in range(y // _CHECKS % 2 * _CHECKS, image.width, 2 * _CHECKS):
            draw.rectangle((x, y, x + _CHECKS - 1, y + _CHECKS - 1), (248, 248, 250))
    return Image.alpha_composite(checks, image.convert("RGBA")).convert("RGB")


def _draw_cell(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    cell: Cell,
    picture: Image.Image | str,
    corner: tuple[int, int],
    side: int,
) -> None:
    x, y = corner
    draw.rounded_rectangle((x, y, x + side - 1, y + side + _CAPTION - 1), 10, _TILE, _EDGE)
    if isinstance(picture, str):
        font = plain(15)
        draw.text((x + (side - font.getlength(picture)) // 2, y + side // 2 - 9), picture, _FAINT, font)
        draw.rounded_rectangle((x + 14, y + 14, x + side - 15, y + side - 7), 8, None, _EDGE)
    else:
        sheet.paste(picture, (x + (side - picture.width) // 2, y + (side - picture.height) // 2))
    word, colour = _VERDICTS.get(cell.verdict or "", ("", _FAINT))
    if word and cell.try_number > 1:
        word += f", try {cell.try_number}"
    score = "-" if cell.score is None else f"{cell.score:.2f}"
    below = y + side
    draw.rounded_rectangle((x + 10, below + 8, x + 13, below + 48), 1, colour)
    large, small = plain(20), plain(13)
    draw.text((x + 22, below + 4), score, _INK, large)
    draw.text((x + 30 + large.getlength(score), below + 11), word, colour, small)
    if cell.gain is not None:
        _draw_gain(draw, cell.gain, x + side - 12, below + 8)
    elif cell.size is not None:
        told = f"{cell.size[0]} x {cell.size[1]}"
        room = side - 46 - large.getlength(score) - small.getlength(word)
        if small.getlength(told) <= room:
            draw.text((x + side - 12 - small.getlength(told), below + 11), told, _FAINT, small)
    _write(draw, (x + 22, below + 32), cell.path.name, 13, _FAINT, side - 34)


def _draw_gain(draw: ImageDraw.ImageDraw, gain: float, right: float, top: int) -> None:
    """A triangle that points up or down, and how far."""
    told, font = f"{gain:+.2f}", plain(14)
    left = right - font.getlength(told)
    draw.text((left, top + 2), told, _BLUE, font)
    at, up = left - 15, gain >= 0
    base, tip = (top + 14, top + 6) if up else (top + 6, top + 14)
    draw.polygon(((at, base), (at + 10, base), (at + 5, tip)), _BLUE)


def _write(
    draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, size: int, colour: Colour, width: float
) -> None:
    """One line, no wider than that."""
    font, shown = font_for(printable(text), size)
    draw.text(at, shortened(shown, font, width), colour, font)
