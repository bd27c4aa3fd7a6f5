"""The plain way of enlarging, to measure and to compare ours with."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hotfolder.engines.upscaling.network import read_descriptor
from hotfolder.models.registry import Catalogue
from hotfolder.types import Kind, RunnerSettings


class PlainNetwork:
    """The whole picture at once, float32, the usual memory layout: nothing of ours is in it but the reading."""

    def __init__(self, model: str, settings: RunnerSettings, device: torch.device) -> None:
        self._device = device
        spec = Catalogue(settings.model_folders, settings.model_entries).resolve(model, Kind.UPSCALE)
        self._network = read_descriptor(spec.files[0].path)
        self._network.model.eval().float().to(device)

    @torch.inference_mode()
    def enlarge(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """(h, w, 3) uint8, to the same, larger. Raises what runs out of memory."""
        colours = torch.from_numpy(np.array(pixels)).to(self._device)
        planes = colours.permute(2, 0, 1).float() / 255
        is_grey = self._network.input_channels == 1
        # The reader's own call pads the picture to sizes that the network takes.
        enlarged = self._network(planes[:, None])[:, 0] if is_grey else self._network(planes[None])[0, :3]
        levels = (enlarged.clamp(0, 1) * 255).round().byte()
        found: NDArray[Any] = levels.permute(1, 2, 0).cpu().numpy()
        return found
