"""TIFFs beyond Pillow: floating point, more than 16 bits, signed, 16-bit grey with alpha, rarer compressions."""

from __future__ import annotations

import io
import logging
import re
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageFile
from PIL.ExifTags import Base

from hotfolder.imaging.levels import unit, white_of

#: Under which Pillow knows this reader; it has to be asked before Pillow's own.
FORMAT = "TIFF_BEYOND"
_GREY, _GREY_INVERTED, _RGB, _PALETTE = 1, 0, 2, 3
#: JPEG 2000, LERC, PNG, WebP, JPEG XL: those that Pillow's libtiff is built without.
_COMPRESSIONS = (34712, 34887, 34933, 50001, 50002, 52546)
_NO_DATA = 42113  # GDAL's
_TEXTS = (Base.ImageDescription, Base.Make, Base.Model, Base.DateTime, Base.Artist, Base.Copyright)


# It writes a line for each tag of a damaged file, of which nobody learns anything.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)


class TiffBeyond(ImageFile.ImageFile):
    """Opened by its header; the first page is decoded when it is loaded."""

    format = "TIFF"
    format_description = "TIFF, read by tifffile"

    def _open(self) -> None:
        assert self.fp is not None
        self._data = self.fp.read()
        try:
            with tifffile.TiffFile(io.BytesIO(self._data)) as file:
                page: Any = file.pages[0]
                if not _is_beyond(page):
                    raise SyntaxError("Pillow reads it")
                self._size = (page.imagewidth, page.imagelength)
                self._mode = _MODES[_channels(page)]
                self.is_deep = page.bitspersample > 8 or int(page.photometric) == _PALETTE
                self.info = _said(page)
        except Exception as error:  # noqa: BLE001 - of damage, which Pillow's own reader is asked about next
            raise SyntaxError(f"not understood: {error}") from None
        self.tile = []

    def load(self) -> Any:
        if self._im is None:
            pixels = first_page(self._data)
            if pixels.dtype == np.uint16:
                pixels = (pixels >> 8).astype(np.uint8)
            self.im = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).im
        return super().load()


_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def _is_beyond(page: Any) -> bool:
    bits, samples, photometric = page.bitspersample, page.samplesperpixel, int(page.photometric)
    if photometric not in (_GREY, _GREY_INVERTED, _RGB, _PALETTE):
        return False
    return (
        int(page.sampleformat) != 1
        or bits > 16
        or int(page.compression) in _COMPRESSIONS
        or (bits == 16 and (samples == 2 or photometric == _PALETTE))
        or (bits not in (1, 2, 4, 8, 16) and samples > 1)
    )


def _channels(page: Any) -> int:
    colours = 1 if int(page.photometric) in (_GREY, _GREY_INVERTED) else 3
    return colours + (_alpha(page) is not None)


def _alpha(page: Any) -> int | None:
    """1: colours are multiplied by alpha already; 2: they are not; None: there is none."""
    extra = tuple(int(kind) for kind in page.extrasamples or ())
    return extra[0] if extra and extra[0] in (1, 2) else None


def _said(page: Any) -> dict[str | tuple[int, int], Any]:
    """What it says beside its pixels, where Pillow's own reader has it."""
    tags = page.tags
    info: dict[str | tuple[int, int], Any] = {}
    exif = Image.Exif()
    for tag in _TEXTS:
        if tag in tags and isinstance(tags[tag].value, str):
            exif[tag] = tags[tag].value.encode("utf-8")
    if Base.Orientation in tags:
        exif[Base.Orientation] = int(tags[Base.Orientation].value)
    if len(exif):
        info["exif"] = exif.tobytes()
    for number, name in ((34675, "icc_profile"), (700, "xmp")):
        if number in tags and isinstance(tags[number].value, bytes):
            info[name] = tags[number].value
    per = {2: 1.0, 3: 2.54}.get(int(tags[296].value) if 296 in tags else 2)
    if per is not None and 282 in tags and 283 in tags:
        (x, over_x), (y, over_y) = tags[282].value, tags[283].value
        if x and y and over_x and over_y:
            info["dpi"] = (x / over_x * per, y / over_y * per)
    return info


def has_more_pages(data: bytes) -> bool:
    """Whether a TIFF has a second page that is no smaller copy of the first."""
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            second: Any = file.pages[1]
            return not second.is_reduced and second.offset != file.pages[0].offset
    except Exception:  # noqa: BLE001 - damage behind the first page, in any way it likes
        return False


def first_page(data: bytes) -> NDArray[Any]:
    """(h, w, 1 to 4), uint8 or uint16. Raises what `deep.ERRORS` names."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page: Any = file.pages[0]
        pixels = page.asarray()
        if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and pixels.ndim == 3:
            pixels = np.moveaxis(pixels, 0, -1)
        pixels = pixels[..., None] if pixels.ndim == 2 else pixels
        if pixels.ndim != 3 or pixels.dtype.kind not in "uifb":
            raise ValueError(f"unexpected pixels: {pixels.dtype}, shape {pixels.shape}")
        photometric, alpha = int(page.photometric), _alpha(page)
        if photometric == _PALETTE and page.colormap is not None:
            return np.ascontiguousarray(np.moveaxis(page.colormap[:, pixels[..., 0]], 0, -1))
        colours = 1 if photometric in (_GREY, _GREY_INVERTED) else 3
        channels = colours + (alpha is not None)
        if pixels.shape[2] < channels:
            raise ValueError(f"{pixels.shape[2]} channels of {channels}")
        levels = _levels(pixels[..., :channels], colours, page.bitspersample, _nothing(page))
    if photometric == _GREY_INVERTED:
        levels[..., :1] = np.iinfo(levels.dtype).max - levels[..., :1]
    if alpha == 1:
        top = np.iinfo(levels.dtype).max
        straight = levels[..., :colours].astype(np.float32) * top / np.maximum(levels[..., colours:], 1)
        levels[..., :colours] = (straight + 0.5).clip(0, top)
    return np.ascontiguousarray(levels)


def _levels(pixels: NDArray[Any], colours: int, bits: int, nothing: float | None) -> NDArray[Any]:
    """uint8 stays; all else becomes uint16. The ends of colours are looked for, those of alpha are known."""
    if pixels.dtype == np.uint8:
        return pixels.copy()
    if pixels.dtype.kind == "b":
        return pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype == np.uint16:
        most = 2**bits - 1
        return pixels.copy() if most == 65535 else (pixels.astype(np.uint32) * 65535 // most).astype(np.uint16)
    white = white_of(pixels[..., :colours])
    planes = [unit(pixels[..., :colours], white, nothing)]
    if pixels.shape[2] > colours:
        opaque = 1.0 if pixels.dtype.kind == "f" else float(np.iinfo(pixels.dtype).max)
        planes.append((pixels[..., colours:] / opaque).clip(0, 1))
    return (np.concatenate(planes, axis=-1) * 65535 + 0.5).astype(np.uint16)


def _nothing(page: Any) -> float | None:
    """The number that stands for no measurement at all."""
    told = page.tags[_NO_DATA].value if _NO_DATA in page.tags else None
    found = re.match(r"\s*[-+0-9.eE]+", told) if isinstance(told, str) else None
    try:
        return float(found[0]) if found else None
    except ValueError:
        return None


Image.register_open(FORMAT, TiffBeyond, lambda prefix: prefix[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"))
