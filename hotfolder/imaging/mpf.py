"""The further pictures of a JPEG (CIPA DC-007, Multi-Picture Format): where they are is told in bytes."""

from __future__ import annotations

import struct

SIGNATURE = b"MPF\0"
_ENTRIES = 0xB002
_SIZE = 16
_MOST_TAGS, _MOST_PICTURES = 64, 1000


def moved(data: bytes, header: int, position: int, added: int) -> bytes:
    """The file, in which so many bytes were added at `position`, with its list of pictures put right.

    `header` is where the list began before, behind its signature: offsets count from there. The first picture is the
    file up to its own end, so that it has grown. Raises ValueError, struct.error.
    """
    at = header + (added if header >= position else 0)
    order = {b"II": "<", b"MM": ">"}.get(data[at : at + 2])
    if order is None:
        raise ValueError("its list of further pictures is not as usual")
    (folder,) = struct.unpack_from(f"{order}I", data, at + 4)
    (tags,) = struct.unpack_from(f"{order}H", data, at + folder)
    for number in range(min(tags, _MOST_TAGS)):
        tag, _, length, where = struct.unpack_from(f"{order}HHII", data, at + folder + 2 + 12 * number)
        if tag != _ENTRIES:
            continue
        changed = bytearray(data)
        for entry in range(min(length // _SIZE, _MOST_PICTURES)):
            place = at + where + entry * _SIZE
            size, offset = struct.unpack_from(f"{order}II", data, place + 4)
            if offset == 0:
                size += added
            elif header < position:  # the list stayed where it was, the picture did not
                offset += added
            struct.pack_into(f"{order}II", changed, place + 4, size, offset)
        return bytes(changed)
    return data
