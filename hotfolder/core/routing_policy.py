"""What the router has to know of the settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hotfolder.core.gate import Gate
from hotfolder.types import Kind, UpscaleParams


@dataclass(frozen=True, slots=True)
class RoutingPolicy:
    """What holds for one dropped file and all that comes of it."""

    gate: Gate
    models: Mapping[Kind, str]  # for each kind of work
    upscaling: UpscaleParams
    min_gain: float | None = None
    priority: int = 0  # above 0: before what waits with a lower one
    rest_through_gate: bool = False  # what is not among the best of a set is judged like all else
