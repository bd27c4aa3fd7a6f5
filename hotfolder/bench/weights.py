"""Real architectures with seeded random weights: as fast as the real ones, and worth nothing else."""

from __future__ import annotations

from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file
from spandrel.architectures.Compact import Compact
from spandrel.architectures.ESRGAN import ESRGAN


def save_random_clip(folder: Path, seed: int = 0, *, with_text: bool = False) -> Path:
    """ViT-L/14 in open_clip's layout, float16, under the name the registry looks for; 0.6 GB, 0.85 with text."""
    torch.manual_seed(seed)
    model = open_clip.CLIP(**open_clip.get_model_config("ViT-L-14-quickgelu"))
    state = {k: v.half().contiguous() for k, v in model.state_dict().items() if with_text or "visual." in k}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "clip-vit-l-14.safetensors"
    save_file(state, path)
    return path


def save_random_head(folder: Path, seed: int = 0) -> Path:
    """A single linear layer on its embeddings, around 5.5."""
    generator = torch.Generator().manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "random-head.safetensors"
    save_file({"weight": torch.randn(1, 768, generator=generator), "bias": torch.tensor([5.5])}, path)
    return path


def save_random_upscaler(folder: Path, architecture: str, seed: int = 0, *, small: bool = False) -> Path:
    """RealESRGAN_x4plus' network ('rrdb', RRDBNet with 23 blocks), or realesr-general-x4v3's ('compact').

    `small`: the same layers, but one block, and a quarter of the convolutions.
    """
    torch.manual_seed(seed)
    net: torch.nn.Module
    if architecture == "rrdb":
        net = ESRGAN(in_nc=3, out_nc=3, num_filters=64, num_blocks=1 if small else 23, scale=4)
    else:
        net = Compact(num_in_ch=3, num_out_ch=3, num_feat=64, num_conv=8 if small else 32, upscale=4)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"random-{architecture}.safetensors"
    save_file({key: value.contiguous() for key, value in net.state_dict().items()}, path)
    return path
