"""On which step of the memory ladder a generator begins, by the formula and by what was learnt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from hotfolder.core.channels_last import key
from hotfolder.core.memory_plan import MemoryPlan, Working, begin_on
from hotfolder.engines.device import device_name, precision_name
from hotfolder.engines.generation.learnt import LearntMemory
from hotfolder.engines.generation.loading import pick_generator_dtype, possible_steps, weights_of, working_of
from hotfolder.engines.generation.speed import is_compiled
from hotfolder.models.registry import ModelSpec
from hotfolder.types import RunnerSettings


class Beginning:
    """Of one model, by its fingerprint, with these settings on this device."""

    def __init__(self, spec: ModelSpec, device: torch.device, settings: RunnerSettings, sha256: str) -> None:
        self._spec = spec
        self._device = device
        self._together = settings.draw_together
        self.dtype = pick_generator_dtype(device, settings.precision)
        self.steps = possible_steps(spec, device)
        compiled = "compiled" if is_compiled(settings, device) else "eager"
        how = f"{precision_name(self.dtype)}|{compiled}|{settings.attention}|{settings.cache}"
        self.learnt = LearntMemory(device_name(device), sha256, how)
        self._fast = device_name(device), sha256, f"{precision_name(self.dtype)}|torch {torch.__version__}"

    @property
    def usual_shape(self) -> tuple[int, int]:
        return self.shape_of({})

    def shape_of(self, params: Mapping[str, Any]) -> tuple[int, int]:
        """Width and height that are asked for, or the model's usual ones."""
        wanted = (params.get(side) or self._spec.defaults.get(side) or 512 for side in ("width", "height"))
        width, height = wanted
        return width, height

    def order_key(self, shape: tuple[int, int]) -> str:
        """What is known of channels last for this shape is remembered by it."""
        return key(*self._fast, *shape)

    def at(self, free: int) -> MemoryPlan:
        """The first step that should fit into so many bytes."""
        learnt = self.learnt.needs(self.usual_shape, self._together, free)
        if self._device.type != "cuda":
            return next((step for step in self.steps if learnt.get(step, 0) <= free), self.steps[-1])
        working = working_of(self._spec, self.dtype, self._together) or Working()
        return begin_on(self.steps, free, *weights_of(self._spec), working, learnt)
