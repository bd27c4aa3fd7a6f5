"""JPEG marker by marker (ISO 10918-1): how many scans there are, and whether the last one is whole."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

END = b"\xff\xd9"
#: A marker with a content, or the end; in what is coded, no other bytes look like one.
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
#: What is put in the place of an end: each makes other pixels of what is missing, none of what is there.
_FILLINGS = tuple(bytes([one]) * 64 for one in (0x00, 0x55, 0xAA, 0xCC, 0x33, 0xF0, 0x7E, 0x92))
_COEFFICIENTS = 64


@dataclass
class Walk:
    """What its markers say."""

    scans: int = 0
    ends: bool = False
    is_progressive: bool = False
    #: By component, for each coefficient how many of its lowest bits have not been sent yet; -1: not sent at all.
    left: dict[int, list[int]] = field(default_factory=dict)

    @property
    def is_refined(self) -> bool:
        """Whether nothing is left for scans that may be missing."""
        return all(bits == 0 for each in self.left.values() for bits in each)


def walk(data: bytes, most_scans: int) -> Walk:
    """From the first marker to the end of the picture, or to one scan more than `most_scans`."""
    found, at = Walk(), 2
    while (marker := _MARKER.search(data, at)) is not None:
        kind, at = data[marker.end() - 1], marker.end()
        if kind == 0xD9:
            found.ends = True
            break
        body = data[at + 2 : at + int.from_bytes(data[at : at + 2], "big")]
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            found.is_progressive = kind in (0xC2, 0xC6, 0xCA, 0xCE)
            found.left = {component: [-1] * _COEFFICIENTS for component in body[6::3]}
        if kind == 0xDA:
            found.scans += 1
            if found.scans > most_scans:
                break
            _sent(found, body)
        at += int.from_bytes(data[at : at + 2], "big")
    return found


def _sent(found: Walk, body: bytes) -> None:
    """A scan's header: its components, which coefficients, and the lowest bit of theirs that it brings."""
    if not body or len(body) < 4 + 2 * body[0]:
        return
    first, last, bits = body[1 + 2 * body[0] : 4 + 2 * body[0]]
    if not found.is_progressive:
        first, last, bits = 0, _COEFFICIENTS - 1, 0
    for component in body[1 : 1 + 2 * body[0] : 2]:
        if component in found.left:
            found.left[component][first : last + 1] = [bits & 15] * len(found.left[component][first : last + 1])


def with_end(data: bytes, found: Walk) -> bytes | None:
    """A JPEG without its end marker, or with zeros there, with one; None where pixels are missing, too.

    A decoder makes up what is missing and does not say so. So what comes last is filled in several ways: where every
    pixel is there, that changes none.
    """
    if not found.scans or not found.is_refined:
        return None
    coded = data.rstrip(b"\0")
    if coded.endswith(b"\xff"):
        # Half of the end marker; or, before zeros, a byte that is coded as FF 00.
        coded = coded + b"\0" if len(coded) < len(data) else coded[:-1]
    first, *others = (coded + filling + END for filling in _FILLINGS)
    expected = _pixels(first)
    same = all(np.array_equal(_pixels(other), expected) for other in others)
    return coded + END if same else None


def _pixels(data: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        return np.asarray(image)
