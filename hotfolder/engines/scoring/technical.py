"""The built-in scorer of technical quality."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from hotfolder.engines.device import precision_name
from hotfolder.engines.scoring.base import Bench, View
from hotfolder.engines.scoring.technical_net import VIEW_LONGEST, VIEW_SIDE, TechnicalNet
from hotfolder.engines.transfer import sent_together
from hotfolder.errors import ModelDamaged
from hotfolder.models.registry import ModelSpec


def view(image: Image.Image) -> Image.Image:
    """The picture as it is judged: shorter side at most 256, longer at most 1024 pixels, never enlarged.

    Reduced with Pillow's anti-aliased bicubic.
    """
    shorter, longer = sorted(image.size)
    factor = min(1.0, VIEW_SIDE / shorter, VIEW_LONGEST / longer)
    if factor == 1.0:
        return image
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, Image.Resampling.BICUBIC)


def load_net(weights: Path) -> TechnicalNet:
    """The network in float32, whatever the file's precision."""
    net = TechnicalNet()
    net.load_state_dict(load_file(weights))
    return net.float().eval()


def golden_input() -> Image.Image:
    """A fixed picture, 96×64: what the registry's golden value was computed from."""
    y, x = np.mgrid[0:64, 0:96]
    rings = np.sin(np.hypot(x - 40, y - 30) * 0.8)
    channels = [128 + 100 * rings, 255.0 * x / 95, 255.0 * y / 63]
    return Image.fromarray(np.stack(channels, axis=-1).round().astype(np.uint8))


class TechnicalEncoder:
    """The network's features. float32 on every device: it is small."""

    def __init__(self, spec: ModelSpec, bench: Bench) -> None:
        self.weights_sha256 = spec.verify()
        self.preprocessing = f"srgb-on-{bench.settings.background}-view{VIEW_SIDE}-bicubic"
        self.precision = precision_name(torch.float32)
        self.half_error = 0.0
        self.id = f"{spec.name}/{self.preprocessing}/{self.weights_sha256[:16]}"
        self.largest_batch = 64 if bench.device.type == "cuda" else 8
        self._device = bench.device
        self._net = load_net(spec.files[0].path).to(bench.device).to(memory_format=torch.channels_last)

    def prepare(self, image: Image.Image) -> View:
        return np.asarray(view(image))

    @torch.inference_mode()
    def embed(self, views: Sequence[View]) -> torch.Tensor:
        rows: dict[int, torch.Tensor] = {}
        # Views of one size go through together.
        for shape in {v.shape for v in views}:
            which = [i for i, v in enumerate(views) if v.shape == shape]
            pixels = sent_together([views[i] for i in which], self._device)
            rows.update(zip(which, self._net.embed(pixels.permute(0, 3, 1, 2).float() / 255), strict=True))
        return torch.stack([rows[i] for i in range(len(views))])

    embed_precisely = embed


class TechnicalScorer:
    """`technical`: sharpness, noise, blocking and exposure."""

    slope = 0.0  # nobody asks: its encoder has no error

    def __init__(self, spec: ModelSpec, bench: Bench) -> None:
        self.name = spec.name
        self.encoder = TechnicalEncoder(spec, bench)
        self.weights_sha256 = self.encoder.weights_sha256
        self._head = load_net(spec.files[0].path)
        self._check(spec)

    def _check(self, spec: ModelSpec) -> None:
        expected, tolerance = spec.golden["score"], spec.golden["tolerance"]
        embedding = self.encoder.embed([self.encoder.prepare(golden_input())]).cpu()
        found = float(self.rate(embedding)[0])
        if not abs(found - expected) <= tolerance:
            raise ModelDamaged(
                f"scorer '{spec.name}' gives {found:.4f} for its golden picture, not {expected:.4f}",
                "reinstall hotfolder; if it stays, this build of torch computes wrongly",
            )

    @torch.inference_mode()
    def rate(self, embeddings: torch.Tensor) -> torch.Tensor:
        return self._head.rate(embeddings)


def load(spec: ModelSpec, bench: Bench) -> TechnicalScorer:
    return TechnicalScorer(spec, bench)
