"""RAW files by their preview, and formats that need another package."""

from __future__ import annotations

import hashlib
import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hotfolder.errors import HotfolderError, TruncatedImage, UnsupportedImage
from hotfolder.imaging import extras, raw
from hotfolder.imaging.decode import decode

MOST = 10**9


def jpeg(width: int, height: int, colour: str = "red", **options: Any) -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(made, "JPEG", **options)
    return made.getvalue()


def tiff_like(*inside: bytes, order: str = "<", turned: int = 1, beginning: bytes | None = None) -> bytes:
    """A container as many cameras make it: one directory, which says how the camera was held, and JPEGs."""
    head = beginning or (b"II*\0" if order == "<" else b"MM\0*")
    directory = struct.pack(f"{order}HHHIHHI", 1, 0x0112, 3, 1, turned, 0, 0)
    noise = (
        np.random.default_rng(1).integers(0, 256, 5000, dtype=np.uint8).tobytes().replace(b"\xff\xd8", b"\xff\xd9")
    )
    return head + struct.pack(f"{order}I", 8) + directory + noise.join([b"", *inside, b""])


def read(path: Path, data: bytes) -> Any:
    path.write_bytes(data)
    return decode(path, MOST)


@pytest.mark.parametrize("name", ["a.NEF", "a.cr2", "a.arw", "a.dng", "a.pef", "a.orf", "a.raf", "a.cr3"])
def test_the_largest_picture_inside_is_what_is_judged(tmp_path: Path, name: str) -> None:
    found = read(tmp_path / name, tiff_like(jpeg(16, 12, "green"), jpeg(64, 48), jpeg(32, 24, "blue")))
    assert (found.facts.width, found.facts.height) == (64, 48)
    assert found.image.getpixel((5, 5))[0] > 200
    assert found.facts.sha256 == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "beginning",
    [b"IIRO", b"IIU\0", b"FUJIFILMCCD-RAW 0201", b"\0\0\0\x18ftypcrx \0\0\0\1", b"II*\0\x10\0\0\0CR\2\0"],
)
def test_raw_is_known_by_its_content_whatever_it_is_called(tmp_path: Path, beginning: bytes) -> None:
    assert read(tmp_path / "a", beginning + bytes(100) + jpeg(64, 48)).facts.width == 64


def test_a_thumbnail_inside_of_a_preview_is_part_of_it(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "maker"
    inner = jpeg(16, 12, exif=b"Exif\0\0" + exif.tobytes()[6:] + jpeg(8, 8))
    data = tiff_like(inner)
    assert raw.preview(data) == inner


@pytest.mark.parametrize("order", ["<", ">"])
def test_it_is_turned_as_the_camera_was(tmp_path: Path, order: str) -> None:
    found = read(tmp_path / "a.nef", tiff_like(jpeg(64, 48), order=order, turned=6))
    assert (found.facts.width, found.facts.height) == (48, 64)
    in_canons = b"\0\0\0\x18ftypcrx \0\0\0\1CMT1" + tiff_like(turned=8) + jpeg(64, 48)
    assert read(tmp_path / "a.cr3", in_canons).image.size == (48, 64)


def test_what_the_sensor_saw_is_no_preview(tmp_path: Path) -> None:
    lossless = jpeg(640, 480).replace(b"\xff\xc0", b"\xff\xc3")
    assert read(tmp_path / "a.dng", tiff_like(lossless, jpeg(32, 24))).image.size == (32, 24)
    with pytest.raises(UnsupportedImage, match="without a preview"):
        read(tmp_path / "b.dng", tiff_like(lossless))


def test_a_raw_file_that_is_cut_is_damaged(tmp_path: Path) -> None:
    noisy = io.BytesIO()
    pixels = np.random.default_rng(2).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(noisy, "JPEG", quality=95)
    with pytest.raises(TruncatedImage):
        read(tmp_path / "a.nef", tiff_like(noisy.getvalue())[: 5000 + len(noisy.getvalue()) // 2])


@pytest.mark.parametrize("name", ["a.nef", "a.cr3"])
def test_noise_is_no_raw_file_and_takes_no_time(tmp_path: Path, name: str) -> None:
    for data in (
        b"\xff\xd8\xff" * 200_000,
        b"\xff\xd8\xff\xda\0\2" * 50_000,
        b"\xff\xd8" + b"\xff\xe0\0\2" * 500_000,
        bytes(100),
        b"II*\0\xff\xff\xff\xff",
    ):
        with pytest.raises(HotfolderError):
            read(tmp_path / name, data)


def test_what_only_has_the_ending_is_read_as_what_it_is(tmp_path: Path) -> None:
    assert read(tmp_path / "a.raw", jpeg(20, 10)).image.size == (20, 10)


def test_photoshop_files_by_their_merged_picture(tmp_path: Path) -> None:
    pixels = bytes(range(48))
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 4, 4, 8, 3) + bytes(12)
    found = read(tmp_path / "a.psd", head + struct.pack(">H", 0) + pixels)
    assert (found.image.mode, found.image.size) == ("RGB", (4, 4))
    assert found.image.getpixel((1, 0)) == (1, 17, 33)


@pytest.mark.parametrize(
    ("format_", "head", "package", "extra"),
    [
        ("HEIF", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "pillow-heif", "heif"),
        ("JXL", b"\xff\x0a\xfa\x7f", "pillow-jxl-plugin", "jxl"),
    ],
)
def test_what_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format_: str, head: bytes, package: str, extra: str
) -> None:
    def no_such(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(extras, "import_module", no_such)
    extras._is_ready.cache_clear()
    try:
        with pytest.raises(UnsupportedImage) as caught:
            read(tmp_path / "a", head + bytes(50))
    finally:
        extras._is_ready.cache_clear()
    assert caught.value.message == f"a is {format_}, which {package} reads, and that is not installed"
    assert f"hotfolder[{extra}]" in caught.value.fix


@pytest.mark.parametrize(("format_", "module"), [("HEIF", "pillow_heif"), ("JXL", "pillow_jxl")])
def test_they_are_read_where_the_package_is_there(tmp_path: Path, format_: str, module: str) -> None:
    pytest.importorskip(module)
    assert extras._is_ready(format_)
    made = io.BytesIO()
    pixels = np.zeros((24, 32, 3), np.uint8)
    pixels[:, :16] = 255
    Image.fromarray(pixels).save(made, format_)
    found = read(tmp_path / "a", made.getvalue())
    assert found.image.size == (32, 24)
    assert found.image.getpixel((4, 4))[0] > 240 and found.image.getpixel((28, 4))[0] < 15
    with pytest.raises(HotfolderError):
        read(tmp_path / "b", made.getvalue()[: len(made.getvalue()) // 2])
