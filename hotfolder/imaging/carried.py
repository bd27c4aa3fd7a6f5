"""What a picture's file says beside its pixels, and how that is carried over to an enlarged one."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from PIL import Image, TiffTags
from PIL.ExifTags import IFD, Base

log = logging.getLogger(__name__)
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


@dataclass(frozen=True, slots=True)
class Carried:
    """Metadata of a picture. `text` are PNG text chunks; A1111's `parameters` and ours are among them."""

    icc: bytes | None = None
    exif: bytes | None = None  # without 'Exif\0\0'
    xmp: bytes | None = None
    text: Mapping[str, str] = field(default_factory=dict)
    software: str = ""  # who made the file


def carried(image: Image.Image) -> Carried:
    """What an opened and loaded image carries. Parts that cannot be read are left out, and logged."""
    xmp = image.info.get("xmp")
    text = {k: str(v) for k, v in getattr(image, "text", {}).items() if k != "XML:com.adobe.xmp"}
    try:
        exif = image.getexif().tobytes().removeprefix(b"Exif\0\0") if image.getexif() else None
        parameters = parameters_of(image)
    except Exception as error:  # noqa: BLE001 - a damaged EXIF block fails in any way it likes
        log.warning("EXIF cannot be read and is left out: %s", error)
        exif = parameters = None
    if parameters and "parameters" not in text:
        text["parameters"] = parameters
    return Carried(image.info.get("icc_profile"), exif, xmp.encode() if isinstance(xmp, str) else xmp, text)


def resized(found: Carried, width: int, height: int, *, software: str) -> Carried:
    """The same for a picture of another size that is upright now: dimensions and orientation put right.

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
        photo = exif.get_ifd(IFD.Exif)
        if Base.ExifImageWidth in photo or Base.ExifImageHeight in photo:
            photo[Base.ExifImageWidth], photo[Base.ExifImageHeight] = width, height
        data = exif.tobytes().removeprefix(b"Exif\0\0")
    except Exception as error:  # noqa: BLE001 - as above
        log.warning("EXIF cannot be written and is left out: %s", error)
        exif = Image.Exif()
        exif[Base.Software] = software
        data = exif.tobytes().removeprefix(b"Exif\0\0")
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
    return replace(found, exif=exif.tobytes().removeprefix(b"Exif\0\0"))


def parameters_of(image: Image.Image) -> str | None:
    """The web UI's `parameters` in EXIF's UserComment, if that is what it holds."""
    return _if_parameters(_user_comment(image.getexif()))


def parameters_in(comment: bytes) -> str | None:
    """The same in a UserComment as it stands in the file."""
    return _if_parameters(_comment_text(comment))


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
    comment = exif.get_ifd(IFD.Exif).get(Base.UserComment)
    if not isinstance(comment, bytes):
        return comment if isinstance(comment, str) else None
    return _comment_text(comment)


def _comment_text(comment: bytes) -> str:
    if comment.startswith(_UNICODE):
        body = comment[len(_UNICODE) :]
        # Big-endian as the web UI writes it; little-endian is seen, too: Latin letters tell which.
        order = "utf-16-le" if body[1:2] == b"\0" and body[:1] != b"\0" else "utf-16-be"
        return body.decode(order, "replace")
    return comment.removeprefix(b"ASCII\0\0\0").decode("utf-8", "replace")
