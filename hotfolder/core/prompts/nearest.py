"""The nearest value that can be asked for here, of one that another program wrote and cannot."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from hotfolder.core.prompts.converters import MAX_SEED, MOST_WEIGHT, SIZE_STEP
from hotfolder.core.prompts.fields import VALUES
from hotfolder.core.prompts.values import shown
from hotfolder.core.samplers import sampler_called

#: The numbers of a recipe: least and most. Sizes are multiples of SIZE_STEP.
_BOUNDS = {
    "steps": (1, 1000),
    "guidance": (0, 100),
    "strength": (0.01, 1),
    "width": (64, 8192),
    "height": (64, 8192),
}
#: Samplers that are not here, by what their names begin with, and the one that solves the same equation most alike:
#: stochastic ones stay stochastic, and of one order stays one order where there is such.
_ALIKE = (
    ("dpmpp 3m sde", "DPM++ 2M SDE"), ("dpm++ 3m sde", "DPM++ 2M SDE"), ("dpmpp sde", "DPM++ 2M SDE"),
    ("dpm++ sde", "DPM++ 2M SDE"), ("dpmpp 2s a", "DPM2 a"), ("dpm++ 2s a", "DPM2 a"), ("dpmpp 2m", "DPM++ 2M"),
    ("dpm++ 2m", "DPM++ 2M"), ("dpm 2", "DPM2"), ("dpm adaptive", "DPM2"), ("dpm fast", "DPM2"), ("heun", "Heun"),
    ("euler a", "Euler a"), ("euler", "Euler"), ("uni pc", "UniPC"), ("unipc", "UniPC"), ("deis", "DPM++ 2M"),
    ("res multistep", "DPM++ 2M"), ("ipndm", "PLMS"), ("ddim", "DDIM"), ("ddpm", "DDPM"), ("lcm", "LCM"),
    ("tcd", "LCM"), ("lms", "PLMS"), ("plms", "PLMS"), ("restart", "Heun"),
)  # fmt: skip


def nearest(asked: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The values as they can be asked for, and a note for each that is another one; or that is left to the model.

    A seed is always there.
    """
    found: dict[str, Any] = {}
    notes: list[str] = []
    for key, value in {"seed": None, **asked}.items():
        if key not in VALUES:
            continue
        try:
            if value is not None and (key != "seed" or VALUES[key](value) is not None):
                VALUES[key](value)
                found[key] = value
                continue
        except ValueError:
            pass
        near = _near(key, value)
        said = shown(value) if value is not None else "none"
        if near is None:
            notes.append(f"its {key} is {said}: left to the model")
        else:
            found[key] = near
            notes.append(f"its {key} is {said}: {shown(near)} is taken")
    return found, notes


def _near(key: str, value: Any) -> Any:
    """None where nothing is near."""
    if key == "sampler":
        return alike(value) if isinstance(value, str) else None
    if key == "lora":
        return _loras(value)
    number = _number(value)
    if key == "seed":
        return 0 if number is None else _whole(value, number) % (MAX_SEED + 1)
    if key not in _BOUNDS or number is None:
        return None
    least, most = _BOUNDS[key]
    near = min(max(number, least), most)
    if key in ("width", "height"):
        return round(near / SIZE_STEP) * SIZE_STEP
    return round(near) if key == "steps" else near


def alike(text: str) -> str | None:
    """The sampler that is most like one of another program: without its schedule, else of its kind; or None."""
    plain = " ".join(re.sub(r"[_-]", " ", text.lower()).split()).removeprefix("k ").removeprefix("sample ")
    is_karras = plain.endswith((" karras", " k"))
    words = plain.split()
    for count in range(len(words), 0, -1):
        if (found := sampler_called(" ".join(words[:count]))) is not None:
            break
    else:
        found = next((name for begins, name in _ALIKE if plain.startswith(begins)), None)
    return (sampler_called(f"{found} karras") or found) if found and is_karras else found


def _loras(value: Any) -> dict[str, float] | None:
    """Those whose weights are numbers, none stronger than can be asked for."""
    if not isinstance(value, Mapping):
        return None
    weights = {str(name).strip(): _number(weight) for name, weight in value.items()}
    found = {
        name: min(max(weight, -MOST_WEIGHT), MOST_WEIGHT)
        for name, weight in weights.items()
        if name and weight is not None
    }
    return found or None


def _number(value: Any) -> float | None:
    """Neither NaN nor infinite."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _whole(value: Any, number: float) -> int:
    """Of 64 bits no digit is lost."""
    try:
        return int(value)
    except (TypeError, ValueError):
        return int(number)
