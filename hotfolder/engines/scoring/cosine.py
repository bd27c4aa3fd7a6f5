"""How a picture goes with its prompt, by the angle between what CLIP makes of the one and of the other."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import torch

from hotfolder.engines.scoring import load_encoder
from hotfolder.engines.scoring.base import Bench, Encoder
from hotfolder.engines.scoring.clip import ClipEncoder
from hotfolder.models.registry import ModelSpec


@dataclass(slots=True)
class OfPrompt:
    """The scorer of pictures of one prompt: offset + slope · cos(picture, prompt)."""

    name: str
    encoder: Encoder
    weights_sha256: str
    slope: float
    offset: float
    words: torch.Tensor  # (d,) float32 of length 1, on the CPU

    def rate(self, embeddings: torch.Tensor) -> torch.Tensor:
        return self.offset + self.slope * (embeddings @ self.words)


class CosineScorer:
    """Offset + slope · cos(picture, prompt): linear and not cut off, so that every difference counts."""

    def __init__(self, spec: ModelSpec, bench: Bench, slope: float, offset: float) -> None:
        encoder = load_encoder(spec, bench)
        assert isinstance(encoder, ClipEncoder)
        self.name = spec.name
        self.encoder: Encoder = encoder
        self._clip = encoder
        self._slope, self._offset = slope, offset
        self.with_prompt("a picture")  # weights without a text tower are told of now

    def with_prompt(self, prompt: str) -> OfPrompt:
        # Another prompt makes another scorer: its scores are not to be mixed up with these.
        version = json.dumps([self.encoder.weights_sha256, prompt])
        digest = hashlib.sha256(version.encode()).hexdigest()
        words = self._clip.read(prompt)
        return OfPrompt(self.name, self.encoder, digest, self._slope, self._offset, words)
