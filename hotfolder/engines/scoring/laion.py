"""Aesthetic heads: LAION's predictors on CLIP ViT-L/14, and any other file of the same make, there or on SigLIP.

`laion-v2`: github.com/christophschuhmann/improved-aesthetic-predictor (Apache-2.0), sac+logos+ava1-l14-linearMSE.
`laion-v1`: github.com/LAION-AI/aesthetic-predictor (MIT), a single linear layer.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from hotfolder.engines.scoring import load_encoder
from hotfolder.engines.scoring.base import Bench
from hotfolder.errors import ModelDamaged, UsageError
from hotfolder.models.registry import ModelSpec

WIDTH = 768
#: Numbers of an embedding, by the encoder's loader.
_WIDTHS = {"clip": WIDTH, "clip_h": 1024, "siglip": 1152}
Layer = tuple[torch.Tensor, torch.Tensor]


def golden_embedding() -> torch.Tensor:
    """(768,) float32 of length 1, the same everywhere: what the registry's golden score was computed from."""
    wave = torch.cos(torch.arange(1, WIDTH + 1, dtype=torch.float64) ** 2)
    return (wave / wave.norm()).float()


def read_state(path: Path) -> dict[str, Any]:
    """What a head's file holds, by names: a .safetensors or a pickle without code. Raises ModelDamaged."""
    try:
        safe = path.suffix == ".safetensors"
        state: Any = load_file(path) if safe else torch.load(path, map_location="cpu", weights_only=True)
        return dict(state.get("state_dict", state))
    except (
        pickle.UnpicklingError, SafetensorError, RuntimeError, LookupError, AttributeError, EOFError, TypeError,
        ValueError,
    ) as error:  # fmt: skip
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> ModelDamaged:
    return ModelDamaged(
        f"{path} cannot be read as a head: {_first_line(error)}",
        "use a .safetensors, or a .pth with nothing but tensors in it",
    )


def load_head(path: Path, width: int = WIDTH) -> list[Layer]:
    """(weight, bias) of each layer, float32, from a .safetensors or a pickle without code. Raises ModelDamaged.

    Layers with nothing between them collapse exactly into one (multiplied in float64); where the file's numbering
    leaves room for activations (as in ava+logos-l14-reluMSE), they stay apart and are ReLU.
    """
    state = read_state(path)
    try:
        names = [key for key in state if isinstance(key, str) and (key == "weight" or key.endswith(".weight"))]
        names.sort(key=_number)
        layers = [(state[n].double(), state[n.removesuffix("weight") + "bias"].double()) for n in names]
    except (KeyError, AttributeError) as error:
        raise _unreadable(path, error) from None
    widths = [(weight.shape[1], weight.shape[0]) for weight, _ in layers if weight.dim() == 2]
    chained = all(a[1] == b[0] for a, b in itertools.pairwise(widths))
    chained = chained and all(bias.shape == weight.shape[:1] for weight, bias in layers)
    if len(widths) != len(layers) or not layers or widths[0][0] != width or widths[-1][1] != 1 or not chained:
        raise ModelDamaged(
            f"{path} is not a head from {width} numbers to one",
            "use one made for CLIP ViT-L/14 (768), or for SigLIP so400m, 384 pixels (1152)",
        )
    # Linear, dropout, linear is numbered 0, 2; linear, ReLU, dropout, linear is numbered 0, 3.
    active = any(_number(b) - _number(a) > 2 for a, b in itertools.pairwise(names))
    if not active:
        weight, bias = layers[0]
        for next_weight, next_bias in layers[1:]:
            weight, bias = next_weight @ weight, next_weight @ bias + next_bias
        layers = [(weight, bias)]
    return [(weight.float(), bias.float()) for weight, bias in layers]


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _number(name: str) -> int:
    """The place of a layer: 4 for 'layers.4.weight', 0 for 'weight'."""
    parts = name.split(".")
    return int(parts[-2]) if len(parts) > 1 and parts[-2].isdigit() else 0


class HeadScorer:
    """A head in float32 on normalised embeddings."""

    def __init__(self, spec: ModelSpec, bench: Bench) -> None:
        self.name = spec.name
        head = spec.verify()
        if spec.encoder is None or spec.encoder.loader not in _WIDTHS:
            raise UsageError(
                f"the head of '{spec.name}' has no encoder that heads read",
                "give its entry encoder = 'clip-vit-l-14' or 'siglip-so400m-384'",
            )
        self._layers = load_head(spec.files[0].path, _WIDTHS[spec.encoder.loader])
        # Of several layers no more than this: ReLU has a slope of 1.
        self.slope = math.prod(float(torch.linalg.matrix_norm(weight, 2)) for weight, _ in self._layers)
        self._check(spec)  # before the tower: it costs nothing
        self.encoder = load_encoder(spec, bench)
        self.weights_sha256 = hashlib.sha256((head + self.encoder.weights_sha256).encode()).hexdigest()

    def _check(self, spec: ModelSpec) -> None:
        if not spec.golden:
            return
        expected, tolerance = spec.golden["score"], spec.golden["tolerance"]
        found = float(self.rate(golden_embedding()[None])[0])
        if not abs(found - expected) <= tolerance:
            raise ModelDamaged(
                f"the head of '{spec.name}' gives {found:.5f} for the golden embedding, not {expected:.5f}",
                "fetch it again; if it stays, this build of torch computes wrongly",
            )

    def rate(self, embeddings: torch.Tensor) -> torch.Tensor:
        values = embeddings
        for index, (weight, bias) in enumerate(self._layers):
            values = torch.nn.functional.linear(values.relu() if index else values, weight, bias)
        return values.squeeze(-1)


def load(spec: ModelSpec, bench: Bench) -> HeadScorer:
    return HeadScorer(spec, bench)
