"""PNG chunk by chunk (ISO/IEC 15948)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from hotfolder.imaging.texts import PNG


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """A whole chunk, with its length and checksum."""
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """(type, content, the whole chunk); what follows the end of the image is one more, without a type.

    Raises ValueError where the file ends in the middle of a chunk.
    """
    at = len(PNG)
    while at + 12 <= len(data):
        (size,) = struct.unpack_from(">I", data, at)
        end = at + 12 + size
        if end > len(data):
            raise ValueError("it ends in the middle of a chunk")
        kind = data[at + 4 : at + 8]
        yield kind, data[at + 8 : end - 4], data[at:end]
        at = end
        if kind == b"IEND":
            break
    if at < len(data):
        yield b"", b"", data[at:]


def before_the_pixels(data: bytes, wanted: frozenset[bytes]) -> dict[bytes, bytes]:
    """The contents of these chunks, as far as they stand before the pixels; of several the first."""
    found: dict[bytes, bytes] = {}
    at = len(PNG)
    while at + 12 <= len(data):
        (size,) = struct.unpack_from(">I", data, at)
        kind = data[at + 4 : at + 8]
        if kind == b"IDAT":
            break
        if kind in wanted:
            found.setdefault(kind, data[at + 8 : at + 8 + size])
        at += 12 + size
    return found
