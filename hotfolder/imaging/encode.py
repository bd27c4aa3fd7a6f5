"""Writing image files: whole and durable, or not at all."""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hotfolder.errors import BadInput
from hotfolder.imaging.carried import Carried, with_comment
from hotfolder.imaging.coding import hdr_of, profile_of
from hotfolder.imaging.deep import encode_png, encode_tiff
from hotfolder.imaging.iptc import PNG_NAME as IPTC_NAME
from hotfolder.imaging.iptc import as_png_text, as_segment, fields_of
from hotfolder.imaging.modes import to_rgb
from hotfolder.imaging.png import png_chunk
from hotfolder.imaging.texts import PNG
from hotfolder.imaging.xmp import captioned
from hotfolder.types import Staged

ENDINGS = {"png": ".png", "webp": ".webp", "jpeg": ".jpg", "tiff": ".tif", "avif": ".avif"}
#: Longest side that a format can hold, or that its usual library (libjpeg, libavif, libpng) reads again, in pixels.
_MOST_SIDE = {"png": 1_000_000, "jpeg": 65_500, "webp": 16_383, "avif": 32_768}
#: The same for all of its pixels.
_MOST_PIXELS = {"avif": 2**28}
#: Bytes of a profile that fit into a JPEG: 255 segments.
_MOST_JPEG_PROFILE = 255 * 65_519
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
    check_format(format_, width, height, carried)
    with path.open("wb") as file:
        deep = isinstance(picture, np.ndarray) and picture.dtype == np.uint16
        if format_ == "tiff":
            pixels = to_pixels(picture)
            carried = _fitting(with_comment(carried), format_, pixels.shape[2])
            file.write(encode_tiff(pixels, carried))
        elif isinstance(picture, np.ndarray) and deep and format_ == "png":
            _WithChunks(file, _for_png(carried, picture.shape[2], 16)).write(encode_png(picture))
        else:
            image = picture if isinstance(picture, Image.Image) else to_image(picture)
            carried = _save(image, file, format_, carried, background)
        file.flush()
        os.fsync(file.fileno())
    with path.open("rb") as written:
        digest = hashlib.file_digest(written, "sha256").hexdigest()
    return Staged(str(path), digest, width, height, dict(settings or {}), carried.notes)


def check_format(format_: str, width: int, height: int, carried: Carried = _NOTHING) -> None:
    """Raises BadInput for a picture that the format cannot hold: known before there is any pixel of it."""
    side, pixels = _MOST_SIDE.get(format_), _MOST_PIXELS.get(format_)
    if side is not None and max(width, height) > side:
        raise BadInput(
            f"{width} × {height} pixels are too many for {format_}, which ends at {side} on a side",
            "choose tiff, or a smaller size" if format_ == "png" else "choose png or tiff, or a smaller size",
        )
    if pixels is not None and width * height > pixels:
        raise BadInput(
            f"{width} × {height} pixels are too many for {format_}, which ends at {pixels:,} pixels",
            "choose png or tiff, or a smaller size",
        )
    hdr = hdr_of(carried.coding)
    if hdr and carried.icc is None and format_ != "png":
        raise BadInput(
            f"its colours are HDR ({hdr}), which is not written as {format_}: it would look grey", "choose png"
        )
    if format_ == "jpeg" and carried.icc is not None and len(carried.icc) > _MOST_JPEG_PROFILE:
        raise BadInput(
            f"its colour profile of {len(carried.icc):,} bytes does not fit into a JPEG", "choose png or tiff"
        )


def to_image(pixels: NDArray[Any]) -> Image.Image:
    """(h, w, 1 to 4) uint8 or uint16 to L, LA, RGB or RGBA with 8 bits, rounded."""
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def to_pixels(picture: Image.Image | NDArray[Any]) -> NDArray[Any]:
    """(h, w, c) of an image, or what is that already."""
    pixels = np.asarray(picture)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _save(image: Image.Image, file: BinaryIO, format_: str, carried: Carried, background: str) -> Carried:
    """Gives what was carried."""
    if format_ == "jpeg" and image.mode not in ("L", "RGB"):
        image = to_rgb(image, background)
    if format_ in ("webp", "avif") and image.mode in ("L", "LA"):
        image = image.convert("RGB" if image.mode == "L" else "RGBA")
    options: dict[str, Any] = dict(_OPTIONS[format_])
    # A new image: Pillow would also write what the old one's `info` holds.
    image.info = {}
    if format_ == "png":
        image.save(_WithChunks(file, _for_png(carried, len(image.getbands()), 8)), "PNG", **options)  # type: ignore[arg-type]
        return carried
    carried = _fitting(with_comment(carried), format_, len(image.getbands()))
    options["icc_profile"] = carried.icc  # None also keeps Pillow from writing one of its own accord
    if carried.exif:
        options["exif"] = b"Exif\0\0" + carried.exif
    if carried.xmp:
        options["xmp"] = carried.xmp
    if format_ == "jpeg":
        options["comment"] = carried.text.get("Comment", "").encode()[:_JPEG_SEGMENT]
        if carried.dpi:
            options["dpi"] = carried.dpi
        if carried.iptc:
            segment = as_segment(carried.iptc)
            options["extra"] = b"\xff\xed" + struct.pack(">H", len(segment) + 2) + segment
    image.save(file, format=format_.upper(), **options)
    return carried


def _for_png(carried: Carried, channels: int, bits: int) -> list[tuple[bytes, bytes]]:
    """Metadata as PNG chunks (PNG, third edition, 11.3), in an order that is allowed."""
    left_out = {b"sBIT", b"sRGB"} if carried.icc else {b"sBIT"}
    chunks = [(kind, content) for kind, content in carried.coding.items() if kind not in left_out]
    if (significant := _significant_bits(carried.coding.get(b"sBIT", b""), channels, bits)) is not None:
        chunks.append((b"sBIT", significant))
    if carried.icc:
        chunks.append((b"iCCP", b"icc\0\0" + zlib.compress(carried.icc)))
    if (density := carried.density) is not None:
        # To the metre (unit 1), else no more than the shape of a pixel.
        factor, unit = (1 / 0.0254, 1) if density.to_the_inch else (1, 0)
        chunks.append((b"pHYs", struct.pack(">IIB", round(density.x * factor), round(density.y * factor), unit)))
    if carried.exif:
        chunks.append((b"eXIf", carried.exif))
    texts = {**carried.text, **({IPTC_NAME: as_png_text(carried.iptc)} if carried.iptc else {})}
    for key, value in texts.items():
        name = key.encode("latin-1", "replace")[:79]
        if value.isascii() and "\0" not in value:  # some programs look for plain text alone
            chunks.append((b"tEXt", name + b"\0" + value.encode()))
        else:
            chunks.append((b"iTXt", name + b"\0\0\0\0\0" + value.encode("utf-8", "replace")))
    if carried.xmp:
        chunks.append((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + carried.xmp))
    return chunks


def _significant_bits(told: bytes, channels: int, bits: int) -> bytes | None:
    """sBIT for so many channels: a palette's picture may have got alpha meanwhile."""
    if len(told) == channels - 1 and channels in (2, 4):
        told += bytes([bits])
    return told if len(told) == channels and all(1 <= one <= bits for one in told) else None


def _fitting(carried: Carried, format_: str, channels: int) -> Carried:
    """For all but PNG: what has another place there is put into it; what has none is left out, with a note."""
    grey = channels == 1 or (channels == 2 and format_ != "tiff")
    if carried.icc is None and carried.coding:
        carried = replace(carried, icc=profile_of(carried.coding, grey=grey))
    if carried.icc is not None and carried.icc[16:20] == b"GRAY" and not grey:
        carried = carried.without(
            f"its grey profile does not go with the colours of {format_}, and is left out", icc=None
        )
    if carried.iptc and format_ in ("webp", "avif"):
        if carried.xmp is None:
            carried = replace(carried, xmp=_captioned(carried.iptc))
        carried = replace(carried, iptc=None)
    if format_ == "jpeg":
        for name in ("xmp", "exif", "iptc"):
            if (block := getattr(carried, name)) and len(block) > _JPEG_SEGMENT:
                note = f"{len(block):,} bytes of {name.upper()} do not fit into a JPEG and are left out"
                carried = carried.without(note, **{name: None})
    return carried


def _captioned(block: bytes) -> bytes:
    told = fields_of(block)

    def first(number: int) -> str:
        return told.get(number, [""])[0]

    return captioned(first(5), first(120), told.get(25, []), first(80), first(116))


class _WithChunks:
    """A PNG file that is written from its beginning: these chunks (type, content) go in behind its header."""

    def __init__(self, file: BinaryIO, chunks: Iterable[tuple[bytes, bytes]]) -> None:
        self._file = file
        self._chunks = b"".join(png_chunk(kind, content) for kind, content in chunks)
        self._left = len(PNG) + 12 + 13  # the signature, IHDR

    def write(self, data: bytes) -> int:
        if self._left:
            head = data[: self._left]
            self._file.write(head)
            self._left -= len(head)
            if self._left == 0:
                self._file.write(self._chunks)
            self._file.write(memoryview(data)[len(head) :])
        else:
            self._file.write(data)
        return len(data)

    def flush(self) -> None:
        self._file.flush()
