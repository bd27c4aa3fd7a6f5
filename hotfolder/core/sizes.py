"""How large an enlarged image becomes, and by how many passes of the model."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked for: at most one of these; none is the model's own factor."""

    scale: float | None = None  # in each direction
    long_edge: int | None = None  # pixels
    megapixels: float | None = None  # millions of pixels


@dataclass(frozen=True, slots=True)
class Plan:
    """`passes` of the model, then a reduction to `width` × `height` where that is not what they give."""

    passes: int
    width: int
    height: int
    scale: float  # asked for, in each direction


def plan(width: int, height: int, model_scale: int, target: Target) -> Plan:
    """The smallest chain of passes that reaches the target; what it exceeds is reduced, never interpolated up."""
    if target.long_edge is not None:
        scale = target.long_edge / max(width, height)
    elif target.megapixels is not None:
        scale = math.sqrt(target.megapixels * 1e6 / (width * height))
    else:
        scale = target.scale or float(model_scale)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if target.long_edge is not None:
        size = (target.long_edge, size[1]) if width >= height else (size[0], target.long_edge)
    passes, reached = 0, 1
    while width * reached < size[0] or height * reached < size[1]:
        passes, reached = passes + 1, reached * model_scale
        if model_scale == 1:
            break
    return Plan(passes, *size, scale)
