"""PNG chunk by chunk (ISO/IEC 15948)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from hotfolder.errors import TruncatedImage
from hotfolder.imaging.texts import PNG

#: What to do about a picture that is damaged, whatever its format.
REMEDY = "is it complete? Open it in a viewer; save it again and drop it anew"


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


#: Chunks without which the picture, or that it moves, would be another; damage in them is the picture's.
_OF_THE_PICTURE = (b"tRNS", b"acTL", b"fcTL", b"fdAT")
#: What has one length alone.
_LENGTHS = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"pHYs": 9}
_NAMES = {b"iCCP": "colour profile", b"eXIf": "EXIF", b"tEXt": "text", b"zTXt": "text", b"iTXt": "text"}


def sieved(data: bytes, most: int) -> tuple[bytes, tuple[str, ...]]:
    """The file without metadata that is damaged, or too much: more than `most` bytes unpacked; and notes of that.

    What it shows does not depend on them, but decoders refuse the whole file. Damage in the pixels is left to them.
    """
    kept: list[bytes] = []
    notes: dict[str, None] = {}
    at, begin, held = len(PNG), 0, 0
    while at + 12 <= len(data):
        (size,) = struct.unpack_from(">I", data, at)
        kind, end = data[at + 4 : at + 8], at + 12 + size
        if end > len(data) or kind == b"IEND":
            break
        if kind[0] & 0x20 and kind not in _OF_THE_PICTURE:
            unpacked = _size_of(kind, data, at, end, most - held)
            if unpacked is None or held + unpacked > most:
                why = "is damaged" if unpacked is None else f"is too large (of all, {most:,} bytes are read)"
                notes[f"its {_NAMES.get(kind, kind.decode('latin-1'))} {why}, and is not read"] = None
                kept.append(data[begin:at])
                begin = end
            else:
                held += unpacked
        at = end
    return (b"".join((*kept, data[begin:])) if kept else data), tuple(notes)


def _size_of(kind: bytes, data: bytes, at: int, end: int, most: int) -> int | None:
    """Bytes of a chunk's content, unpacked; more than `most` is `most` + 1. None for a damaged one."""
    (told,) = struct.unpack_from(">I", data, end - 4)
    if (
        zlib.crc32(memoryview(data)[at + 4 : end - 4]) != told
        or _LENGTHS.get(kind, end - at - 12) != end - at - 12
    ):
        return None
    if kind not in (b"iCCP", b"zTXt", b"iTXt"):
        return end - at - 12
    name, _, rest = data[at + 8 : end - 4].partition(b"\0")
    if kind == b"iTXt":
        if rest[:1] != b"\1":
            return end - at - 12
        packed = rest[2:].split(b"\0", 2)[-1]
    else:
        packed = rest[1:]
    if rest[:1] != b"\0" and kind != b"iTXt":
        return None  # a method that there is none of
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(packed, most + 1)
    except zlib.error:
        return None
    if not unpacker.eof and len(content) <= most:
        return None
    return len(name) + len(content)


def check_critical(name: str, data: bytes) -> None:
    """Pillow passes over the checksums of PNG's pixels (ISO/IEC 15948, 5.3): whether damage shows is chance.

    Only the critical chunks, whose names begin with a capital: damaged metadata costs the metadata.
    """
    position = 8
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        kind, end = data[position + 4 : position + 8], position + 8 + length
        if end + 4 > len(data):
            break
        if not kind[0] & 0x20:
            (told,) = struct.unpack_from(">I", data, end)
            if zlib.crc32(memoryview(data)[position + 4 : end]) != told:
                raise TruncatedImage(f"{name} is damaged: the checksum of its {kind!r} is wrong", REMEDY)
        if kind == b"IEND":
            return
        position = end + 4
    raise TruncatedImage(f"{name} ends before its end", REMEDY)
