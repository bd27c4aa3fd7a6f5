"""What a picture's file says beside its pixels, and how that is carried over to an enlarged one."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from typing import Any

from PIL import Image, TiffImagePlugin, TiffTags
from PIL.ExifTags import IFD, TAGS, Base

from hotfolder.imaging.coding import CHUNKS, coding_of_avif, profile_of
from hotfolder.imaging.iptc import PNG_NAME, iptc_of
from hotfolder.imaging.png import before_the_pixels
from hotfolder.imaging.texts import PNG_XMP

# Pillow does not know its type, and would write bytes; EXIF 2.32, 4.6.5, wants UNDEFINED.
TiffTags.TAGS_V2_GROUPS.setdefault(IFD.Exif, {})[Base.UserComment] = TiffTags.TagInfo(
    Base.UserComment, "UserComment", TiffTags.UNDEFINED, 0
)
_UNICODE = b"UNICODE\0"
#: Where XMP repeats what EXIF knows: (pattern of the name, which value).
_XMP_NUMBERS = (
    (rb"(?:tiff:ImageWidth|exif:PixelXDimension)", "width"),
    (rb"(?:tiff:ImageLength|exif:PixelYDimension)", "height"),
    (rb"tiff:Orientation", "one"),
)


#: Other texts of EXIF's folder that Pillow knows no type of: bytes that are no ASCII would become UNDEFINED.
for _tag in (Base.CameraOwnerName, Base.BodySerialNumber, Base.LensMake, Base.LensModel, Base.LensSerialNumber):
    TiffTags.TAGS_V2_GROUPS[IFD.Exif].setdefault(_tag, TiffTags.TagInfo(_tag, _tag.name, TiffTags.ASCII, 1))
#: What a TIFF's own folder says of the picture; all else in it says how that file is built.
_OF_THE_PICTURE = (
    Base.ImageDescription, Base.Make, Base.Model, Base.Orientation, Base.XResolution, Base.YResolution,
    Base.ResolutionUnit, Base.Software, Base.DateTime, Base.Artist, Base.HostComputer, Base.Copyright, Base.Rating,
    Base.RatingPercent, Base.XPTitle, Base.XPComment, Base.XPAuthor, Base.XPKeywords, Base.XPSubject,
)  # fmt: skip
_INCH, _CM = 2, 3


@dataclass(frozen=True, slots=True)
class Density:
    """How close pixels stand on paper: to the inch; or no more than how wide they are to how high."""

    x: float
    y: float
    to_the_inch: bool = True


@dataclass(frozen=True, slots=True)
class Carried:
    """Metadata of a picture. `text` are PNG text chunks; A1111's `parameters` and ours are among them."""

    icc: bytes | None = None
    exif: bytes | None = None  # without 'Exif\0\0'
    xmp: bytes | None = None
    iptc: bytes | None = None  # IIM, the captions of the press
    text: Mapping[str, str] = field(default_factory=dict)
    coding: Mapping[bytes, bytes] = field(default_factory=dict)  # PNG chunks that say how colours are meant
    density: Density | None = None
    software: str = ""  # who made the file
    notes: tuple[str, ...] = ()  # what could not be carried, and why

    @property
    def dpi(self) -> tuple[float, float] | None:
        return (self.density.x, self.density.y) if self.density and self.density.to_the_inch else None

    @property
    def profile(self) -> bytes | None:
        """What RGB colours mean, whichever way the file says it; None: sRGB, or it cannot be said by a profile."""
        return self.icc or profile_of(self.coding)

    def without(self, note: str, **changes: Any) -> Carried:
        """The same with less, and a note of that."""
        return replace(self, **changes, notes=(*self.notes, note))


def carried(image: Image.Image, data: bytes, *, on_its_side: bool) -> Carried:
    """What an opened and loaded image carries. Parts that cannot be read are left out, with a note.

    `data` is the whole file; one that is `on_its_side` is turned by a quarter.
    """
    xmp = image.info.get("xmp")
    text = {k: str(v) for k, v in getattr(image, "text", {}).items() if k != PNG_XMP}
    if image.format in ("JPEG", "GIF") and isinstance(comment := image.info.get("comment"), bytes):
        text.setdefault("Comment", comment.decode("utf-8", "replace").rstrip("\0"))
    notes: tuple[str, ...] = ()
    exif, density = None, _density(image)
    try:
        found = image.getexif()
        if image.format == "TIFF":
            for tag in [tag for tag in found if tag not in (*_OF_THE_PICTURE, IFD.Exif, IFD.GPSInfo)]:
                del found[tag]
        if left_out := _leave_out_unwritable(found):
            notes = (f"of its EXIF {', '.join(left_out)} cannot be read and is left out",)
        exif = _as_bytes(found) if found else None
        density = density or _density_of_exif(found)
        if (parameters := parameters_of(image)) and "parameters" not in text:
            text["parameters"] = parameters
    except Exception as error:  # noqa: BLE001 - a damaged EXIF block fails in any way it likes
        exif, notes = None, (f"its EXIF is damaged and is left out: {error}",)
    if density is not None and on_its_side:
        density = replace(density, x=density.y, y=density.x)
    iptc = iptc_of(image, text)
    text.pop(PNG_NAME, None) if iptc else None
    coding = before_the_pixels(data, CHUNKS) if image.format == "PNG" else {}
    if image.format == "AVIF":
        coding = coding_of_avif(data)
    icc = image.info.get("icc_profile") or None
    xmp = xmp.encode() if isinstance(xmp, str) else xmp
    return Carried(icc, exif, xmp, iptc, text, coding, density, notes=notes)


def _density(image: Image.Image) -> Density | None:
    """As the format itself says it."""
    dpi, aspect = image.info.get("dpi"), image.info.get("aspect")
    if dpi is not None:
        return _sane(dpi, to_the_inch=True)
    return _sane(aspect, to_the_inch=False) if aspect is not None else None


def _density_of_exif(exif: Image.Exif) -> Density | None:
    unit = exif.get(Base.ResolutionUnit, _INCH)
    x, y = exif.get(Base.XResolution), exif.get(Base.YResolution)
    if x is None or unit not in (_INCH, _CM):
        return None
    factor = 1.0 if unit == _INCH else 2.54
    return _sane((float(x) * factor, float(y if y is not None else x) * factor), to_the_inch=True)


def _sane(pair: Any, *, to_the_inch: bool) -> Density | None:
    try:
        x, y = (float(one) for one in pair)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    usual = all(math.isfinite(one) and 0 < one < 10_000_000 for one in (x, y))
    return Density(x, y, to_the_inch) if usual and (to_the_inch or x != y) else None


def _as_bytes(exif: Image.Exif) -> bytes:
    """Without 'Exif\\0\\0'. Texts come out with the bytes that they came in with."""
    keep_bytes(exif)
    keep_bytes(exif.get_ifd(IFD.Exif))
    return exif.tobytes().removeprefix(b"Exif\0\0")


def _leave_out_unwritable(exif: Image.Exif) -> list[str]:
    """Removes values that are not of their tag's type: one of them would cost all the others. Their names."""
    left_out = []
    for folder in (exif, exif.get_ifd(IFD.Exif)):
        for tag in list(folder):
            if tag in (IFD.Exif, IFD.GPSInfo, IFD.Interop):
                continue
            alone = TiffImagePlugin.ImageFileDirectory_v2(group=None if folder is exif else IFD.Exif)
            try:
                alone[tag] = folder[tag]
                alone.tobytes()
            except Exception:  # noqa: BLE001 - it fails in any way it likes
                del folder[tag]
                left_out.append(TAGS.get(tag, str(tag)))
    return left_out


def keep_bytes(folder: MutableMapping[int, Any]) -> None:
    """Pillow reads texts as Latin-1, whatever they are, and would write '?' for all that is no ASCII."""
    for tag, value in list(folder.items()):
        if isinstance(value, str) and not value.isascii():
            folder[tag] = value.encode("latin-1", "replace")


def resized(found: Carried, width: int, height: int, *, software: str) -> Carried:
    """The same for a picture of another size that is upright now: dimensions and orientation put right.

    How close pixels stand stays as it is: an enlarged picture prints so much larger, as sharp as the first one.
    `software` becomes EXIF's Software: it says who made the file.
    """
    exif = Image.Exif()
    try:
        if found.exif:
            exif.load(found.exif)
        exif[Base.Software] = software
        exif.pop(Base.Orientation, None)
        if Base.ImageWidth in exif or Base.ImageLength in exif:
            exif[Base.ImageWidth], exif[Base.ImageLength] = width, height
        if found.dpi is not None:
            exif[Base.XResolution], exif[Base.YResolution] = found.dpi
            exif[Base.ResolutionUnit] = _INCH
        photo = exif.get_ifd(IFD.Exif)
        if Base.ExifImageWidth in photo or Base.ExifImageHeight in photo:
            photo[Base.ExifImageWidth], photo[Base.ExifImageHeight] = width, height
        data = _as_bytes(exif)
    except Exception as error:  # noqa: BLE001 - as above
        found = found.without(f"its EXIF cannot be written and is left out: {error}")
        exif = Image.Exif()
        exif[Base.Software] = software
        data = _as_bytes(exif)
    xmp = found.xmp
    if xmp:
        numbers = {"width": b"%d" % width, "height": b"%d" % height, "one": b"1"}
        for name, which in _XMP_NUMBERS:
            # As an attribute, and as an element.
            xmp = re.sub(rb"(" + name + rb"\s*=\s*[\"'])\d+", rb"\g<1>" + numbers[which], xmp)
            xmp = re.sub(rb"(<" + name + rb"\s*>\s*)\d+", rb"\g<1>" + numbers[which], xmp)
    return replace(found, exif=data, xmp=xmp, software=software)


def with_comment(found: Carried) -> Carried:
    """For formats without text chunks: `parameters` as EXIF's UserComment, as the Stable Diffusion web UI does."""
    if "parameters" not in found.text:
        return found
    exif = Image.Exif()
    if found.exif:
        exif.load(found.exif)
    if _user_comment(exif) != found.text["parameters"]:
        comment = _UNICODE + found.text["parameters"].encode("utf-16-be", "replace")
        exif.get_ifd(IFD.Exif)[Base.UserComment] = comment
    return replace(found, exif=_as_bytes(exif))


def parameters_of(image: Image.Image) -> str | None:
    """The web UI's `parameters` in EXIF's UserComment, if that is what it holds."""
    return _if_parameters(_user_comment(image.getexif()))


def comment_in(comment: bytes) -> tuple[str | None, str | None]:
    """Of a UserComment as it stands in the file: the same, and the JSON of another program."""
    text = _comment_text(comment)
    return _if_parameters(text), text if text.lstrip().startswith("{") else None


def _if_parameters(comment: str | None) -> str | None:
    return comment if comment and re.search(r"\bSteps: \d", comment) else None


def software_of(image: Image.Image) -> str:
    """EXIF's Software as the header has it, or an empty text. Decodes no pixels."""
    try:
        if image.format != "PNG":
            return str(image.getexif().get(Base.Software, ""))
        exif = Image.Exif()  # getexif() would read a PNG to its end for it
        exif.load(image.info.get("exif", b""))
        return str(exif.get(Base.Software, ""))
    except Exception:  # noqa: BLE001 - as above
        return ""


def _user_comment(exif: Image.Exif) -> str | None:
    comment = exif.get_ifd(IFD.Exif).get(Base.UserComment) or exif.get(Base.UserComment)
    if not isinstance(comment, bytes):
        return comment if isinstance(comment, str) else None
    return _comment_text(comment)


def _comment_text(comment: bytes) -> str:
    """EXIF 2.32 names an encoding in eight bytes; programs differ in what they write behind 'UNICODE'.

    The web UI writes big-endian, others little-endian, with a mark, or UTF-8. The reading is right that finds what a
    picture's text must have: 'Steps: ', or the brace of JSON at its beginning.
    """
    code, body = comment[:8], comment[8:]
    if code == b"JIS\0\0\0\0\0":
        return body.decode("iso2022_jp", "replace")
    if code == b"ASCII\0\0\0":
        return body.decode("utf-8", "replace")
    if code not in (_UNICODE, bytes(8)):
        return comment.decode("utf-8", "replace")
    for mark, order in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"), (b"\xef\xbb\xbf", "utf-8")):
        if body.startswith(mark):
            return body[len(mark) :].decode(order, "replace")
    orders = ("utf-16-be", "utf-16-le", "utf-8")
    read = [body.decode(order, "replace") for order in orders]
    found = next((text for text in read if "Steps: " in text or text.lstrip().startswith("{")), None)
    # Else Latin letters tell.
    return read[1 if body[1:2] == b"\0" and body[:1] != b"\0" else 0] if found is None else found
