"""Contact sheets, looked at pixel by pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hotfolder.demo.pictures import draw_landscape
from hotfolder.imaging import sheet
from hotfolder.imaging.lettering import font_for, plain, shortened
from hotfolder.imaging.sheet import Cell, Section, as_png, colour_of, draw_sheet, is_sheet


def drawn(*cells: Cell, heading: str = "") -> np.ndarray:
    return np.asarray(draw_sheet("root", "all of it", [Section(heading, cells)])).astype(int)


def has(pixels: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((np.abs(pixels - colour).max(axis=-1) == 0).any())


def save(path: Path, image: Image.Image) -> Path:
    image.save(path)
    return path


def test_a_cell_has_its_picture_verdict_and_gain(tmp_path: Path) -> None:
    red = save(tmp_path / "red.png", Image.new("RGB", (300, 200), (250, 1, 2)))
    kept, rejected = drawn(Cell(red, 7.5, "keep", 0.3)), drawn(Cell(red, 5.5, "reject"))
    assert has(kept, (250, 1, 2))
    assert has(kept, colour_of("keep"))
    assert not has(kept, colour_of("reject"))
    assert has(kept, colour_of("upscaled"))  # the gain
    assert has(rejected, colour_of("reject"))
    assert not has(rejected, colour_of("upscaled"))
    gained, lost = drawn(Cell(red, 7.5, "keep", 0.3)), drawn(Cell(red, 7.5, "keep", -0.3))
    assert (gained != lost).any()


def test_16_bits_transparency_and_turned_pictures_look_as_they_are(tmp_path: Path) -> None:
    grey = np.full((60, 80), 40_000, np.uint16)
    deep = save(tmp_path / "deep.png", Image.fromarray(grey))
    assert has(drawn(Cell(deep, 1.0)), (156, 156, 156))  # 40,000 of 65,535, not cut off
    hidden = save(tmp_path / "hidden.png", Image.new("RGBA", (80, 80), (255, 0, 0, 0)))
    shown = drawn(Cell(hidden, 1.0))
    assert has(shown, (206, 208, 212))
    assert not has(shown, (255, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6
    wide = Image.new("RGB", (400, 100), (9, 250, 9))
    wide.save(tmp_path / "tall.jpg", exif=exif, quality=100)
    green = np.abs(drawn(Cell(tmp_path / "tall.jpg", 1.0)) - (9, 250, 9)).max(axis=-1) < 8
    assert np.ptp(np.flatnonzero(green.any(axis=1))) > 3 * np.ptp(np.flatnonzero(green.any(axis=0)))


def test_what_cannot_be_shown_hurts_no_other(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (tmp_path / "link.png").symlink_to(tmp_path / "nowhere")
    good = save(tmp_path / "good.png", Image.new("RGB", (30, 20), (1, 200, 1)))
    cells = [Cell(tmp_path / name, 5.0) for name in ("broken.png", "link.png", "gone.png")]
    assert has(drawn(*cells, Cell(good, 5.0)), (1, 200, 1))


def test_a_smaller_file_may_stand_in_but_not_for_one_that_is_gone(tmp_path: Path) -> None:
    small = save(tmp_path / "small.png", Image.new("RGB", (30, 20), (1, 200, 1)))
    large = save(tmp_path / "large.png", Image.new("RGB", (60, 40), (200, 1, 1)))
    assert has(drawn(Cell(large, 5.0, drawn_from=small)), (1, 200, 1))
    assert not has(drawn(Cell(tmp_path / "gone.png", 5.0, drawn_from=small)), (1, 200, 1))


@pytest.mark.parametrize("count", [0, 1, 2, 5, 13, 60])
def test_any_number_fits(tmp_path: Path, count: int) -> None:
    path = save(tmp_path / "a.png", Image.new("RGB", (300, 200), (250, 1, 2)))
    pixels = drawn(*[Cell(path, 5.0)] * count, heading="keep/")
    height, width = pixels.shape[:2]
    assert 600 <= width <= 2000
    assert height < 3000
    edges = [pixels[:, :20], pixels[:, -20:], pixels[-10:]]
    assert all((edge == pixels[0, 0]).all() for edge in edges)  # nothing is cut off


def test_names_without_end_and_in_any_letters(tmp_path: Path) -> None:
    for name in ("x" * 200 + ".png", "Grüße été.png", "日本語.png", "a\n\x1b[31mb.png"):
        pixels = drawn(Cell(save(tmp_path / name, draw_landscape(1, (40, 30))), 5.0))
        assert (pixels[:, -20:] == pixels[0, 0]).all()
    font = plain(14)
    cut = shortened("a-very-long-name-L12-s1234567890_4x.png", font, 150)
    assert font.getlength(cut) <= 150
    assert cut.startswith("a-v")
    assert cut.endswith("_4x.png")
    assert shortened("short.png", font, 150) == "short.png"
    assert font_for("\U0001f600", 14)[1] in ("?", "\U0001f600")


def test_a_sheet_says_that_it_is_one(tmp_path: Path) -> None:
    (tmp_path / "sheet.png").write_bytes(as_png(draw_sheet("a", "b", [])))
    other = save(tmp_path / "other.png", draw_landscape(1, (40, 30)))
    assert is_sheet(tmp_path / "sheet.png")
    assert not is_sheet(other)
    assert not is_sheet(tmp_path / "gone.png")
    assert sheet.SOFTWARE.startswith("hotfolder ")
