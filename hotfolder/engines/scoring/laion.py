"""The LAION aesthetic predictor on CLIP ViT-L/14.

Head and scale: github.com/christophschuhmann/improved-aesthetic-predictor (Apache-2.0). Tower: Radford et al.,
'Learning transferable visual models from natural language supervision', ICML 2021, OpenAI's weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import open_clip
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from open_clip.transformer import QuickGELU
from PIL import Image
from safetensors.torch import load_file

from hotfolder.engines.device import pick_dtype, precision_name
from hotfolder.engines.scoring.base import View
from hotfolder.errors import ModelDamaged
from hotfolder.models.registry import ModelSpec
from hotfolder.types import Score

SIDE = 224
#: Of OpenAI's CLIP, on sRGB in [0, 1].
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def load_head(path: Path) -> tuple[torch.Tensor, float]:
    """The head as one linear map: (768,) float32 weights and a bias.

    Its Linear layers have no activation between them, so they collapse exactly (multiplied in float64).
    """
    state = torch.load(path, map_location="cpu", weights_only=True)
    names = sorted((k for k in state if k.endswith(".weight")), key=lambda k: int(k.split(".")[-2]))
    weight = torch.eye(state[names[0]].shape[1], dtype=torch.float64)
    bias = torch.zeros(weight.shape[0], dtype=torch.float64)
    for name in names:
        layer = state[name].double()
        weight, bias = layer @ weight, layer @ bias + state[name.replace(".weight", ".bias")].double()
    return weight.squeeze(0).float(), float(bias)


def preprocess(image: Image.Image) -> View:
    """(224, 224, 3) uint8: shorter side to 224 with Pillow's bicubic, then the centre, as CLIP does."""
    width, height = image.size
    if width <= height:
        size = (SIDE, max(SIDE, int(SIDE * height / width)))
    else:
        size = (max(SIDE, int(SIDE * width / height)), SIDE)
    resized = image.resize(size, Image.Resampling.BICUBIC)
    left, top = round((size[0] - SIDE) / 2), round((size[1] - SIDE) / 2)
    return np.asarray(resized.crop((left, top, left + SIDE, top + SIDE)))


def build_tower(weights: Path) -> torch.nn.Module:
    """ViT-L/14's image tower with QuickGELU, from open_clip's layout. Raises ModelDamaged if it does not fit."""
    tower: torch.nn.Module = open_clip.create_model(
        "ViT-L-14-quickgelu", pretrained=None, load_weights=False
    ).visual
    state = {k.removeprefix("visual."): v for k, v in load_file(weights).items() if k.startswith("visual.")}
    try:
        tower.load_state_dict(state)
    except RuntimeError as error:
        raise ModelDamaged(
            f"{weights} does not hold ViT-L/14 in open_clip's layout: {str(error)[:200]}", "fetch it again"
        ) from None
    if not any(isinstance(module, QuickGELU) for module in tower.modules()):
        # OpenAI's weights with plain GELU score about 0.6 too low, without any other sign.
        raise ModelDamaged("the ViT-L/14 tower was built without QuickGELU", "report it: a bug in hotfolder")
    return tower


class LaionScorer:
    """`laion-v2`: the tower in the device's precision, normalisation and head in float32."""

    preprocessing = "srgb-bicubic224-centrecrop"

    def __init__(self, spec: ModelSpec, device: torch.device) -> None:
        self._name = spec.name
        self._sha256 = spec.verify()
        self._device = device
        self._dtype = pick_dtype(device)
        head, tower = spec.files
        self._weight, self._bias = load_head(head.path)
        self._check(spec)
        self._weight = self._weight.to(device)
        self._tower = build_tower(tower.path).eval().to(device, self._dtype)
        scale = [torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (MEAN, STD)]
        self._mean, self._std = scale

    def _check(self, spec: ModelSpec) -> None:
        norm, bias = spec.golden["weight_norm"], spec.golden["bias"]
        if abs(float(self._weight.norm()) - norm) > 1e-3 or abs(self._bias - bias) > 1e-4:
            raise ModelDamaged(f"the head of '{spec.name}' is not the published one", "fetch it again")

    def prepare(self, image: Image.Image) -> View:
        return preprocess(image)

    def rate_embeddings(self, embeddings: torch.Tensor) -> torch.Tensor:
        """(n, 768) image embeddings of any length -> (n,) scores, float32."""
        return F.normalize(embeddings.float(), dim=-1) @ self._weight + self._bias

    @torch.inference_mode()
    def rate(self, views: Sequence[View]) -> list[Score]:
        pixels = torch.from_numpy(np.stack(views)).to(self._device)
        pixels = (pixels.permute(0, 3, 1, 2).float() / 255 - self._mean) / self._std
        ratings = self.rate_embeddings(self._tower(pixels.to(self._dtype)))
        precision = precision_name(self._dtype)
        return [
            Score(value, self._name, self._sha256, self.preprocessing, precision) for value in ratings.tolist()
        ]
