"""Writing image files: whole and durable, or not at all."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from hotfolder.errors import BadInput
from hotfolder.imaging.carried import Carried, with_comment
from hotfolder.imaging.decode import to_rgb
from hotfolder.imaging.deep import encode_png, encode_tiff, png_chunks
from hotfolder.types import Staged

ENDINGS = {"png": ".png", "webp": ".webp", "jpeg": ".jpg", "tiff": ".tif", "avif": ".avif"}
#: Longest side that a format can hold, in pixels.
_MOST_SIDE = {"jpeg": 65_535, "webp": 16_383, "avif": 65_535}
#: PNG: level 1 is six times as fast as Pillow's default of 6 on large images, for a tenth more bytes.
_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "png": {"compress_level": 1},
    "webp": {"lossless": True, "quality": 0, "method": 0},
    "jpeg": {"quality": 95, "subsampling": 0},
    "avif": {"quality": 90, "speed": 8},
}
_NOTHING = Carried()
#: Bytes that one segment of a JPEG holds (2 bytes of length), less the longest name that stands before them.
_JPEG_SEGMENT = 65_533 - 29
log = logging.getLogger(__name__)


def stage(
    picture: Image.Image | NDArray[Any],
    folder: Path,
    stem: str,
    format_: str,
    *,
    carried: Carried = _NOTHING,
    background: str = "white",
    settings: Mapping[str, Any] | None = None,
) -> Staged:
    """Encodes a picture into a staging folder and makes it durable.

    `picture` is an image, or (h, w, 1 to 4) uint8 or uint16; 16 bits stay 16 in PNG and TIFF. What is `carried` is
    written as far as the format has a place for it. JPEG has no alpha: it is laid over `background`.

    Raises OSError when the disk does not take it, BadInput when the format cannot hold so large a picture.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (stem + ENDINGS[format_])
    height, width = picture.shape[:2] if isinstance(picture, np.ndarray) else picture.size[::-1]
    most = _MOST_SIDE.get(format_)
    if most is not None and max(width, height) > most:
        raise BadInput(
            f"{width} × {height} pixels are too many for {format_}, which ends at {most} on a side",
            "choose png or tiff, or a smaller size",
        )
    with path.open("wb") as file:
        if format_ == "tiff":
            with_text = with_comment(carried)
            file.write(encode_tiff(to_pixels(picture), carried.icc, with_text.exif, carried.xmp, carried.software))
        elif isinstance(picture, np.ndarray) and picture.dtype == np.uint16 and format_ == "png":
            file.write(encode_png(picture, png_chunks(carried.text, carried.icc, carried.exif, carried.xmp)))
        else:
            image = picture if isinstance(picture, Image.Image) else to_image(picture)
            _save(image, file, format_, carried, background)
        file.flush()
        os.fsync(file.fileno())
    with path.open("rb") as written:
        digest = hashlib.file_digest(written, "sha256").hexdigest()
    return Staged(str(path), digest, width, height, dict(settings or {}))


def to_image(pixels: NDArray[Any]) -> Image.Image:
    """(h, w, 1 to 4) uint8 or uint16 to L, LA, RGB or RGBA with 8 bits, rounded."""
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def to_pixels(picture: Image.Image | NDArray[Any]) -> NDArray[Any]:
    """(h, w, c) of an image, or what is that already."""
    pixels = np.asarray(picture)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _save(image: Image.Image, file: BinaryIO, format_: str, carried: Carried, background: str) -> None:
    if format_ == "jpeg" and image.mode not in ("L", "RGB"):
        image = to_rgb(image, background)
    if format_ in ("webp", "avif") and image.mode in ("L", "LA"):
        image = image.convert("RGB" if image.mode == "L" else "RGBA")
    if format_ != "png":
        carried = with_comment(carried)
    if format_ == "jpeg":
        carried = _for_jpeg(carried)
    options: dict[str, Any] = dict(_OPTIONS[format_])
    options["icc_profile"] = carried.icc  # None also keeps Pillow from writing one of its own accord
    if carried.exif:
        options["exif"] = b"Exif\0\0" + carried.exif
    if format_ == "png":
        chunks = PngInfo()
        for key, value in carried.text.items():
            chunks.add_text(key, value) if value.isascii() else chunks.add_itxt(key, value)
        if carried.xmp:
            chunks.add_itxt("XML:com.adobe.xmp", carried.xmp.decode("utf-8", "replace"))
        options["pnginfo"] = chunks
    elif carried.xmp and format_ in ("webp", "jpeg", "avif"):
        options["xmp"] = carried.xmp
    # A new image: Pillow would also write what the old one's `info` holds.
    image.info = {}
    image.save(file, format=format_.upper(), **options)


def _for_jpeg(carried: Carried) -> Carried:
    """Without what does not fit into one of JPEG's segments."""
    if carried.xmp and len(carried.xmp) > _JPEG_SEGMENT:
        log.warning("%d bytes of XMP do not fit into a JPEG and are left out", len(carried.xmp))
        carried = replace(carried, xmp=None)
    if carried.exif and len(carried.exif) > _JPEG_SEGMENT:
        log.warning("%d bytes of EXIF do not fit into a JPEG and are left out", len(carried.exif))
        carried = replace(carried, exif=None)
    return carried
