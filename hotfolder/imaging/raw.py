"""The picture that a camera's RAW file carries ready-made: what its own screen, and every file manager, shows.

Each maker has a container of its own, but all put a whole JPEG into it. That one is looked for, whatever is around it.
"""

from __future__ import annotations

import re
import struct

from hotfolder.core.pictures import RAW, ending_of

#: What RAW files begin with; those that look like a TIFF are known by their ending.
_BEGINNINGS = (b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FUJIFILMCCD-RAW", b"FOVb", b"\0MRM", b"II\x1a\0\0\0HEAPCCDR")
_CANON = re.compile(rb"II\*\0....CR", re.DOTALL)
_START = b"\xff\xd8\xff"
#: JPEGs that are looked at in one file: cameras put three or four into it.
_MOST = 64
#: Parts of one of them: a progressive one has a few dozen.
_MOST_PARTS = 10_000
#: The marker behind what is coded (ISO 10918-1, B.1.1): all but a stuffed zero and restarts.
_BEHIND = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
#: Frames that are pictures: baseline, extended, progressive. Lossless ones are what the sensor saw.
_FRAMES = frozenset((0xC0, 0xC1, 0xC2))
_ORIENTATION = 0x0112


def is_raw(name: str, data: bytes) -> bool:
    """Whether a file is a camera's, by its content or, where that is also a TIFF's, by its ending."""
    return (
        data.startswith(_BEGINNINGS)
        or data[4:12] == b"ftypcrx "
        or _CANON.match(data) is not None
        or (ending_of(name) in RAW and not data.startswith((_START, b"\x89PNG")))
    )


def preview(data: bytes) -> bytes | None:
    """The largest JPEG inside; None where there is none."""
    best, found = 0, None
    at = data.find(_START)
    for _ in range(_MOST):
        if at < 0:
            break
        pixels, end = _measure(data, at)
        if pixels > best:
            best, found = pixels, (at, end)
        # Inside of a JPEG lies at most its thumbnail.
        at = data.find(_START, end if pixels else at + 2)
    return data[found[0] : found[1]] if found else None


def orientation(data: bytes) -> int:
    """How the camera was held (EXIF 2.32, tag 0x0112), as the container says; 1 where it does not."""
    start = data.find(b"CMT1") + 4 if data[4:12] == b"ftypcrx " else 0
    order = {b"II": "<", b"MM": ">"}.get(data[start : start + 2])
    if order is None or (start == 0 and data[4:12] == b"ftypcrx "):
        return 1
    try:
        (first,) = struct.unpack_from(f"{order}I", data, start + 4)
        (count,) = struct.unpack_from(f"{order}H", data, start + first)
        for entry in range(count):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", data, start + first + 2 + 12 * entry)
            if tag == _ORIENTATION and kind == 3 and 1 <= value <= 8:
                return int(value)
    except struct.error:
        pass
    return 1


def _measure(data: bytes, start: int) -> tuple[int, int]:
    """(pixels, end) of the JPEG that begins there; no pixels where none does."""
    at, pixels = start + 2, 0
    for _ in range(_MOST_PARTS):
        if at + 2 > len(data) or data[at] != 0xFF:
            break
        kind = data[at + 1]
        if kind == 0xFF:
            at += 1
            continue
        if kind == 0xD9:
            return pixels, at + 2
        if not 0xC0 <= kind <= 0xFE or kind in (0xD8, 0xC8):
            return 0, start + 2
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xCC):
            if kind not in _FRAMES or data[at + 4 : at + 5] != b"\x08":
                return 0, start + 2
            pixels = int.from_bytes(data[at + 5 : at + 7], "big") * int.from_bytes(data[at + 7 : at + 9], "big")
        at += 2 + max(2, length)
        if kind == 0xDA:
            behind = _BEHIND.search(data, at)
            if behind is None:
                return pixels, len(data)
            at = behind.start()
    return 0, start + 2
