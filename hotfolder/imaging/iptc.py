"""IPTC's older captions (IIM 4.2), which stand beside the EXIF of press and archive pictures."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from typing import Any

from PIL import Image, TiffTags

#: The name under which ImageMagick and ExifTool put it into a PNG.
PNG_NAME = "Raw profile type iptc"
_PHOTOSHOP = b"Photoshop 3.0\0"
_RESOURCE, _TIFF_TAG = 0x0404, 33723
# Pillow expects one number, and would leave out the others.
TiffTags.TAGS_V2[_TIFF_TAG] = TiffTags.TagInfo(_TIFF_TAG, "IptcNaaInfo", TiffTags.BYTE, 0)


def iptc_of(image: Image.Image, text: Mapping[str, str]) -> bytes | None:
    """The block of a JPEG, TIFF or PNG, from its first data set on."""
    found: Any = None
    if image.format in ("JPEG", "MPO"):
        resources = image.info.get("photoshop")
        found = resources.get(_RESOURCE) if isinstance(resources, dict) else None
    elif image.format == "TIFF":
        tags: Any = getattr(image, "tag_v2", {})
        found = tags.get(_TIFF_TAG)
        if isinstance(found, tuple) and all(isinstance(number, int) for number in found):
            # As 32-bit numbers, in the order of bytes of whoever wrote it.
            orders = (struct.pack(f"{order}{len(found)}I", *found) for order in "<>")
            found = next((block for block in orders if block.startswith(b"\x1c")), None)
    elif image.format == "PNG" and PNG_NAME in text:
        found = _unwrapped(text[PNG_NAME])
    return found if isinstance(found, bytes) and found.startswith(b"\x1c") else None


def as_segment(block: bytes) -> bytes:
    """What stands in a JPEG's APP13."""
    return _PHOTOSHOP + b"8BIM" + struct.pack(">HHI", _RESOURCE, 0, len(block)) + block + bytes(len(block) % 2)


def as_png_text(block: bytes) -> str:
    digits = block.hex()
    lines = "\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    return f"\niptc\n{len(block):8}\n{lines}\n"


def _unwrapped(text: str) -> bytes | None:
    found = re.fullmatch(r"\s*\w+\s+\d+\s+([0-9a-fA-F\s]*)", text)
    try:
        block = bytes.fromhex(found[1]) if found else b""
    except ValueError:
        return None
    at = block.find(b"8BIM" + struct.pack(">H", _RESOURCE))  # ImageMagick keeps Photoshop's frame around it
    return block[at + 12 :] if at >= 0 else block


def fields_of(block: bytes) -> dict[int, list[str]]:
    """The texts of record 2 by number: 5 title, 25 keyword, 80 creator, 116 rights, 120 caption."""
    found: dict[int, list[str]] = {}
    at = 0
    while at + 5 <= len(block) and block[at] == 0x1C:
        record, number, size = struct.unpack_from(">BBH", block, at + 1)
        if size & 0x8000:  # an extended one: no text is so long
            break
        if record == 2:
            found.setdefault(number, []).append(_text(block[at + 5 : at + 5 + size]))
        at += 5 + size
    return found


def _text(body: bytes) -> str:
    """UTF-8, as 1:90 should say and often does not, else as older programs write."""
    try:
        return body.decode()
    except UnicodeDecodeError:
        return body.decode("latin-1")
