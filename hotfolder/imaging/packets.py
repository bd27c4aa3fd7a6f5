"""Another XMP packet in an image file, whose every other byte stays: pixels are neither decoded nor encoded.

PNG: chunks (PNG specification, iTXt with the keyword of XMP part 3). JPEG: segments (ISO 10918-1, APP1). WebP: chunks
of a RIFF file; the simple kinds become the extended one, which announces its XMP (RFC 9649). TIFF: see tiff_packet.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from hotfolder.imaging.mpf import SIGNATURE as MPF
from hotfolder.imaging.mpf import moved
from hotfolder.imaging.png import png_chunk, png_chunks
from hotfolder.imaging.texts import JPEG_XMP, PNG, PNG_XMP, international
from hotfolder.imaging.tiff_packet import BEGINNINGS, tiff_with_packet

_KEYWORD = PNG_XMP.encode() + b"\0"
#: Bytes that a JPEG segment holds beside its length.
_SEGMENT = 65_533
_WEBP_HAS_XMP, _WEBP_HAS_ALPHA = 0x04, 0x10

Change = Callable[[bytes | None], bytes]


def with_packet(data: bytes, change: Change) -> bytes:
    """The file with `change` applied to its packet, or to None where it has none.

    Raises ValueError for a format, or a file, that has no place for it.
    """
    try:
        if data.startswith(PNG):
            return _png(data, change)
        if data.startswith(b"\xff\xd8\xff"):
            return _jpeg(data, change)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp(data, change)
        if data.startswith(BEGINNINGS):
            return tiff_with_packet(data, change)
    except (IndexError, struct.error) as error:
        raise ValueError(f"it is cut off: {error}") from None
    raise ValueError("it is no PNG, JPEG, WebP or TIFF")


def _png(data: bytes, change: Change) -> bytes:
    parts: list[bytes] = []
    at = None  # where the packet goes
    packet = None
    for kind, body, whole in png_chunks(data):
        if kind == b"iTXt" and body.startswith(_KEYWORD):
            at, packet = len(parts), international(body[len(_KEYWORD) :])
            continue
        if kind == b"IDAT" and at is None:
            at = len(parts)
        parts.append(whole)
    if at is None:
        raise ValueError("it has no pixels")
    body = _KEYWORD + b"\0\0\0\0" + change(packet)
    return PNG + b"".join([*parts[:at], png_chunk(b"iTXt", body), *parts[at:]])


def _jpeg(data: bytes, change: Change) -> bytes:
    at, insert = 2, 2
    found: tuple[int, int] | None = None  # the segment with the packet
    pictures = None  # where the list of further pictures begins, behind its signature
    while data[at : at + 1] == b"\xff":
        marker = data[at + 1]
        if marker == 0xFF:  # a filling byte
            at += 1
            continue
        if marker in (0xDA, 0xD9):  # the pixels, the end
            break
        (size,) = struct.unpack_from(">H", data, at + 2)
        end = at + 2 + size
        if end > len(data) or size < 2:
            raise ValueError("it ends in the middle of a segment")
        if marker == 0xE1 and data.startswith(JPEG_XMP, at + 4) and found is None:
            found = (at, end)
        elif marker == 0xE2 and data.startswith(MPF, at + 4) and pictures is None:
            pictures = at + 4 + len(MPF)
        if marker in (0xE0, 0xE1):
            insert = end
        at = end
    begin, end = found or (insert, insert)
    packet = data[begin + 4 + len(JPEG_XMP) : end] if found else None
    body = JPEG_XMP + change(packet)
    if len(body) > _SEGMENT:
        raise ValueError("its XMP would be too large for a JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
    added = len(segment) - (end - begin)
    new = data[:begin] + segment + data[end:]
    return new if pictures is None or not added else moved(new, pictures, end, added)


def _webp(data: bytes, change: Change) -> bytes:
    chunks: list[tuple[bytes, bytes]] = []
    at, packet = 12, None
    while at + 8 <= len(data):
        kind, (size,) = data[at : at + 4], struct.unpack_from("<I", data, at + 4)
        body = data[at + 8 : at + 8 + size]
        if len(body) < size:
            raise ValueError("it ends in the middle of a chunk")
        if kind == b"XMP ":
            packet = body
        else:
            chunks.append((kind, body))
        at += 8 + size + size % 2
    if chunks[0][0] != b"VP8X":
        chunks.insert(0, (b"VP8X", _extended(*chunks[0])))
    flags = chunks[0][1]
    chunks[0] = (b"VP8X", bytes([flags[0] | _WEBP_HAS_XMP]) + flags[1:])
    chunks.append((b"XMP ", change(packet)))
    body = b"WEBP" + b"".join(
        kind + struct.pack("<I", len(each)) + each + b"\0" * (len(each) % 2) for kind, each in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _extended(kind: bytes, pixels: bytes) -> bytes:
    """What the extended kind says first, of a simple one: whether there is alpha, and the size less one."""
    if kind == b"VP8L" and pixels[0] == 0x2F:  # RFC 9649, 3.4
        (bits,) = struct.unpack_from("<I", pixels, 1)
        width, height, alpha = bits & 0x3FFF, bits >> 14 & 0x3FFF, bits >> 28 & 1
    elif kind == b"VP8 " and pixels[3:6] == b"\x9d\x01\x2a":  # RFC 6386, 9.1
        width, height = ((side & 0x3FFF) - 1 for side in struct.unpack_from("<HH", pixels, 6))
        alpha = 0
    else:
        raise ValueError("its pixels are not as usual")
    sides = width.to_bytes(3, "little") + height.to_bytes(3, "little")
    return bytes([_WEBP_HAS_ALPHA * alpha, 0, 0, 0]) + sides
