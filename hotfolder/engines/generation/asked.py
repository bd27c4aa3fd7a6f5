"""What is asked for, with a model's defaults filled in, and what of it that model cannot do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hotfolder.core.drawing import strength_of
from hotfolder.core.families import Family, Picture
from hotfolder.engines.generation.picture import init_image
from hotfolder.engines.sources import opener_below
from hotfolder.errors import BadInput
from hotfolder.types import RunnerSettings


def asked_of(
    name: str, defaults: Mapping[str, Any], family: Family, settings: RunnerSettings, params: Mapping[str, Any]
) -> dict[str, Any]:
    """What holds for every picture of a batch. `params` are PromptSpec's fields; raises BadInput."""
    _check(name, family, params)
    asked = {key: defaults.get(key) if params.get(key) is None else params[key] for key in ("steps", "guidance")}
    asked["sampler"] = params.get("sampler")
    # In one order: the last digit of a sum depends on it.
    asked["lora"] = dict(sorted((str(name), float(weight)) for name, weight in params.get("lora") or ()))
    asked["init_image"], asked["strength"] = params.get("init_image"), None
    if asked["init_image"] is None:
        return asked | {key: params.get(key) or defaults.get(key) for key in ("width", "height")}
    picture, asked["init_image_sha256"] = init_image(
        Path(params.get("init_file") or asked["init_image"]),
        (params.get("width"), params.get("height")),
        (defaults.get("width") or 512, defaults.get("height") or 512),
        max_pixels=settings.max_pixels,
        max_bytes=settings.max_file_bytes,
        background=settings.background,
        grid=family.grid,
        opens=opener_below(params.get("init_root")),
    )
    if params.get("init_image_sha256") not in (None, asked["init_image_sha256"]):
        raise BadInput(
            f"the init-image {asked['init_image']} is not the one that this was made from",
            "put that one back, or write a prompt file",
        )
    asked["picture"], (asked["width"], asked["height"]) = picture, picture.size
    if family.picture is not Picture.REFERENCE:
        strength = strength_of(params.get("strength"), defaults)
        _check_strength(family, asked["steps"], strength)
        asked["strength"] = strength
    return asked


def _check_strength(family: Family, steps: int | None, strength: float) -> None:
    """That something is drawn, and something of the picture is left."""
    if steps is not None and int(steps * strength) < 1:
        raise BadInput(
            f"{steps} steps with strength {strength:g} leave no step to draw",
            f"use at least {-(-1 // strength):.0f} steps, or more strength",
        )
    # Models of flow begin at the step that is nearest to more noise; at the first there is nothing else.
    if steps is not None and not family.samplers and strength < 1 and int(steps - steps * strength) < 1:
        raise BadInput(
            f"{steps} steps with strength {strength:g} leave nothing of the picture",
            f"use at least {-(-1 // (1 - strength)):.0f} steps, or less strength",
        )


def _check(name: str, family: Family, params: Mapping[str, Any]) -> None:
    """What a family has no use for, or would change without a word. Raises BadInput."""
    if params.get("negative_prompt") and not family.negative:
        raise BadInput(f"{name} takes no negative prompt", "leave the negative prompt out")
    if params.get("init_image") is not None and family.picture is Picture.NO:
        raise BadInput(f"{name} cannot begin from a picture", "leave the init-image out")
    if params.get("strength") is not None and family.picture is Picture.REFERENCE:
        raise BadInput(
            f"{name} looks at the init-image and draws from noise: there is no strength", "leave the strength out"
        )
    for what in ("width", "height"):
        side = params.get(what)
        if side is not None and side % family.grid:
            raise BadInput(
                f"{name} draws pictures whose {what} is a multiple of {family.grid}, and {side} is not",
                f"use {family.near(side)}",
            )
