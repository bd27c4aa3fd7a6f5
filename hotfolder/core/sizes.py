"""How large an enlarged image becomes, and by how many passes of the model."""

from __future__ import annotations

import math
from dataclasses import dataclass

#: So many times larger in each direction a picture of the line becomes, at most.
MOST_SCALE = 64
#: By so much more than the passes give, the last step is a resize instead of another pass, which would cost as much as
#: all before it, many times over.
TOLERANCE = 0.05
#: The same for a print: 240 of 300 dots an inch are the model's own, which at reading distance nobody can tell.
PRINT_TOLERANCE = 0.25


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked for: at most one of these; none is the model's own factor."""

    scale: float | None = None  # in each direction
    long_edge: int | None = None  # pixels
    megapixels: float | None = None  # millions of pixels
    paper: tuple[int, int] | None = (
        None  # pixels of a sheet that the whole picture fits on, turned as the picture is
    )

    @property
    def names_size(self) -> bool:
        """Whether it says how large the result is, whatever the picture was."""
        return self.long_edge is not None or self.megapixels is not None or self.paper is not None

    @property
    def tolerance(self) -> float:
        """How much more than the passes give is still reached by a resize, as a share."""
        return TOLERANCE if self.paper is None else PRINT_TOLERANCE


@dataclass(frozen=True, slots=True)
class Plan:
    """`passes` of the model, then a resize to `width` × `height` where that is not what they give."""

    passes: int
    width: int
    height: int
    scale: float  # asked for, in each direction

    @property
    def megapixels(self) -> float:
        return self.width * self.height / 1e6


def plan(width: int, height: int, model_scale: int, target: Target) -> Plan:
    """The smallest chain of passes that reaches the target, or all but the tolerance of it.

    What it exceeds is reduced. Without a pass nothing is interpolated upwards.
    """
    scale, size = size_for(width, height, target, model_scale)
    passes, reached = 0, 1
    while _is_short(width, height, reached, size, target.tolerance if passes else 0.0):
        passes, reached = passes + 1, reached * model_scale
        if model_scale == 1:
            break
    return Plan(passes, *size, scale)


def size_for(width: int, height: int, target: Target, model_scale: float) -> tuple[float, tuple[int, int]]:
    """How many times larger in each direction a picture becomes, and its pixels then."""
    edge = target.long_edge
    exact: tuple[int | None, int | None] = (None, None)
    if edge is not None:
        scale = edge / max(width, height)
        exact = (edge, None) if width >= height else (None, edge)
    elif target.megapixels is not None:
        scale = math.sqrt(target.megapixels * 1e6 / (width * height))
    elif target.paper is not None:
        short, long = sorted(target.paper)
        sheet = (long, short) if width >= height else (short, long)
        by_width, by_height = sheet[0] / width, sheet[1] / height
        scale = min(by_width, by_height)
        exact = (sheet[0], None) if by_width <= by_height else (None, sheet[1])
    else:
        scale = target.scale or float(model_scale)
    return scale, (exact[0] or max(1, round(width * scale)), exact[1] or max(1, round(height * scale)))


def _is_short(width: int, height: int, reached: int, size: tuple[int, int], tolerance: float) -> bool:
    enough = reached * (1 + tolerance)
    return width * enough < size[0] or height * enough < size[1]
