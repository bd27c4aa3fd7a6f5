"""Pictures with 16 bits a channel, which Pillow cuts down to 8: read and written whole."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin
from PIL.ExifTags import IFD

from hotfolder.imaging.carried import Carried, keep_bytes
from hotfolder.imaging.tiff import TiffBeyond, first_page

Pixels = NDArray[np.uint16]
#: What these decoders raise on damaged files.
ERRORS = (RuntimeError, tifffile.TiffFileError, ValueError, IndexError, KeyError, struct.error, zlib.error)


def is_deep(image: Image.Image) -> bool:
    """Whether an opened, not yet loaded, PNG or TIFF has more than 8 bits a channel, all of which can be had."""
    if isinstance(image, TiffBeyond):
        return image.is_deep
    if image.format == "PNG":
        return image.mode == "I;16" or any("16" in str(tile[3]) for tile in getattr(image, "tile", ()))
    if image.format == "TIFF":
        tags: Any = getattr(image, "tag_v2", {})
        formats = tags.get(339, (1,))  # SampleFormat: 1 is unsigned integers
        unsigned = set(tags.get(258, (8,))) == {16} and set(formats) == {1}
        premultiplied = 1 in tags.get(338, ())  # ExtraSamples: Pillow divides by alpha, tifffile does not
        modes = ("RGB", "RGBA", "L", "LA", "I;16", "I;16B")
        return unsigned and not premultiplied and image.mode in modes
    return False


def decode_deep(data: bytes, format_: str) -> Pixels:
    """(h, w, c) with 1 to 4 channels: grey, grey and alpha, RGB, RGBA. Raises one of ERRORS."""
    pixels = imagecodecs.png_decode(data) if format_ == "PNG" else first_page(data)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if pixels.dtype != np.uint16 or pixels.ndim != 3 or not 1 <= pixels.shape[2] <= 4:
        raise ValueError(f"unexpected pixels: {pixels.dtype}, shape {pixels.shape}")
    return np.ascontiguousarray(pixels)


def encode_png(pixels: Pixels) -> bytes:
    """A 16-bit PNG. Fast: zlib level 1, one filter."""
    return bytes(imagecodecs.png_encode(np.squeeze(pixels, 2) if pixels.shape[2] == 1 else pixels, level=1))


def encode_tiff(pixels: NDArray[Any], carried: Carried) -> bytes:
    """A deflated TIFF of (h, w, 1 to 4) uint8 or uint16, with EXIF's folder, which Pillow cannot put beside it."""
    if pixels.shape[2] == 2:  # hardly a program reads grey with alpha in 16 bits; RGBA all do
        pixels = pixels[..., [0, 0, 0, 1]]
    colours = pixels.shape[2]
    packets = ((700, carried.xmp), (33723, carried.iptc))
    tags: list[tuple[Any, ...]] = [(tag, "B", len(packet), packet, True) for tag, packet in packets if packet]
    found = Image.Exif()
    if carried.exif:
        found.load(carried.exif)
    # Pillow reads bytes that are no ASCII as Latin-1, so this gives them back.
    tags += [(tag, "s", 0, str(found[tag]).encode("latin-1", "replace"), True) for tag in _TEXTS if tag in found]
    folder = found.get_ifd(IFD.Exif)
    if folder:
        tags.append((_PLACEHOLDER, "I", 1, 0, True))
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        np.squeeze(pixels, 2) if colours == 1 else pixels,
        photometric="rgb" if colours >= 3 else "minisblack",
        extrasamples=["unassalpha"] if colours == 4 else None,
        planarconfig="contig" if colours > 1 else None,
        compression="zlib",
        compressionargs={"level": 1},
        predictor=True,
        software=carried.software or None,
        byteorder="<",
        metadata=None,
        iccprofile=carried.icc,
        resolution=carried.dpi,
        resolutionunit=2 if carried.dpi else None,
        extratags=tags,
    )
    if folder:
        _append_folder(buffer, folder)
    return buffer.getvalue()


#: An unused tag beside EXIF's, which tifffile does not write itself: renamed afterwards.
_PLACEHOLDER = 34664
#: ImageDescription, Make, Model, DateTime, Artist, Copyright (TIFF 6.0).
_TEXTS = (270, 271, 272, 306, 315, 33432)


def _append_folder(buffer: io.BytesIO, folder: Mapping[int, Any]) -> None:
    """Writes EXIF's folder behind the picture, and where it is into the tag that was left for it."""
    directory = TiffImagePlugin.ImageFileDirectory_v2(group=IFD.Exif)
    folder = dict(folder)
    keep_bytes(folder)
    for tag, value in folder.items():
        directory[tag] = value
    place = buffer.seek(0, io.SEEK_END)
    place += buffer.write(bytes(place % 2))  # folders begin on even places
    buffer.write(directory.tobytes(place))
    buffer.seek(0)
    with tifffile.TiffFile(buffer) as file:
        page: Any = file.pages[0]
        entry, value_at = page.tags[_PLACEHOLDER].offset, 12 if file.is_bigtiff else 8
    data = buffer.getbuffer()
    struct.pack_into("<H", data, entry, IFD.Exif)
    struct.pack_into("<I", data, entry + value_at, place)
    data.release()
