"""SigLIP so400m, 384 pixels, as transformers builds it: what aesthetic-predictor-v2.5 and its like see with.

Zhai et al., 'Sigmoid loss for language image pre-training', ICCV 2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from PIL import Image
from safetensors import SafetensorError
from transformers import SiglipVisionModel

from hotfolder.engines.device import precision_name
from hotfolder.engines.scoring.base import Bench, View
from hotfolder.engines.scoring.half_linears import with_half_linears
from hotfolder.engines.transfer import sent_together
from hotfolder.errors import ModelDamaged
from hotfolder.models.registry import ModelSpec

#: Of every SigLIP, on sRGB in [0, 1].
_MEAN = _STD = 0.5
#: As clip.HALF_ERROR: five times the spread along any one direction, which is 1.84e-4 in bfloat16, of random weights.
HALF_ERROR = 9.2e-4


def build(folder: Path) -> SiglipVisionModel:
    """The image tower in float32, of config.json and model.safetensors. Raises ModelDamaged."""
    try:
        tower, found = SiglipVisionModel.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelDamaged(f"{folder} does not hold SigLIP: {str(error)[:200]}", "fetch it again") from None
    missing = sorted(found["missing_keys"])
    if missing:
        raise ModelDamaged(f"{folder} holds no SigLIP: {missing[0]} is missing", "fetch it again")
    return tower.eval().requires_grad_(False)


class SiglipEncoder:
    """The pooled output, of length 1. It sees the whole picture, squeezed into a square, as SigLIP was trained."""

    def __init__(self, spec: ModelSpec, bench: Bench) -> None:
        self._full = build(spec.folder).to(bench.device)
        self._side: int = self._full.config.image_size
        self.weights_sha256 = spec.verify()
        self.preprocessing = f"srgb-on-{bench.settings.background}-bicubic{self._side}-squeezed"
        self.precision = precision_name(bench.dtype)
        self.half_error = HALF_ERROR
        self.id = f"{spec.name}/{self.preprocessing}/{self.weights_sha256[:16]}"
        self.largest_batch = 128 if bench.device.type == "cuda" else 4
        self._device = bench.device
        half = bench.dtype is not torch.float32
        tower = with_half_linears(self._full, bench.dtype) if half else self._full
        self._tower = torch.compile(tower, dynamic=True) if bench.settings.compile else tower

    def prepare(self, image: Image.Image) -> View:
        return np.asarray(image.resize((self._side, self._side), Image.Resampling.BICUBIC))

    def embed(self, views: Sequence[View]) -> torch.Tensor:
        return self._through(self._tower, views)

    def embed_precisely(self, views: Sequence[View]) -> torch.Tensor:
        return self._through(self._full, views)

    @torch.inference_mode()
    def _through(self, tower: Any, views: Sequence[View]) -> torch.Tensor:
        pixels = sent_together(views, self._device)
        normalised = (pixels.permute(0, 3, 1, 2).float() / 255 - _MEAN) / _STD
        return F.normalize(tower(pixel_values=normalised).pooler_output.float(), dim=-1)


def load_encoder(spec: ModelSpec, bench: Bench) -> SiglipEncoder:
    return SiglipEncoder(spec, bench)
