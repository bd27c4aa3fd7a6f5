"""What a PNG, JPEG or WebP file says in words: read part by part, never its pixels, whatever its size.

No more is held than a few MiB, and no more than so many parts are looked at: anybody may have made the file. Only the
parts with words are read; over all others it is sought. PNG: ISO/IEC 15948, tEXt, zTXt, iTXt, eXIf. JPEG: ISO 10918-1,
APP1. WebP: RFC 9649. EXIF 2.32: UserComment alone.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass, field
from typing import BinaryIO

PNG = b"\x89PNG\r\n\x1a\n"
JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0"
PNG_XMP = "XML:com.adobe.xmp"
_JPEG_EXIF = b"Exif\0\0"
#: PNG's texts that are wanted, by their keywords: the web UI's and ours, then those of other programs.
_WANTED = (
    "parameters", "hotfolder", PNG_XMP, "prompt", "workflow", "invokeai_metadata", "sd-metadata", "Dream",
    "invokeai_graph", "Software", "Source", "Comment", "fooocus_scheme",
)  # fmt: skip
#: Bytes of one text, unpacked, and of one part that holds some: more is no description. And of all that is kept.
MOST_TEXT = 2**20
_MOST_TOGETHER = 3 * MOST_TEXT
#: Parts that are looked at: of a byte each, they could go on for hours.
_MOST_PARTS = 100_000
_EXIF_IFD, _USER_COMMENT = 0x8769, 0x9286
#: Where ComfyUI writes 'prompt:{…}' and 'workflow:{…}' in WebP: Make and Model, of all tags.
_CAMERA = (0x010F, 0x0110)
#: Bytes of one value of each EXIF type.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}


@dataclass(slots=True)
class Texts:
    """Those of one file."""

    named: dict[str, str] = field(default_factory=dict)  # a PNG's, by their keywords; what else is named so
    comment: bytes = b""  # EXIF's UserComment, as it stands there
    packet: bytes = b""  # XMP


def texts_of(file: BinaryIO) -> Texts:
    """Raises ValueError for what is none of the three, or damaged; OSError."""
    size = os.fstat(file.fileno()).st_size
    file.seek(0)
    head = file.read(16)
    try:
        if head.startswith(PNG):
            return _png(file)
        if head.startswith(b"\xff\xd8\xff"):
            return _jpeg(file)
        if head[:4] == b"RIFF" and head[8:15] == b"WEBPVP8":
            return _webp(file, size)
    except struct.error:
        raise ValueError("it ends before its end") from None
    raise ValueError("it is no PNG, JPEG or WebP")


def _png(file: BinaryIO) -> Texts:
    found, held = Texts(), 0
    file.seek(len(PNG))
    for _ in range(_MOST_PARTS):
        size, kind = struct.unpack(">I4s", file.read(8))
        if kind == b"IEND":
            break
        after = file.tell() + size + 4
        if kind == b"eXIf" and size <= MOST_TEXT:
            _look_into(found, file.read(size))
        elif kind in (b"tEXt", b"zTXt", b"iTXt") and size <= MOST_TEXT:
            keyword, _, rest = file.read(size).partition(b"\0")
            name = keyword.decode("latin-1")
            if name in _WANTED and name not in found.named and held < _MOST_TOGETHER:
                found.named[name] = _text(kind, rest)
                held += len(found.named[name])
        file.seek(after)
    found.packet = found.named.pop(PNG_XMP, "").encode()
    return found


def _text(kind: bytes, rest: bytes) -> str:
    """What follows the keyword: text; or a method and packed text; or as in iTXt."""
    if kind == b"iTXt":
        return international(rest).decode("utf-8", "replace")
    return (_unpacked(rest[1:]) if kind == b"zTXt" else rest).decode("latin-1")


def international(rest: bytes) -> bytes:
    """The text of an iTXt: behind two flags, a language and a translated keyword, each ended by 0.

    Raises ValueError as `texts_of`.
    """
    body = rest[2:].split(b"\0", 2)[-1]
    return _unpacked(body) if rest[:1] == b"\1" else body


def _unpacked(packed: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(packed, MOST_TEXT)
    except zlib.error as error:
        raise ValueError(f"a text in it is damaged: {error}") from None
    if not unpacker.eof and len(text) < MOST_TEXT:
        raise ValueError("a text in it is damaged: it is cut off")
    return text if unpacker.eof else b""  # too long: the others are what is wanted


def _jpeg(file: BinaryIO) -> Texts:
    found, exif = Texts(), b""
    file.seek(2)
    for _ in range(_MOST_PARTS):
        mark, kind = struct.unpack("BB", file.read(2))
        if mark != 0xFF:
            raise ValueError("a segment does not begin where it should")
        if kind == 0xFF:  # fills up
            file.seek(-1, os.SEEK_CUR)
            continue
        if kind in (0xDA, 0xD9):  # the pixels, the end
            break
        if kind == 0x01 or 0xD0 <= kind <= 0xD8:  # without a content
            continue
        (size,) = struct.unpack(">H", file.read(2))
        if size < 2:
            raise ValueError("a segment is shorter than its length")
        after = file.tell() + size - 2
        if kind == 0xE1:
            body = file.read(size - 2)
            if body.startswith(_JPEG_EXIF) and len(exif) < MOST_TEXT:
                exif += body[len(_JPEG_EXIF) :]  # goes on in a segment of its own where it is long
            elif body.startswith(JPEG_XMP):
                found.packet = found.packet or body[len(JPEG_XMP) :]
        file.seek(after)
    _look_into(found, exif)
    return found


def _webp(file: BinaryIO, whole: int) -> Texts:
    found = Texts()
    at = 12
    for _ in range(_MOST_PARTS):
        if at + 8 > whole:
            break
        file.seek(at)
        kind, size = struct.unpack("<4sI", file.read(8))
        at += 8 + size + size % 2
        if at - size % 2 > whole:
            raise ValueError("it ends before its end")
        if size > MOST_TEXT:
            continue
        if kind == b"EXIF":
            _look_into(found, file.read(size).removeprefix(_JPEG_EXIF))
        elif kind == b"XMP ":
            found.packet = file.read(size)
    return found


def _look_into(found: Texts, exif: bytes) -> None:
    """EXIF's UserComment, and what ComfyUI writes; nothing where there is none, or where that is not to be found."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return
    try:
        (first,) = struct.unpack_from(f"{order}I", exif, 4)
        for tag in _CAMERA:
            name, colon, text = _value(exif, order, first, tag).rstrip(b"\0").partition(b":")
            if colon and name.lower() in (b"prompt", b"workflow"):
                found.named[name.lower().decode()] = text.decode("utf-8", "replace")
        found.comment = _value(exif, order, first, _USER_COMMENT)  # some write it there
        pointer = _value(exif, order, first, _EXIF_IFD)
        if len(pointer) == 4 and not found.comment:
            found.comment = _value(exif, order, struct.unpack(f"{order}I", pointer)[0], _USER_COMMENT)
    except struct.error:
        return


def _value(exif: bytes, order: str, at: int, wanted: int) -> bytes:
    """A tag's value in the directory that begins there; nothing where it has none. Raises struct.error."""
    (count,) = struct.unpack_from(f"{order}H", exif, at)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, number = struct.unpack_from(f"{order}HHI", exif, entry)
        if tag == wanted:
            size, place = _SIZES.get(kind, 0) * number, entry + 8
            if size > 4:
                (place,) = struct.unpack_from(f"{order}I", exif, place)
            return exif[place : place + size]
    return b""
