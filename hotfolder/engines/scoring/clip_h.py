"""CLIP ViT-H/14 as open_clip builds it (LAION-2B): what PickScore was trained from."""

from __future__ import annotations

import torch

from hotfolder.engines.scoring.base import Bench
from hotfolder.engines.scoring.clip import HALF_ERROR, Architecture, ClipEncoder
from hotfolder.models.registry import ModelSpec

H14 = Architecture("ViT-H-14", "ViT-H/14", torch.nn.GELU, HALF_ERROR)


def load_encoder(spec: ModelSpec, bench: Bench) -> ClipEncoder:
    return ClipEncoder(spec, bench, H14)
