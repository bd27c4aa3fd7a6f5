"""The network behind the built-in `technical` scorer."""

from __future__ import annotations

import itertools

import torch
from torch import nn

#: The picture is judged as it looks at this size: its shorter side, in pixels, is reduced to it.
VIEW_SIDE = 256
#: Longest side of the view, in pixels, so that a very long picture cannot exhaust memory.
VIEW_LONGEST = 1024


def _convolution(inward: int, outward: int, stride: int) -> list[nn.Module]:
    # Batch normalisation: at inference a fixed scale and shift, so that a score depends on its image alone.
    convolution = nn.Conv2d(inward, outward, 3, stride=stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(outward), nn.SiLU()]


class TechnicalNet(nn.Module):
    """Rates technical quality (blur, noise, blocking, exposure); fully convolutional, any size from 1×1.

    Input (n, 3, h, w) float, sRGB in [0, 1]; output (n,) float in (1, 10), higher is better.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = (16, 32, 48, 64, 96)
        layers = _convolution(3, widths[0], 1)
        for inward, outward in itertools.pairwise(widths):
            layers += _convolution(inward, outward, 2) + _convolution(outward, outward, 1)
        self.features = nn.Sequential(*layers)
        # Mean says what is there, spread says whether it is everywhere; both are independent of size.
        self.head = nn.Sequential(nn.Linear(2 * widths[-1], 64), nn.SiLU(), nn.Linear(64, 1))

    def embed(self, pixels: torch.Tensor) -> torch.Tensor:
        """(n, 192): mean and spread of each feature."""
        maps = self.features(pixels * 2 - 1).flatten(2)
        spread = maps.var(dim=2, unbiased=False).add(1e-6).sqrt()
        return torch.cat((maps.mean(dim=2), spread), dim=1)

    def rate(self, embeddings: torch.Tensor) -> torch.Tensor:
        """(n, 192) -> (n,)."""
        rating: torch.Tensor = self.head(embeddings)
        return 1 + 9 * torch.sigmoid(rating.squeeze(1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.rate(self.embed(pixels))
