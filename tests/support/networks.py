"""Small networks of real architectures, with seeded random weights."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from spandrel.architectures.Compact import Compact


def save_compact(path: Path, seed: int = 0, convolutions: int = 2) -> Path:
    """A small ×2 Compact network with seeded random weights: reaches 4 pixels with two convolutions inside."""
    torch.manual_seed(seed)
    net = Compact(num_feat=16, num_conv=convolutions, upscale=2, act_type="prelu")
    save_file({key: value.contiguous() for key, value in net.state_dict().items()}, path)
    return path
