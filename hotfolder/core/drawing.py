"""How much of the work at a picture is its drawing: each step goes through all of its pixels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hotfolder.core.families import Picture, family_called
from hotfolder.types import Outcome, PromptSpec

#: How much of an init-image is drawn anew unless it is said: what the Stable Diffusion web UI begins with.
_STRENGTH = 0.75


@dataclass(frozen=True, slots=True)
class Drawing:
    """What a prompt says of it. None: it leaves that to the model."""

    model: str
    steps: int | None = None
    strength: float | None = None  # 0 to 1
    has_init_image: bool = False

    @classmethod
    def of(cls, spec: PromptSpec, model: str) -> Drawing:
        """`model` is the one that draws it."""
        return cls(model, spec.steps, spec.strength, spec.init_image is not None)


def strength_of(asked: float | None, defaults: Mapping[str, Any]) -> float:
    """How much of an init-image is drawn anew, 0 to 1, by the prompt and the model's defaults."""
    return float(asked or defaults.get("strength") or _STRENGTH)


def steps_of(drawing: Drawing, defaults: Mapping[str, Any], family: str) -> float | None:
    """How many steps its model goes through, which has these defaults and is of this family; None: not known."""
    known = family_called(family)
    asked = None if known.fixed_steps else drawing.steps
    steps = _positive(defaults.get("steps") if asked is None else asked)
    if steps is None or not drawing.has_init_image or known.picture is not Picture.START:
        return steps
    return steps * strength_of(drawing.strength, {"strength": _positive(defaults.get("strength"))})


def megapixels_worked(outcome: Outcome) -> float:
    """Of the picture that was read; of one that was drawn, once for each step. 0: not known."""
    picture = outcome.source or outcome.staged
    if picture is None:
        return 0.0
    megapixels = picture.width * picture.height / 1e6
    if outcome.source is not None or outcome.staged is None:
        return megapixels
    told = outcome.staged.settings
    return megapixels * (_positive(told.get("steps")) or 0.0) * (_positive(told.get("strength")) or 1.0)


def default_megapixels(defaults: Mapping[str, Any]) -> float | None:
    """Of a picture whose prompt leaves the size to a model with these defaults; None: not known."""
    width, height = _positive(defaults.get("width")), _positive(defaults.get("height"))
    return None if width is None or height is None else width * height / 1e6


def _positive(value: object) -> float | None:
    """None for what is no such number: defaults are what a person wrote of a model."""
    return float(value) if isinstance(value, int | float) and 0 < value < math.inf else None
