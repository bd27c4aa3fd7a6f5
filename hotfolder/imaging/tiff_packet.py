"""Another XMP packet in a TIFF, of which a DNG is one: behind all that is there, whose every byte stays where it is.

TIFF 6.0 and its kind for large files (BigTIFF): the packet and a new copy of the first folder, which names it, are put
behind the end, and the header names that folder from then on. XMP specification, part 3, 1.1.4: tag 700.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

#: What a TIFF begins with: of either order of bytes, usual and large.
BEGINNINGS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_XMP, _BYTE = 700, 1
_BYTES = (1, 7)
#: Before a packet of ours: with the next one it is taken away, so that the file does not grow with each.
_OURS = b"hotfolder-xmp-01"
_MOST_ENTRIES = 4096
_MOST_BYTES = 2**32 - 1


@dataclass(frozen=True, slots=True)
class _Kind:
    """How the numbers of a TIFF are written."""

    order: str
    header: int  # where the header names the first folder
    offset: str  # an offset, and a count
    count: str  # how many entries a folder has
    inline: int  # bytes of a value that stands in its entry

    @property
    def entry(self) -> str:
        """Tag, type, count, value."""
        return f"{self.order}HH{self.offset}{self.inline}s"


def tiff_with_packet(data: bytes, change: Callable[[bytes | None], bytes]) -> bytes:
    """The file with `change` applied to its packet, or to None. Raises ValueError, struct.error."""
    kind = _kind_of(data)
    at = _number(data, kind, kind.header)
    entries, next_folder = _folder(data, kind, at)
    packet = _packet(data, kind, entries)
    ours = _our_end(data, kind, entries)
    kept = data if ours is None else data[:ours]
    new = change(packet)
    body = kept + b"\0" * (-len(kept) % 8) + _OURS
    where = len(body)
    body += new + b"\0" * (-len(new) % 8)
    entry = struct.pack(kind.entry, _XMP, _BYTE, len(new), _as_offset(kind, where))
    # Entries stand in the order of their tags (TIFF 6.0, section 2).
    others = [each for each in entries if each[0] != _XMP]
    before = [raw for tag, raw in others if tag < _XMP]
    behind = [raw for tag, raw in others if tag > _XMP]
    folder = struct.pack(f"{kind.order}{kind.count}", len(others) + 1) + b"".join([*before, entry, *behind])
    folder += struct.pack(f"{kind.order}{kind.offset}", next_folder)
    first = len(body)
    if kind.inline == 4 and first + len(folder) > _MOST_BYTES:
        raise ValueError("it would be larger than a TIFF may be")
    header = struct.pack(f"{kind.order}{kind.offset}", first)
    return body[: kind.header] + header + body[kind.header + len(header) :] + folder


def _kind_of(data: bytes) -> _Kind:
    order = {b"II": "<", b"MM": ">"}[data[:2]]
    if struct.unpack_from(f"{order}H", data, 2)[0] == 42:
        return _Kind(order, 4, "I", "H", 4)
    if struct.unpack_from(f"{order}HH", data, 4) != (8, 0):
        raise ValueError("its header is not as usual")
    return _Kind(order, 8, "Q", "Q", 8)


def _number(data: bytes, kind: _Kind, at: int) -> int:
    return int(struct.unpack_from(f"{kind.order}{kind.offset}", data, at)[0])


def _as_offset(kind: _Kind, value: int) -> bytes:
    return struct.pack(f"{kind.order}{kind.offset}", value)


def _folder(data: bytes, kind: _Kind, at: int) -> tuple[list[tuple[int, bytes]], int]:
    """(tag, entry) of each, and where the next folder is."""
    (count,) = struct.unpack_from(f"{kind.order}{kind.count}", data, at)
    if not 0 < count <= _MOST_ENTRIES:
        raise ValueError(f"its first folder has {count} entries")
    size, at = struct.calcsize(kind.entry), at + struct.calcsize(f"{kind.order}{kind.count}")
    raw = [data[start : start + size] for start in range(at, at + count * size, size)]
    if len(raw[-1]) < size:
        raise ValueError("it ends in the middle of its first folder")
    entries = [(int(struct.unpack_from(f"{kind.order}H", each)[0]), each) for each in raw]
    return entries, _number(data, kind, at + count * size)


def _packet(data: bytes, kind: _Kind, entries: list[tuple[int, bytes]]) -> bytes | None:
    span = _span(kind, entries)
    if span is None:
        return None
    where, length = span
    if where + length > len(data):
        raise ValueError("its XMP lies behind its end")
    return data[where : where + length].rstrip(b"\0") or None


def _span(kind: _Kind, entries: list[tuple[int, bytes]]) -> tuple[int, int] | None:
    """Where the packet is, and how long."""
    raw = next((raw for tag, raw in entries if tag == _XMP), None)
    if raw is None:
        return None
    _, type_, length, value = struct.unpack(kind.entry, raw)
    if type_ not in _BYTES:
        raise ValueError("its XMP is not as usual")
    if length <= kind.inline:
        return None
    return int(struct.unpack(f"{kind.order}{kind.offset}", value)[0]), int(length)


def _our_end(data: bytes, kind: _Kind, entries: list[tuple[int, bytes]]) -> int | None:
    """Where what was put behind the end before begins: a packet of ours, and the folder behind it, to the very end."""
    span = _span(kind, entries)
    if span is None:
        return None
    where, length = span
    folder = where + length + -(where + length) % 8
    size = struct.calcsize(f"{kind.order}{kind.count}{kind.offset}") + len(entries) * struct.calcsize(kind.entry)
    is_last = _number(data, kind, kind.header) == folder and folder + size == len(data)
    if data[where - len(_OURS) : where] == _OURS and is_last:
        return where - len(_OURS)
    return None
