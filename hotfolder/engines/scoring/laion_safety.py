"""LAION's detector of nudity and pornography, on the tower that its aesthetic heads share.

github.com/LAION-AI/CLIP-based-NSFW-Detector (MIT), clip_ViT-L-14_openai_binary_nsfw_head.pth: it says 0 for what is
safe and 1 for what is not.
"""

from __future__ import annotations

import hashlib
import math

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses

from hotfolder.engines.scoring import load_encoder
from hotfolder.engines.scoring.base import Bench
from hotfolder.engines.scoring.laion import read_state
from hotfolder.errors import ModelDamaged
from hotfolder.models.registry import ModelSpec

_WIDTHS = (768, 64, 512, 256, 1)
#: What its authors add to the spread that it divides by.
_EPSILON = 1e-10


class SafetyScorer:
    """1 to 10, 10 is safe: 1 + 9 (1 − p), where p is how sure it is that a picture is not."""

    def __init__(self, spec: ModelSpec, bench: Bench) -> None:
        self.name = spec.name
        head = spec.verify()
        path = spec.files[0].path
        state = read_state(path)
        layers = [(f"linear_{n}.weight", f"linear_{n}.bias") for n in range(1, len(_WIDTHS))]
        wanted: dict[str, tuple[int, ...]] = {"norm.mean": (768,), "norm.variance": (768,)}
        for (weight, bias), inward, outward in zip(layers, _WIDTHS, _WIDTHS[1:], strict=False):
            wanted |= {weight: (outward, inward), bias: (outward,)}
        if any(tuple(getattr(state.get(key), "shape", ())) != shape for key, shape in wanted.items()):
            raise ModelDamaged(
                f"{path} is not LAION's head for ViT-L/14", "use clip_ViT-L-14_openai_binary_nsfw_head.pth"
            )
        self._mean = state["norm.mean"].float()
        self._spread = state["norm.variance"].float().sqrt() + _EPSILON
        self._layers = [(state[weight].float(), state[bias].float()) for weight, bias in layers]
        # ReLU has a slope of 1 at most, the sigmoid of a quarter. That comes to 3600 for the published head, whose own
        # is below 1 where a picture is safe. A formula with 'min' hardly ever asks for float32 all the same.
        first = self._layers[0][0] / self._spread
        steepness = [first, *(weight for weight, _ in self._layers[1:])]
        self.slope = 9 / 4 * math.prod(float(torch.linalg.matrix_norm(weight, 2)) for weight in steepness)
        self.encoder = load_encoder(spec, bench)
        self.weights_sha256 = hashlib.sha256((head + self.encoder.weights_sha256).encode()).hexdigest()

    def rate(self, embeddings: torch.Tensor) -> torch.Tensor:
        values = (embeddings - self._mean) / self._spread
        for index, (weight, bias) in enumerate(self._layers):
            values = F.linear(values.relu() if index else values, weight, bias)
        return 1 + 9 * torch.sigmoid(-values.squeeze(-1))


def load(spec: ModelSpec, bench: Bench) -> SafetyScorer:
    return SafetyScorer(spec, bench)
