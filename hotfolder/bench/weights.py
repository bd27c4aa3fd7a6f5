"""Real architectures with seeded random weights: as fast as the real ones, and worth nothing else."""

from __future__ import annotations

from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file


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
