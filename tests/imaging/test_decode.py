"""Reading image files: the unusual ones right, the broken ones refused with a reason."""

from __future__ import annotations

import io
import itertools
import re
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms

from hotfolder.demo.pictures import draw_landscape
from hotfolder.errors import (
    BadInput,
    EmptyFile,
    ImageTooLarge,
    NotAnImage,
    TruncatedImage,
    UnsupportedImage,
    Vanished,
)
from hotfolder.imaging.carried import Carried
from hotfolder.imaging.decode import MAX_METADATA, decode, size_of
from hotfolder.imaging.encode import ENDINGS, stage
from hotfolder.imaging.modes import to_rgb
from hotfolder.imaging.png import png_chunk

LIMIT = 1_000_000


def saved(path: Path, image: Image.Image, format_: str, **options: object) -> Path:
    image.save(path, format_, **options)
    return path


@pytest.mark.parametrize(
    ("format_", "options"), [("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("BMP", {})]
)
def test_lossless_formats_give_the_same_pixels(tmp_path: Path, format_: str, options: dict[str, object]) -> None:
    image = draw_landscape(1)
    found = decode(saved(tmp_path / "a", image, format_, **options), LIMIT)
    assert np.array_equal(np.asarray(found.image), np.asarray(image))
    assert (found.facts.width, found.facts.height) == (320, 240)


def test_orientation_is_applied_once(tmp_path: Path) -> None:
    image = draw_landscape(1)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    found = decode(saved(tmp_path / "a.png", image, "PNG", exif=exif), LIMIT)
    assert np.array_equal(np.asarray(found.image), np.rot90(np.asarray(image), -1))
    assert (found.facts.width, found.facts.height) == (240, 320)


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    found = decode(saved(tmp_path / "a.png", Image.fromarray(ramp), "PNG"), LIMIT).image
    assert np.abs(np.asarray(found, np.int16).ravel() - np.arange(256)).max() <= 1


def test_a_palette_becomes_its_colours(tmp_path: Path) -> None:
    image = draw_landscape(1).quantize(64)
    found = decode(saved(tmp_path / "a.png", image, "PNG"), LIMIT).image
    assert np.array_equal(np.asarray(found), np.asarray(image.convert("RGB")))


def test_transparency_is_laid_over_a_stated_background() -> None:
    hidden_red = Image.new("RGBA", (2, 2), (255, 0, 0, 0))
    assert to_rgb(hidden_red, "white").getpixel((0, 0)) == (255, 255, 255)
    assert to_rgb(hidden_red, "#102030").getpixel((0, 0)) == (16, 32, 48)
    assert to_rgb(Image.new("L", (1, 1), 7), "white").getpixel((0, 0)) == (7, 7, 7)


@pytest.mark.parametrize("name", ["0014.jpg", "wolf_gray.jpg", "children-alpha.png", "tree_alpha_16bit.png"])
def test_real_photographs(real_images: Path, name: str) -> None:
    found = decode(real_images / name, 10**9)
    assert found.image.mode in ("L", "RGB", "RGBA")
    assert ("A" in found.image.mode) == ("alpha" in name)


@pytest.mark.parametrize("level", [0, 1, 9])
def test_damage_inside_a_png_is_found_though_its_pixels_decode(tmp_path: Path, level: int) -> None:
    buffer = io.BytesIO()
    draw_landscape(1).save(buffer, "PNG", compress_level=level)
    data = bytearray(buffer.getvalue())
    data[len(data) // 2] ^= 1
    (tmp_path / "damaged.png").write_bytes(data)
    with pytest.raises(TruncatedImage):
        decode(tmp_path / "damaged.png", LIMIT)


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP", "TIFF", "GIF"])
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, format_: str) -> None:
    buffer = io.BytesIO()
    draw_landscape(1).save(buffer, format_)
    data = buffer.getvalue()
    path = tmp_path / "cut"
    # A GIF's last byte and a TIFF's or WebP's padding carry nothing.
    for percent in (*range(0, 95, 5), 99):
        path.write_bytes(data[: len(data) * percent // 100])
        with pytest.raises((TruncatedImage, NotAnImage, EmptyFile)) as caught:
            decode(path, LIMIT)
        assert caught.value.message
        assert caught.value.fix


def test_the_last_bytes_of_a_png_are_missed(tmp_path: Path) -> None:
    draw_landscape(1).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(data[:-10])
    with pytest.raises(TruncatedImage):
        decode(tmp_path / "a.png", LIMIT)


@pytest.mark.parametrize(
    "content",
    [b"hello, I am a text", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"PK\3\4" + b"\0" * 99, b"%!PS"],
)
def test_other_files_are_no_images(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(NotAnImage):
        decode(path, LIMIT)


def test_empty_and_vanished(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(EmptyFile):
        decode(tmp_path / "a.png", LIMIT)
    with pytest.raises(Vanished):
        decode(tmp_path / "b.png", LIMIT)


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    path = tmp_path / "bomb.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )
    with pytest.raises(ImageTooLarge):
        decode(path, LIMIT)


def test_animations_are_refused(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), (i * 60, 0, 0)) for i in range(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(UnsupportedImage, match="animated"):
        decode(tmp_path / "a.gif", LIMIT)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
@pytest.mark.parametrize("format_", ENDINGS)
def test_every_format_is_written_and_read_back(tmp_path: Path, format_: str, mode: str) -> None:
    image = draw_landscape(2, (40, 30)).convert(mode)
    staged = stage(
        image, tmp_path / "staging", "out", format_, carried=Carried(text={"parameters": "ä\nSteps: 1"})
    )
    found = decode(Path(staged.path), LIMIT)
    assert (found.facts.sha256, found.facts.width, found.facts.height) == (staged.sha256, 40, 30)
    assert found.carried.text["parameters"] == "ä\nSteps: 1"


def _progressive(size: int, more: int) -> bytes:
    """A progressive JPEG, with so many more scans, each of a few bytes."""
    buffer = io.BytesIO()
    Image.new("RGB", (size, size), "gray").save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    begins = [match.start() for match in re.finditer(b"\xff\xda", data)] + [len(data) - 2]
    begin, end = min(itertools.pairwise(begins), key=lambda scan: scan[1] - scan[0])
    return data[:-2] + data[begin:end] * more + b"\xff\xd9"


def test_a_jpeg_of_thousands_of_scans_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    """Half a megabyte that would keep the decoder busy for minutes, where nothing can interrupt it."""
    path = tmp_path / "a.jpg"
    path.write_bytes(_progressive(6_000, 2_400))
    assert path.stat().st_size < 2**20
    began = time.monotonic()
    with pytest.raises(UnsupportedImage, match="scans"):
        decode(path, 10**9)
    assert time.monotonic() - began < 20


def test_other_jpegs_have_as_many_scans_as_they_like(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    for data in (
        _progressive(64, 0),
        _progressive(64, 80),
        _progressive(64, 0) + b"\xff\xda\0\2" * 1_000,  # a film behind it
        _progressive(64, 0)[:2] + b"\xff\xfe\x10\0" + b"\xff\xda" * 2_047 + _progressive(64, 0)[2:],  # a comment
    ):
        path.write_bytes(data)
        assert decode(path, 10**9).image.size == (64, 64)


# --- metadata of a PNG that is too much, or damaged ----------------------------------------------


def _with(chunk: bytes, content: bytes, *, damaged: bool = False) -> bytes:
    buffer = io.BytesIO()
    draw_landscape(1, (16, 12)).save(buffer, "PNG")
    data = buffer.getvalue()
    extra = png_chunk(chunk, content)
    if damaged:
        extra = extra[:-1] + bytes([extra[-1] ^ 1])
    return data[:33] + extra + data[33:]


def test_a_profile_and_texts_of_some_megabytes_are_read(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    large = profile + bytes(3 * 2**20)
    (tmp_path / "a.png").write_bytes(_with(b"iCCP", b"scanner\0\0" + zlib.compress(large)))
    found = decode(tmp_path / "a.png", LIMIT)
    assert found.carried.icc == large and not found.facts.notes
    text = "a long history. " * 200_000
    (tmp_path / "b.png").write_bytes(_with(b"zTXt", b"History\0\0" + zlib.compress(text.encode())))
    assert decode(tmp_path / "b.png", LIMIT).carried.text["History"] == text


@pytest.mark.parametrize("chunk", [b"iCCP", b"zTXt", b"iTXt"])
def test_what_is_too_much_is_left_out_and_the_picture_goes_on(tmp_path: Path, chunk: bytes) -> None:
    packed = zlib.compress(bytes(MAX_METADATA + 1), 9)
    head = b"History\0\1\0\0\0" if chunk == b"iTXt" else b"History\0\0"
    (tmp_path / "a.png").write_bytes(_with(chunk, head + packed))
    found = decode(tmp_path / "a.png", LIMIT)
    assert found.image.size == (16, 12)
    assert "is too large" in found.facts.notes[0]
    assert found.carried.icc is None and not found.carried.text


def test_many_texts_are_together_too_much(tmp_path: Path) -> None:
    packed = zlib.compress(bytes(30 * 2**20), 9)
    data = _with(b"zTXt", b"one\0\0" + packed)
    more = b"".join(png_chunk(b"zTXt", name + b"\0\0" + packed) for name in (b"two", b"three"))
    (tmp_path / "a.png").write_bytes(data[:33] + more + data[33:])
    found = decode(tmp_path / "a.png", LIMIT)
    assert len(found.carried.text) == 2 and len(found.facts.notes) == 1


@pytest.mark.parametrize(
    ("chunk", "content", "damaged"),
    [
        (b"tEXt", b"Title\0hill", True),
        (b"iCCP", b"icc\0\0not packed", False),
        (b"iCCP", b"icc\0\7" + zlib.compress(b"x"), False),
        (b"zTXt", b"Title\0\7" + zlib.compress(b"x"), False),
        (b"gAMA", b"\0", False),
        (b"pHYs", b"\0\0\0\1", False),
        (b"sRGB", b"", False),
        (b"cHRM", b"\0\0", False),
    ],
)
def test_damaged_metadata_of_a_png_is_left_out_with_a_note(
    tmp_path: Path, chunk: bytes, content: bytes, damaged: bool
) -> None:
    (tmp_path / "a.png").write_bytes(_with(chunk, content, damaged=damaged))
    found = decode(tmp_path / "a.png", LIMIT)
    assert found.image.size == (16, 12)
    assert "is damaged" in found.facts.notes[0]


def test_metadata_of_a_webp_that_is_too_much_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hotfolder.imaging.decode.MAX_METADATA", 1000)
    draw_landscape(1, (16, 12)).save(tmp_path / "a.webp", xmp=b"<x>" + b" " * 2000 + b"</x>")
    found = decode(tmp_path / "a.webp", LIMIT)
    assert found.carried.xmp is None and "xmp is too large" in found.facts.notes[0]


# --- TIFFs whose numbers do not say what is white -------------------------------------------------

RAMP = np.linspace(0, 1, 10_000, dtype=np.float32).reshape(100, 100)


def _tiff(path: Path, values: NDArray[Any], **options: Any) -> Path:
    tifffile.imwrite(path, values, metadata=None, **options)
    return path


def _grey_of(path: Path) -> NDArray[np.float64]:
    """What is seen, in [0, 1]: the 8 bits that are judged and the 16 that are enlarged say the same."""
    found = decode(path, LIMIT, deep=True)
    assert found.deep is not None
    assert np.abs(found.deep[..., 0] / 65535 - np.asarray(found.image.convert("L")) / 255).max() < 0.006
    return found.deep[..., 0] / 65535


@pytest.mark.parametrize("depth", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(
    ("values", "white"),
    [
        (RAMP, 1.0),  # as it is
        (RAMP * 0.5, 1.0),  # a dark one stays dark
        (np.where(RAMP > 0.995, 20.0, RAMP), 1.0),  # highlights of a raw converter
        (RAMP * 1.02, 1.02),
        (RAMP * 4, 4.0),  # a depth map, to 4 m
        (RAMP * 255, 255.0),
    ],
)
def test_floating_point_is_seen_by_its_own_range(
    tmp_path: Path, values: NDArray[Any], white: float, depth: type[np.generic]
) -> None:
    seen = _grey_of(_tiff(tmp_path / "a.tif", values.astype(depth)))
    assert np.abs(seen - (values / white).clip(0, 1)).max() < 0.01


def test_what_is_no_number_or_no_measurement_is_black(tmp_path: Path) -> None:
    values = RAMP * 100
    values[0, :4] = (np.nan, np.inf, -np.inf, -9999)
    seen = _grey_of(_tiff(tmp_path / "a.tif", values, extratags=[(42113, "s", 0, "-9999", True)]))
    assert seen[0, :4].tolist() == [0, 1, 0, 0]
    assert abs(seen[50, 50] - values[50, 50] / 100) < 0.01


@pytest.mark.parametrize("factor", [1.0, -1.0, 0.0])
def test_negative_and_flat_pictures_are_seen(tmp_path: Path, factor: float) -> None:
    seen = _grey_of(_tiff(tmp_path / "a.tif", (RAMP - 0.5) * factor))
    assert np.isfinite(seen).all()
    assert (seen.max() - seen.min() > 0.6) == (factor != 0)


@pytest.mark.parametrize(
    ("dtype", "scale"),
    [(np.uint32, 2**32 - 1), (np.uint32, 65535), (np.int32, 2**31 - 1), (np.int16, 2**15 - 1), (np.int8, 127)],
)
def test_whole_numbers_of_other_widths_are_seen(tmp_path: Path, dtype: type[np.generic], scale: int) -> None:
    path = _tiff(tmp_path / "a.tif", (RAMP.astype(np.float64) * scale).astype(dtype))
    found = decode(path, LIMIT, deep=True)
    assert np.abs(found.pixels[..., 0] / np.iinfo(found.pixels.dtype).max - RAMP).max() < 0.02


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "zlib", "predictor": 3},
        {"planarconfig": "separate"},
        {"extrasamples": ["unassalpha"]},
        {"extrasamples": ["assocalpha"]},
    ],
)
def test_colours_in_floating_point(tmp_path: Path, options: dict[str, Any]) -> None:
    pixels = np.stack([RAMP, RAMP[::-1], RAMP.T], axis=-1)
    written = pixels
    if "extrasamples" in options:
        alpha = np.full((100, 100, 1), 0.5, np.float32)
        multiplied = pixels * alpha if options["extrasamples"] == ["assocalpha"] else pixels
        written = np.concatenate([multiplied, alpha], axis=-1)
    if "planarconfig" in options:
        written = np.moveaxis(written, -1, 0)
    found = decode(_tiff(tmp_path / "a.tif", written, photometric="rgb", **options), LIMIT, deep=True)
    assert np.abs(found.pixels[..., :3] / 65535 - pixels).max() < 0.001
    assert found.pixels.shape[2] == (4 if "extrasamples" in options else 3)
    assert found.image.mode == ("RGBA" if "extrasamples" in options else "RGB")


@pytest.mark.parametrize("compression", ["webp", "jpegxl", "png", "jpeg2000"])
def test_compressions_that_pillow_is_built_without(tmp_path: Path, compression: str) -> None:
    image = draw_landscape(1)
    path = _tiff(tmp_path / "a.tif", np.asarray(image), photometric="rgb", compression=compression)
    found = decode(path, LIMIT, deep=True)
    assert found.deep is None
    assert np.abs(np.asarray(found.image).astype(int) - np.asarray(image)).mean() < 3


def test_a_tiff_beyond_pillow_keeps_what_it_says(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    tags = [(274, "H", 1, 6, True), (315, "s", 0, "me", True), (700, "B", 4, b"<x/>", True)]
    pixels = np.stack([RAMP[:40]] * 3, axis=-1)
    path = _tiff(
        tmp_path / "a.tif", pixels, photometric="rgb", iccprofile=profile, extratags=tags, resolution=(300, 200),
        resolutionunit=2,
    )  # fmt: skip
    found = decode(path, LIMIT, deep=True)
    assert found.image.size == (40, 100)
    assert found.pixels.shape[:2] == (100, 40)
    assert found.carried.icc == profile and found.carried.xmp == b"<x/>"
    assert found.carried.dpi == (200, 300)


def test_of_several_pages_the_first_is_taken_and_that_is_said(tmp_path: Path) -> None:
    pages = [draw_landscape(n, (30, 20)) for n in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    found = decode(tmp_path / "a.tif", LIMIT)
    assert np.array_equal(np.asarray(found.image), np.asarray(pages[0]))
    assert found.facts.notes == ("it has several pages: only the first is taken",)
    pages[0].save(tmp_path / "b.tif")
    assert not decode(tmp_path / "b.tif", LIMIT).facts.notes


def test_a_smaller_copy_behind_the_first_page_is_no_page(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(np.zeros((40, 40), np.uint8), metadata=None)
        file.write(np.zeros((20, 20), np.uint8), metadata=None, subfiletype=1)
    assert not decode(tmp_path / "a.tif", LIMIT).facts.notes


def test_the_first_frame_is_said_to_be_that(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), (i * 60, 0, 0)) for i in range(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert "first frame" in decode(tmp_path / "a.gif", LIMIT, first_frame=True).facts.notes[0]


# --- JPEGs without an end --------------------------------------------------------------------------


def _jpeg(**options: Any) -> bytes:
    buffer = io.BytesIO()
    image = draw_landscape(3, (90, 61))
    (image.convert("L") if options.pop("grey", False) else image).save(buffer, "JPEG", **options)
    return buffer.getvalue()


KINDS: list[dict[str, Any]] = [
    {}, {"progressive": True}, {"grey": True}, {"restart_marker_rows": 1}, {"quality": 100, "subsampling": 0},
    {"optimize": True, "progressive": True, "grey": True},
]  # fmt: skip


@pytest.mark.parametrize("options", KINDS)
@pytest.mark.parametrize("instead", [b"", b"\xff", b"\0\0", b"\0" * 5000])
def test_a_jpeg_that_lacks_only_its_end_is_read_and_that_is_said(
    tmp_path: Path, options: dict[str, Any], instead: bytes
) -> None:
    data = _jpeg(**options)
    (tmp_path / "whole.jpg").write_bytes(data)
    (tmp_path / "a.jpg").write_bytes(data[:-2] + instead)
    found = decode(tmp_path / "a.jpg", LIMIT)
    assert np.array_equal(np.asarray(found.image), np.asarray(decode(tmp_path / "whole.jpg", LIMIT).image))
    assert found.facts.notes == ("it lacks its end marker; every pixel is there",)


@pytest.mark.parametrize("options", KINDS)
@pytest.mark.parametrize("filled", [b"", b"\0" * 5000])
def test_a_jpeg_that_lacks_more_is_not(tmp_path: Path, options: dict[str, Any], filled: bytes) -> None:
    data = _jpeg(**options)
    for cut in (*range(5, 40), 100, 300, len(data) // 2):
        (tmp_path / "a.jpg").write_bytes(data[:-cut] + filled)
        with pytest.raises((TruncatedImage, NotAnImage)):
            decode(tmp_path / "a.jpg", LIMIT)


def test_a_jpeg_without_its_last_scans_is_not(tmp_path: Path) -> None:
    data = _jpeg(progressive=True)
    for scan in list(re.finditer(b"\xff\xda", data))[1:]:
        (tmp_path / "a.jpg").write_bytes(data[: scan.start()])
        with pytest.raises(TruncatedImage):
            decode(tmp_path / "a.jpg", LIMIT)


def test_the_end_of_a_thumbnail_is_not_that_of_the_picture(tmp_path: Path) -> None:
    data = _jpeg(exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + _jpeg())
    (tmp_path / "a.jpg").write_bytes(data[: len(data) - 700] + bytes(2000))
    with pytest.raises(TruncatedImage):
        decode(tmp_path / "a.jpg", LIMIT)


# --- true words --------------------------------------------------------------------------------------


def test_an_icon_is_not_taken_for_a_tga(tmp_path: Path) -> None:
    """TGA has no beginning of its own: what an icon of 64 to 128 KiB begins with fits its header."""
    large = draw_landscape(1, (128, 128)).convert("RGBA")
    large.save(tmp_path / "a.ico", sizes=[(128, 128)], bitmap_format="bmp")
    draw_landscape(1, (16, 16)).save(tmp_path / "a.tga")
    with pytest.raises(NotAnImage, match="not an image"):
        decode(tmp_path / "a.ico", LIMIT)
    assert decode(tmp_path / "a.tga", LIMIT).image.size == (16, 16)


@pytest.mark.parametrize("format_", ["PNG", "JPEG2000", "BMP", "TGA"])
def test_a_cut_picture_is_told_to_be_that(tmp_path: Path, format_: str) -> None:
    buffer = io.BytesIO()
    draw_landscape(1).save(buffer, format_)
    path = tmp_path / f"a.{'tga' if format_ == 'TGA' else 'x'}"
    path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    with pytest.raises(BadInput, match=r"it ends before its end|it is damaged inside"):
        decode(path, LIMIT)


def test_pages_that_lead_back_to_the_first_are_one(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((8, 8), np.uint8), metadata=None)
    data = bytearray((tmp_path / "a.tif").read_bytes())
    (first,) = struct.unpack_from("<I", data, 4)
    (tags,) = struct.unpack_from("<H", data, first)
    struct.pack_into("<I", data, first + 2 + 12 * tags, first)
    (tmp_path / "a.tif").write_bytes(data)
    assert not decode(tmp_path / "a.tif", LIMIT).facts.notes


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("channels", [0, 1, 3])
def test_a_transparent_colour_is_transparent_at_every_depth(tmp_path: Path, channels: int, deep: bool) -> None:
    """1 bit (0 channels here) and 16 bits a channel: the upper half of the picture is of that colour."""
    if channels == 0:
        buffer = io.BytesIO()
        bits = np.zeros((8, 8), bool)
        bits[4:] = True
        Image.fromarray(bits).save(buffer, "PNG")
        data, colour = buffer.getvalue(), struct.pack(">H", 0)
    else:
        pixels = np.full((8, 8, channels), 1000, np.uint16)
        pixels[4:] = 1010  # the same in 8 bits
        data = Path(stage(pixels, tmp_path, "deep", "png").path).read_bytes()
        colour = struct.pack(">H", 1000) * channels
    (tmp_path / "a.png").write_bytes(data[:33] + png_chunk(b"tRNS", colour) + data[33:])
    found = decode(tmp_path / "a.png", LIMIT, deep=deep)
    assert found.image.mode == ("RGBA" if channels == 3 else "LA")
    for alpha in (
        np.asarray(found.image)[..., -1] / 255,
        found.pixels[..., -1] / np.iinfo(found.pixels.dtype).max,
    ):
        assert (alpha[:4] == 0).all() and (alpha[4:] == 1).all()


def test_a_kind_of_bmp_that_is_not_read_is_told_to_be_that(tmp_path: Path) -> None:
    draw_landscape(1, (16, 12)).save(tmp_path / "a.bmp")
    data = bytearray((tmp_path / "a.bmp").read_bytes())
    struct.pack_into("<H", data, 28, 2)  # bits a pixel
    (tmp_path / "a.bmp").write_bytes(data)
    with pytest.raises(UnsupportedImage, match="pixel depth"):
        decode(tmp_path / "a.bmp", LIMIT)


def test_a_size_is_asked_of_what_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a red star")
    with (tmp_path / "prompts.txt").open("rb") as file, pytest.raises(NotAnImage) as caught:
        size_of(file)
    assert caught.value.message == "it is no image that can be read"  # and no object of Python's
