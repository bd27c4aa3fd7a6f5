"""What stands where in a picture, coarsely: 384 numbers by which copies of it are known again.

The picture is reduced to 32×32; of its lightness the 16×16 lowest frequencies are kept (discrete cosine transform, as
in JPEG and in perceptual hashes), of the two colour differences 8×8 each. Another size or format of a picture hardly
changes them; what a crop does to the lower ones can be computed from all.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.float32]

#: How embeddings of this kind are called in the database. Another way of making them has another name.
ENCODER = "layout/dct16+8+8-of-32/1"
SIDE = 32
#: Frequencies along each side, of lightness and of the two colour differences: those that are stored ...
_STORED = (16, 8, 8)
SIZE = sum(count**2 for count in _STORED)
#: ... and those that pictures are compared by.
_LOWEST = (12, 6, 6)
#: Where the mean colours stand among those that are stored.
_MEAN_COLOURS = (_STORED[0] ** 2, _STORED[0] ** 2 + _STORED[1] ** 2)
_WHOLE = (0.0, 1.0)


def layout_of(image: Image.Image) -> Array:
    """(384,) float32 of an RGB picture of any size; the means are in levels of 0 to 255."""
    small = image.resize((SIDE, SIDE), Image.Resampling.BOX, reducing_gap=2.0)
    red, green, blue = np.moveaxis(np.asarray(small, np.float32), -1, 0)
    light = 0.299 * red + 0.587 * green + 0.114 * blue
    planes = zip((light, blue - light, red - light), _STORED, strict=True)
    rows = [_cosines()[:count] @ plane @ _cosines()[:count].T / SIDE for plane, count in planes]
    return np.concatenate([row.ravel() for row in rows]).astype(np.float32)


def mean_colours(layouts: Array) -> Array:
    """(n, 2): how blue and how red pictures are on the whole, in levels of -255 to 255."""
    return layouts[:, list(_MEAN_COLOURS)]


def telling(layouts: Array, top: tuple[float, float] = _WHOLE, left: tuple[float, float] = _WHOLE) -> Array:
    """(n, 213): what pictures are compared by, without their means; of the whole, or of a part of each.

    The pairs are where the part begins, and how much of the height and the width it has; both as shares of it.
    """
    parts, start = [], 0
    for stored, lowest in zip(_STORED, _LOWEST, strict=True):
        plane = layouts[:, start : start + stored**2].reshape(-1, stored, stored)
        if (top, left) == (_WHOLE, _WHOLE):
            low = plane[:, :lowest, :lowest]
        else:
            part = _crop(*top, stored, lowest) @ plane @ _crop(*left, stored, lowest).T
            low = np.asarray(part, np.float32)
        parts.append(low.reshape(len(layouts), lowest**2)[:, 1:])
        start += stored**2
    return np.concatenate(parts, axis=1)


def spread() -> Array:
    """(213,): the variance that each of these has among pictures in general.

    It falls with about the square of the frequency. Fitted to drawn scenes and landscapes.
    """
    return np.concatenate([_falls(lowest, first) for lowest, first in zip(_LOWEST, (195, 340, 340), strict=True)])


def _falls(count: int, first: float) -> Array:
    frequency = np.hypot(*np.mgrid[0:count, 0:count]).ravel()[1:]
    return (first / frequency**2.2).astype(np.float32)


@cache
def _cosines() -> Array:
    """The orthonormal DCT-II."""
    frequency, place = np.mgrid[0:SIDE, 0:SIDE]
    matrix = np.cos(np.pi * (2 * place + 1) * frequency / (2 * SIDE)) * np.sqrt(2 / SIDE)
    matrix[0] /= np.sqrt(2)
    found: Array = matrix.astype(np.float32)
    return found


@cache
def _crop(begin: float, share: float, stored: int, lowest: int) -> Array:
    """(lowest, stored): how the lowest frequencies of a part follow from those that are stored, along one side."""
    places = np.clip((begin + (np.arange(SIDE) + 0.5) / SIDE * share) * SIDE - 0.5, 0, SIDE - 1)
    before = np.minimum(places.astype(int), SIDE - 2)
    line = np.zeros((SIDE, SIDE), np.float32)
    line[np.arange(SIDE), before] = 1 - (places - before)
    line[np.arange(SIDE), before + 1] += places - before
    return np.asarray(_cosines()[:lowest] @ line @ _cosines()[:stored].T, np.float32)


def stacked(vectors: Sequence[bytes], size: int) -> Array:
    """(n, size) float32 of embeddings as they are stored: float16, little-endian."""
    return np.frombuffer(b"".join(vectors), "<f2").reshape(-1, size).astype(np.float32)
