"""CLIP ViT-H/14 as open_clip builds it (LAION-2B): what PickScore was trained from."""

from __future__ import annotations

import torch

from hotfolder.engines.scoring.base import Bench
from hotfolder.engines.scoring.clip import Architecture, ClipEncoder
from hotfolder.models.registry import ModelSpec

#: As clip.HALF_ERROR: five times the spread along any one direction, which is 7.6e-5 in bfloat16, of random weights.
HALF_ERROR = 3.9e-4
H14 = Architecture("ViT-H-14", "ViT-H/14", torch.nn.GELU, HALF_ERROR)


def load_encoder(spec: ModelSpec, bench: Bench) -> ClipEncoder:
    return ClipEncoder(spec, bench, H14)
