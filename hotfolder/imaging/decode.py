"""Reading image files that may be broken, hostile or unusual."""

from __future__ import annotations

import io
import os
import struct
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, PngImagePlugin, TiffImagePlugin, UnidentifiedImageError

from hotfolder.core.pictures import HEAD
from hotfolder.errors import (
    ImageTooLarge,
    NotAnImage,
    TruncatedImage,
    UnsupportedImage,
)
from hotfolder.files.regular import Opens, open_regular
from hotfolder.imaging import raw
from hotfolder.imaging.carried import Carried, carried, software_of
from hotfolder.imaging.deep import ERRORS, decode_deep, is_deep
from hotfolder.imaging.extras import extra_format
from hotfolder.imaging.jpeg import walk, with_end
from hotfolder.imaging.modes import from_cmyk, normalise
from hotfolder.imaging.png import REMEDY, check_critical, sieved
from hotfolder.imaging.source import Source, read
from hotfolder.imaging.texts import PNG
from hotfolder.imaging.tiff import FORMAT as TIFF_BEYOND
from hotfolder.imaging.tiff import has_more_pages
from hotfolder.types import SourceFacts

# `decode` has a limit of its own, which takes the place of Pillow's: our own outputs would exceed that.
Image.MAX_IMAGE_PIXELS = None
_ORIENTATION = 0x0112
#: Our own enlarged images may have so many times the pixels that others may have.
OWN_PIXELS = 64
#: Bytes of text, profiles and the like in one file, unpacked; what is more is not read.
MAX_METADATA = 64 * 2**20
# Pillow would refuse the whole picture for a text or a profile of 1 MiB; what is too much is left out before it looks.
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = MAX_METADATA
#: Bytes of a WebP of which only the size is wanted: Pillow reads it whole for that.
_MOST_WEBP = 512 * 2**20
#: Scans of one JPEG: what people make has a dozen.
_MOST_SCANS = 100
#: What decoders raise at what they do not understand; RuntimeError comes from those of other packages.
_ERRORS = (OSError, SyntaxError, ValueError, struct.error, IndexError, EOFError, RuntimeError)
#: Formats in which what looks like frames are views, pages or layers.
_WITH_PARTS = ("MPO", "TIFF", "PSD", "HEIF")
#: Only formats whose decoders Pillow itself carries; none that runs another program (EPS) or is a container.
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000", "PPM", "TGA", "PSD")
_OPENED = (TIFF_BEYOND, *FORMATS)
_TGA = (".tga", ".icb", ".vda", ".vst")
#: What Pillow says, and what that means.
_WORDS = (
    ("image file is truncated", "it ends before its end"),
    ("Truncated File Read", "it ends before its end"),
    ("Expected to read", "it ends before its end"),
    ("not enough image data", "it ends before its end"),
    ("decoder error", "it is damaged inside"),
    ("broken data stream", "it is damaged inside"),
    ("unrecognized data stream", "it is damaged inside"),
    ("cannot load this image", "it has no pixels"),
    ("Unable to seek to frame", "its first page is not where it says"),
)


@dataclass(frozen=True, slots=True)
class Decoded:
    """An image, upright, as the file has it: mode L, LA, RGB or RGBA, 8 bits a channel."""

    image: Image.Image
    facts: SourceFacts
    carried: Carried
    deep: NDArray[np.uint16] | None = None  # (h, w, c): all 16 bits, where they were asked for and are there

    @property
    def pixels(self) -> NDArray[Any]:
        """(h, w, c) uint8 or uint16, c as for the modes."""
        if self.deep is not None:
            return self.deep
        pixels = np.asarray(self.image)
        return pixels[..., None] if pixels.ndim == 2 else pixels


@dataclass(frozen=True, slots=True)
class Opened:
    """An image whose header is known and whose pixels are not decoded yet."""

    source: Source  # of a RAW file: its preview
    image: Image.Image
    notes: tuple[str, ...] = ()  # what a person should know of it

    @property
    def pixels(self) -> int:
        return self.image.width * self.image.height

    def decode(self, *, deep: bool = False) -> Decoded:
        """With `deep`, 16 bits are kept beside the 8-bit image. Raises TruncatedImage or UnsupportedImage."""
        image, name = self.image, self.source.name
        has_more_bits = is_deep(image)
        # Pillow turns TIFFs while it loads them, and forgets that it did.
        turned = image.tag_v2.get(_ORIENTATION, 1) if isinstance(image, TiffImagePlugin.TiffImageFile) else None
        notes = self.notes
        try:
            if image.format in ("JPEG", "MPO") and (whole := _whole_jpeg(name, self.source.data)) is not None:
                image = Image.open(io.BytesIO(whole), formats=FORMATS)
                notes = (*notes, "it lacks its end marker; every pixel is there")
            image.load()
            orientation = _orientation(image) if turned is None else turned
            found = carried(image, self.source.data, on_its_side=orientation in (5, 6, 7, 8))
            upright = ImageOps.exif_transpose(image)
        except MemoryError:
            raise ImageTooLarge(
                f"{name} needs more memory than the worker may take",
                "make it smaller, or see executor.memory_limit_mb",
            ) from None
        except _ERRORS as error:
            raise TruncatedImage(f"{name} cannot be decoded: {_in_words(error)}", REMEDY) from None
        if image.format == "PNG":
            check_critical(name, self.source.data)
        if image.mode == "CMYK" and found.icc:
            upright = from_cmyk(upright, found.icc)
        normal = normalise(name, upright)
        if image.mode in ("CMYK", "LAB"):
            found = replace(found, icc=None)  # it describes the old channels
        all_bits = None
        # Pillow compares a colour of 16 bits that is transparent (PNG tRNS) with pixels that it has cut down to 8.
        needs_them = has_more_bits and image.format == "PNG" and "transparency" in image.info
        if has_more_bits and (deep or needs_them):
            all_bits = _all_bits(name, self.source.data, image.format or "", orientation)
            if all_bits.shape[1::-1] != upright.size:
                raise TruncatedImage(f"{name} is {upright.size} by its header, but not inside", REMEDY)
            if needs_them:
                normal = Image.fromarray(((all_bits.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8))
        facts = SourceFacts(self.source.sha256, normal.width, normal.height, notes)
        return Decoded(normal, facts, found, all_bits if deep else None)


def size_of(file: BinaryIO) -> tuple[int, int]:
    """Width and height of an image file, by its header. Raises NotAnImage."""
    most = _MOST_WEBP if file.seek(0) == 0 and file.read(4) == b"RIFF" else sys.maxsize
    try:
        if os.fstat(file.fileno()).st_size > most:
            raise ValueError(f"it has more than {most:,} bytes")
        with Image.open(file, formats=_OPENED) as image:
            return image.size
    except UnidentifiedImageError:  # whose words name an object of Python's
        raise NotAnImage("it is no image that can be read", REMEDY) from None
    except (OSError, SyntaxError, ValueError, struct.error, IndexError, EOFError, MemoryError) as error:
        raise NotAnImage(f"it cannot be read: {error}", REMEDY) from None


def open_image(source: Source, max_pixels: int, *, first_frame: bool = False, ours_too: bool = False) -> Opened:
    """Reads the header. Raises NotAnImage, ImageTooLarge or, unless `first_frame` will do, UnsupportedImage.

    With `ours_too`, an image that says hotfolder made it may be larger: for files that a person named, not for
    what was dropped, since anybody can say so.
    """
    notes: tuple[str, ...] = ()
    if raw.is_raw(source.name, source.data):
        return _open_raw(source, max_pixels)
    if source.data.startswith(PNG):
        data, notes = sieved(source.data, MAX_METADATA)
        source = replace(source, data=data)
    image, more = _open(source, max_pixels, first_frame=first_frame, ours_too=ours_too)
    return Opened(source, image, (*notes, *more))


def _open_raw(source: Source, max_pixels: int) -> Opened:
    """The preview that the camera put into it."""
    preview = raw.preview(source.data)
    if preview is None:
        raise UnsupportedImage(
            f"{source.name} is a camera's RAW file without a preview inside", "develop it, and drop the picture"
        )
    shown = replace(source, data=preview)
    image, notes = _open(shown, max_pixels, first_frame=True, ours_too=False)
    if _ORIENTATION not in image.getexif():
        image.getexif()[_ORIENTATION] = raw.orientation(source.data)
    return Opened(shown, image, tuple(notes))


def decode(
    path: Path,
    max_pixels: int,
    max_bytes: int = sys.maxsize,
    *,
    deep: bool = False,
    first_frame: bool = False,
    named: bool = False,
    opens: Opens = open_regular,
) -> Decoded:
    """Reads and decodes a whole file; raises what `read`, `open_image` and `Opened.decode` raise.

    `named` by a person, an image may be larger where it is our own.
    """
    source = read(path, max_bytes, opens)
    return open_image(source, max_pixels, first_frame=first_frame, ours_too=named).decode(deep=deep)


def _open(source: Source, max_pixels: int, *, first_frame: bool, ours_too: bool) -> tuple[Image.Image, list[str]]:
    name = source.name
    try:
        extra = extra_format(name, source.data[:HEAD])
        image = Image.open(io.BytesIO(source.data), formats=(extra,) if extra else _formats_of(source))
    except UnidentifiedImageError:
        raise NotAnImage(
            f"{name} is not an image that can be read", f"readable are {', '.join(FORMATS)}"
        ) from None
    except (*_ERRORS, MemoryError) as error:
        if str(error).startswith("Unsupported"):  # of a BMP, for one
            raise UnsupportedImage(f"{name} cannot be read: {error}", "save it as PNG") from None
        raise NotAnImage(f"{name} cannot be read: {_in_words(error)}", REMEDY) from None
    pixels = image.width * image.height
    if pixels == 0:
        raise NotAnImage(f"{name} is {image.width} × {image.height} pixels", REMEDY)
    if pixels > max_pixels and not (
        ours_too and pixels <= max_pixels * OWN_PIXELS and software_of(image).startswith("hotfolder ")
    ):
        raise ImageTooLarge(
            f"{name} has {image.width} × {image.height} pixels, more than the {max_pixels:,} allowed",
            "make it smaller, or raise executor.max_pixels",
        )
    held, notes = 0, []
    for key, value in list(image.info.items()):
        if isinstance(value, (str, bytes)):
            held += len(value)
            if held > MAX_METADATA:
                held -= len(value)
                del image.info[key]
                notes.append(f"its {key} is too large (of all, {MAX_METADATA:,} bytes are read), and is not read")
    # MPO is a JPEG with a second view behind it, as many phones write; TIFF pages are no animation. Frames are not
    # counted: in a hostile file that takes for ever.
    if not first_frame and image.format not in _WITH_PARTS and getattr(image, "is_animated", False):
        raise UnsupportedImage(f"{name} is animated", "drop one frame as a picture; see also upscale.animated")
    if image.format == "TIFF" and has_more_pages(source.data):
        notes.append("it has several pages: only the first is taken")
    elif image.format not in _WITH_PARTS and getattr(image, "is_animated", False):
        notes.append("it is animated: only its first frame is taken")
    return image, notes


def _formats_of(source: Source) -> tuple[str, ...]:
    """Without TGA, unless the name or the end says so: it has no beginning of its own, and icons fit it, too."""
    says_so = source.name.lower().endswith(_TGA) or source.data[-18:-2] == b"TRUEVISION-XFILE"
    return _OPENED if says_so else tuple(one for one in _OPENED if one != "TGA")


def _in_words(error: BaseException) -> str:
    """Pillow's sentence, or what it means."""
    told = str(error)
    return next((words for begins, words in _WORDS if told.startswith(begins)), told)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - a damaged EXIF block fails in any way it likes
        return 1


def _whole_jpeg(name: str, data: bytes) -> bytes | None:
    """What is decoded in the place of a JPEG that lacks only its end marker; None: the file as it is.

    A progressive JPEG is decoded as often as it has scans, each of which may be a few bytes (ISO 10918-1, G.1).
    """
    found = walk(data, _MOST_SCANS)
    if found.scans > _MOST_SCANS:
        raise UnsupportedImage(f"{name} has more than {_MOST_SCANS} scans", "save it again and drop it anew")
    if found.ends:
        return None
    whole = with_end(data, found)
    if whole is None:
        raise TruncatedImage(f"{name} ends before its end", REMEDY)
    return whole


def _all_bits(name: str, data: bytes, format_: str, orientation: int) -> NDArray[np.uint16]:
    try:
        pixels = decode_deep(data, format_)
    except ERRORS as error:
        raise TruncatedImage(f"{name} cannot be decoded in 16 bits: {error}", REMEDY) from None
    # EXIF 2.32, tag 0x0112: mirrored, turned, or both.
    turns = {2: (0, 1), 3: (2, 0), 4: (2, 1), 5: (3, 1), 6: (3, 0), 7: (1, 1), 8: (1, 0)}
    quarter_turns, mirrored = turns.get(orientation, (0, 0))
    pixels = np.rot90(pixels, quarter_turns)
    return np.ascontiguousarray(pixels[:, ::-1] if mirrored else pixels)
