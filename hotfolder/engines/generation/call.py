"""What a pipeline is called with: what its signature has, as its family wants it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from hotfolder.core.families import Family, Guidance
from hotfolder.errors import BadInput


def shared_arguments(
    pipeline: Any, family: Family, asked: Mapping[str, Any], max_sequence_length: int | None
) -> dict[str, Any]:
    """Those that all pictures of a batch share, but for the words and a picture to begin from.

    Raises BadInput for what was asked and this pipeline does not take.
    """
    taken = inspect.signature(pipeline.__call__).parameters
    guidance = None if family.guidance is Guidance.NONE else asked["guidance"]
    wanted = {
        "num_inference_steps": asked["steps"],
        family.argument: guidance,
        "width": asked["width"],
        "height": asked["height"],
        "max_sequence_length": max_sequence_length,
        "strength": asked["strength"],
        **family.forced,
    }
    if asked["strength"] is not None and "strength" not in taken:
        raise BadInput(f"{type(pipeline).__name__} cannot begin from a picture", "leave the init-image out")
    given = {key: value for key, value in wanted.items() if key in taken and value is not None}
    if "intermediate_timesteps" in taken and asked["steps"] != 2:
        given["intermediate_timesteps"] = None  # it belongs to two steps, and is the default with any other, too
    return given
