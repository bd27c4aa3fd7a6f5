"""Reading image files that may be broken, hostile or unusual."""

from __future__ import annotations

import errno
import hashlib
import io
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from hotfolder.errors import (
    BadInput,
    EmptyFile,
    ImageTooLarge,
    NotAnImage,
    TruncatedImage,
    UnsupportedImage,
    Vanished,
)
from hotfolder.types import SourceFacts

# `decode` has a limit of its own, which takes the place of Pillow's: our own outputs would exceed that.
Image.MAX_IMAGE_PIXELS = None
_SIGHTS = "is it complete? Open it in a viewer; save it again and drop it anew"
#: Only formats whose decoders Pillow itself carries; none that runs another program (EPS) or is a container.
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000", "PPM", "TGA")


@dataclass(frozen=True, slots=True)
class Decoded:
    """An image, upright, as the file has it: mode L, LA, RGB or RGBA, 8 bits a channel."""

    image: Image.Image
    facts: SourceFacts
    icc_profile: bytes | None = None
    text: Mapping[str, str] = field(default_factory=dict)  # PNG text chunks


@dataclass(frozen=True, slots=True)
class Source:
    """A file as it was read."""

    name: str
    data: bytes = field(repr=False)
    sha256: str


@dataclass(frozen=True, slots=True)
class Opened:
    """An image whose header is known and whose pixels are not decoded yet."""

    source: Source
    image: Image.Image

    @property
    def pixels(self) -> int:
        return self.image.width * self.image.height

    def decode(self) -> Decoded:
        """Raises TruncatedImage or UnsupportedImage."""
        image, name = self.image, self.source.name
        try:
            image.load()
            icc, text = image.info.get("icc_profile"), dict(getattr(image, "text", {}))
            upright = ImageOps.exif_transpose(image)
        except (OSError, SyntaxError, ValueError, struct.error, IndexError, EOFError, MemoryError) as error:
            raise TruncatedImage(f"{name} cannot be decoded: {error}", _SIGHTS) from None
        _check_end(name, image.format, self.source.data)
        normal = _normalise(name, upright)
        if image.mode in ("CMYK", "LAB"):
            icc = None  # it describes the old channels
        facts = SourceFacts(self.source.sha256, normal.width, normal.height)
        return Decoded(normal, facts, icc, text)


def read(path: Path) -> Source:
    """Reads a whole file. Raises Vanished, EmptyFile, or BadInput when it may not be read."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise Vanished(f"{path.name} is not there any more", "drop it again") from None
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            raise BadInput(f"{path.name} may not be read", "give this user permission to read it") from None
        raise
    if not data:
        raise EmptyFile(f"{path.name} is empty", "copy it again: the copy may have failed")
    return Source(path.name, data, hashlib.sha256(data).hexdigest())


def open_image(source: Source, max_pixels: int) -> Opened:
    """Reads the header. Raises NotAnImage, ImageTooLarge or UnsupportedImage."""
    return Opened(source, _open(source.name, source.data, max_pixels))


def decode(path: Path, max_pixels: int) -> Decoded:
    """Reads and decodes a whole file; raises what `read`, `open_image` and `Opened.decode` raise."""
    return open_image(read(path), max_pixels).decode()


def _open(name: str, data: bytes, max_pixels: int) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise NotAnImage(
            f"{name} is not an image that can be read", f"readable are {', '.join(FORMATS)}"
        ) from None
    except (OSError, SyntaxError, ValueError, struct.error, IndexError, EOFError, MemoryError) as error:
        raise NotAnImage(f"{name} cannot be read: {error}", _SIGHTS) from None
    if image.width * image.height > max_pixels:
        raise ImageTooLarge(
            f"{name} has {image.width} × {image.height} pixels, more than the {max_pixels:,} allowed",
            "make it smaller, or raise executor.max_pixels",
        )
    frames = int(getattr(image, "n_frames", 1))
    # MPO is a JPEG with a second view behind it, as many phones write; TIFF pages are no animation.
    if frames > 1 and image.format not in ("MPO", "TIFF"):
        raise UnsupportedImage(f"{name} is animated ({frames} frames)", "drop one frame as a picture")
    return image


def _check_end(name: str, format_: str | None, data: bytes) -> None:
    """A file cut in its last bytes may still decode: look for the mark that ends it.

    Anywhere, because some cameras append a film or a second picture.
    """
    marks = {"PNG": b"IEND", "JPEG": b"\xff\xd9"}
    mark = marks.get(format_ or "")
    if mark is not None and mark not in data:
        raise TruncatedImage(f"{name} ends before its end", _SIGHTS)


def _normalise(name: str, image: Image.Image) -> Image.Image:
    """To L, LA, RGB or RGBA with 8 bits: palettes resolved, 16 bits scaled (not clipped), CMYK converted."""
    match image.mode:
        case "L" | "LA" | "RGB" | "RGBA":
            # A colour declared transparent (PNG tRNS) becomes real alpha.
            if "transparency" in image.info and image.mode in ("L", "RGB"):
                return image.convert("LA" if image.mode == "L" else "RGBA")
            return image
        case "1":
            return image.convert("L")
        case "P" | "PA":
            return image.convert("RGBA" if "transparency" in image.info or image.mode == "PA" else "RGB")
        case "I;16" | "I;16L" | "I;16B" | "I":
            values = np.asarray(image).astype(np.float64)
            top = 65535.0 if image.mode != "I" or values.max() <= 65535 else 2.0**31 - 1
            return _grey8(values / top)
        case "F":
            values = np.nan_to_num(np.asarray(image).astype(np.float64), nan=0.0, posinf=1.0, neginf=0.0)
            top = values.max()
            return _grey8(values if top <= 1 else values / (255 if top <= 255 else top))
        case "RGBa" | "La":
            return image.convert("RGBA" if image.mode == "RGBa" else "LA")
        case "CMYK" | "YCbCr" | "LAB" | "HSV" | "RGBX":
            return image.convert("RGB")
    raise UnsupportedImage(f"{name} has pixels of the sort '{image.mode}'", "save it as RGB")


def _grey8(unit: Any) -> Image.Image:
    return Image.fromarray((np.clip(unit, 0, 1) * 255 + 0.5).astype(np.uint8))


def to_rgb(image: Image.Image, background: str) -> Image.Image:
    """RGB; transparent pixels are laid over `background` ('white', 'black', '#rrggbb'), not just uncovered."""
    if image.mode == "RGB":
        return image
    if image.mode == "L":
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    canvas = Image.new("RGBA", rgba.size, background)
    return Image.alpha_composite(canvas, rgba).convert("RGB")
