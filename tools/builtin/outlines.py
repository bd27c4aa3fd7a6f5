"""Which shape is in a picture: judged by contours, knowing nothing of the networks or of how pictures are drawn."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

#: Points at which an outline is sampled, one every two degrees, from the right, clockwise (y points down).
DIRECTIONS = 180
#: A hole of this share of the outline's area makes a ring.
HOLE = 0.1
#: An outline is a shape's if it departs from it by at most this, root mean square, in mean radii.
LARGEST_DEPARTURE = 0.07
#: A shape smaller than this share of the picture is not looked at.
SMALLEST = 0.01

Mask = NDArray[np.uint8]
Outline = NDArray[np.float64]


def mask_of_shape(image: Image.Image) -> Mask:
    """(h, w) uint8, 255 where the picture is nearer to the shape's colour than to the background's.

    The background's colour is the median of the border; the shape's, that of what differs most from it.
    """
    pixels = np.asarray(image.convert("RGB"), np.float32)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    background = np.median(border, axis=0)
    distance = np.linalg.norm(pixels - background, axis=2)
    far = distance >= 0.5 * float(np.percentile(distance, 99.5))
    colour = np.median(pixels[far], axis=0)
    nearer = np.linalg.norm(pixels - colour, axis=2) < distance
    return nearer.astype(np.uint8) * 255


def outline_of(mask: Mask) -> tuple[Outline, float] | None:
    """The largest area's radius in each direction from its centre of mass, in mean radii, and its holes' share.

    None if no area has SMALLEST of the picture.
    """
    contours, hierarchy = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    outer = [i for i in range(len(contours)) if hierarchy[0][i][3] < 0]
    if not outer:
        return None
    largest = max(outer, key=lambda i: cv2.contourArea(contours[i]))
    area = cv2.contourArea(contours[largest])
    if area < SMALLEST * mask.size:
        return None
    holes = sum(cv2.contourArea(contours[i]) for i in range(len(contours)) if hierarchy[0][i][3] == largest)
    return _radii(contours[largest][:, 0, :].astype(np.float64)), holes / area


def _radii(points: NDArray[np.float64]) -> Outline:
    """(DIRECTIONS,) of a closed outline given as (n, 2) points x, y."""
    moments = cv2.moments(points.astype(np.float32).reshape(-1, 1, 2))
    centre = np.array([moments["m10"], moments["m01"]]) / moments["m00"]
    closed = np.concatenate([points, points[:1]]) - centre
    along = np.concatenate([np.linspace(a, b, 9)[:-1] for a, b in pairwise(closed)])
    angle = np.arctan2(along[:, 1], along[:, 0]) % (2 * np.pi)
    bins = np.minimum((angle / (2 * np.pi) * DIRECTIONS).astype(int), DIRECTIONS - 1)
    radii = np.zeros(DIRECTIONS)
    np.maximum.at(radii, bins, np.linalg.norm(along, axis=1))
    known = np.flatnonzero(radii)
    radii = np.interp(np.arange(DIRECTIONS), known, radii[known], period=DIRECTIONS)
    return radii / radii.mean()


def _regular(corners: int, first: float, inner: float = 1.0) -> NDArray[np.float64]:
    """Corners of a regular polygon, or of a star with `inner` radius between its tips; angles in degrees."""
    angles = np.radians(first + 360 / corners * np.arange(corners))
    radii = np.where(np.arange(corners) % 2, inner, 1.0)
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)


@cache
def _known_outlines() -> dict[str, Outline]:
    cross = np.array([(-1, -3), (1, -3), (1, -1), (3, -1), (3, 1), (1, 1)], float)
    t = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    corners = {
        "circle": _regular(120, 0),
        "square": _regular(4, 45),
        "triangle": _regular(3, -90),
        "star": _regular(10, -90, 0.4),
        "diamond": np.array([(0, -3), (2, 0), (0, 3), (-2, 0)], float),
        "cross": np.concatenate([cross, -cross]),
        "hexagon": _regular(6, 0),
        # https://mathworld.wolfram.com/HeartCurve.html, the sixth curve; y points down
        "heart": np.stack(
            [
                16 * np.sin(t) ** 3,
                -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)),
            ],
            axis=1,
        ),
    }
    return {name: _radii(points) for name, points in corners.items()}


def shape_seen(image: Image.Image) -> str | None:
    """The name of the shape in a picture of one flat shape on a flat background; None if it is none that is known."""
    found = outline_of(mask_of_shape(image))
    if found is None:
        return None
    outline, holes = found
    departures = {
        name: float(np.sqrt(np.mean((outline - known) ** 2))) for name, known in _known_outlines().items()
    }
    name = min(departures, key=departures.__getitem__)
    if departures[name] > LARGEST_DEPARTURE:
        return None
    if holes >= HOLE:
        return "ring" if name == "circle" else None
    return name
