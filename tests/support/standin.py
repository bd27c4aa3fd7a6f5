"""Encoders and scorers without networks, for tests of everything around them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image

from hotfolder.engines.scoring.base import View
from hotfolder.engines.scoring.ensemble import ScorerEnsemble

CPU = torch.device("cpu")


class StandInEncoder:
    """An embedding is the mean colour: (n, 3), 0 to 1. `trouble` is called with each micro-batch first.

    With `off`, it works in half precision, and what it sees is off by so much; by at most 0.01.
    """

    weights_sha256 = "e" * 64
    preprocessing = "mean-colour"
    half_error = 0.01

    def __init__(
        self,
        id_: str = "stand-in",
        *,
        largest_batch: int = 8,
        trouble: Callable[[int], None] | None = None,
        off: float | None = None,
    ) -> None:
        self.precision = "float32" if off is None else "bfloat16"
        self.precisely: list[int] = []  # sizes of the micro-batches in float32
        self._off = off or 0.0
        self.id = id_
        self.largest_batch = largest_batch
        self.sizes: list[int] = []  # of the micro-batches it was given
        self.prepared = 0
        self._trouble = trouble

    def prepare(self, image: Image.Image) -> View:
        self.prepared += 1
        return np.asarray(image.resize((32, 32)))

    def embed(self, views: Sequence[View]) -> torch.Tensor:
        self.sizes.append(len(views))
        if self._trouble is not None:
            self._trouble(len(views))
        time.sleep(0.0001 * len(views))  # no faster in larger batches
        return _mean_colours(views) + self._off

    def embed_precisely(self, views: Sequence[View]) -> torch.Tensor:
        self.precisely.append(len(views))
        return _mean_colours(views)


def _mean_colours(views: Sequence[View]) -> torch.Tensor:
    return torch.from_numpy(np.stack(views)).float().mean(dim=(1, 2)) / 255


class StandInScorer:
    """1 + 9 times one channel of the mean colour."""

    def __init__(self, name: str, encoder: StandInEncoder, channel: int = 0) -> None:
        self.name = name
        self.slope = 9.0
        self.encoder = encoder
        self.weights_sha256 = name.ljust(64, "0")
        self._channel = channel

    def rate(self, embeddings: torch.Tensor) -> torch.Tensor:
        return 1 + 9 * embeddings[:, self._channel]


class StandInPrompted:
    """Judges by the prompt: 1 + 9 times the channel of the mean colour that its last word names."""

    def __init__(self, name: str, encoder: StandInEncoder) -> None:
        self.name = name
        self.encoder = encoder
        self.asked: list[str] = []

    def with_prompt(self, prompt: str) -> StandInScorer:
        self.asked.append(prompt)
        scorer = StandInScorer(self.name, self.encoder, ("red", "green", "blue").index(prompt.split()[-1]))
        scorer.weights_sha256 = f"{self.name} {prompt}".ljust(64, "0")
        return scorer


def ensemble(text: str, *scorers: StandInScorer | StandInPrompted) -> ScorerEnsemble:
    return ScorerEnsemble(text, {scorer.name: scorer for scorer in scorers}, CPU)
