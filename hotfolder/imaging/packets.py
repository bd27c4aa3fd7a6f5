"""Another XMP packet in an image file, whose every other byte stays: pixels are neither decoded nor encoded.

PNG: chunks (PNG specification, iTXt with the keyword of XMP part 3). JPEG: segments (ISO 10918-1, APP1). WebP: chunks
of a RIFF file, the extended kind, which announces its XMP (RFC 9649).
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from hotfolder.imaging.png import png_chunk, png_chunks
from hotfolder.imaging.texts import JPEG_XMP, PNG, PNG_XMP, international

_KEYWORD = PNG_XMP.encode() + b"\0"
#: Bytes that a JPEG segment holds beside its length.
_SEGMENT = 65_533
_WEBP_HAS_XMP = 0x04

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
        if data[:4] == b"RIFF" and data[8:16] == b"WEBPVP8X":
            return _webp(data, change)
    except (IndexError, struct.error) as error:
        raise ValueError(f"it is cut off: {error}") from None
    raise ValueError("it is no PNG, JPEG or extended WebP")


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
    at, insert, packet = 2, 2, None
    while data[at : at + 1] == b"\xff":
        marker = data[at + 1]
        if marker in (0xDA, 0xD9):  # the pixels, the end
            break
        (size,) = struct.unpack_from(">H", data, at + 2)
        end = at + 2 + size
        if end > len(data) or size < 2:
            raise ValueError("it ends in the middle of a segment")
        body = data[at + 4 : end]
        if marker == 0xE1 and body.startswith(JPEG_XMP):
            packet = body[len(JPEG_XMP) :]
            data = data[:at] + data[end:]
            insert = at
            break
        if marker in (0xE0, 0xE1):
            insert = end
        at = end
    body = JPEG_XMP + change(packet)
    if len(body) > _SEGMENT:
        raise ValueError("its XMP would be too large for a JPEG")
    return data[:insert] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[insert:]


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
    flags = chunks[0][1]
    chunks[0] = (b"VP8X", bytes([flags[0] | _WEBP_HAS_XMP]) + flags[1:])
    chunks.append((b"XMP ", change(packet)))
    body = b"WEBP" + b"".join(
        kind + struct.pack("<I", len(each)) + each + b"\0" * (len(each) % 2) for kind, each in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body
