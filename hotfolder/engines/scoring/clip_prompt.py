"""Zero-shot judging: is the picture more like what is wanted than like what is not?

The antonym pairs of Wang et al., 'Exploring CLIP for assessing the look and feel of images' (CLIP-IQA), AAAI 2023;
there on ResNet-50 without positional embedding, here on ViT-L/14.
"""

from __future__ import annotations

import hashlib
import json

import torch

from hotfolder.engines.scoring import load_encoder
from hotfolder.engines.scoring.base import Bench
from hotfolder.engines.scoring.clip import ClipEncoder, embed_texts
from hotfolder.models.registry import ModelSpec

#: CLIP's logit scale after training, which OpenAI's weights hold as log(100).
_LOGIT_SCALE = 100.0


class PromptScorer:
    """1 to 10: 1 + 9 p, where p is the mean over the pairs of softmax(100 cos(image, positive), …)."""

    def __init__(self, spec: ModelSpec, bench: Bench) -> None:
        self.name = spec.name
        encoder = load_encoder(spec, bench)
        assert isinstance(encoder, ClipEncoder)
        self.encoder = encoder
        positive, negative = bench.settings.positive, bench.settings.negative
        texts = embed_texts(encoder.weights, [*positive, *negative])
        self._positive, self._negative = texts[: len(positive)], texts[len(positive) :]
        # The sigmoid's slope is a quarter at most.
        self.slope = 9 / 4 * _LOGIT_SCALE * float((self._positive - self._negative).norm(dim=1).mean())
        # Other prompts make another scorer: its scores are not to be mixed up with these.
        prompts = json.dumps([self.encoder.weights_sha256, positive, negative])
        self.weights_sha256 = hashlib.sha256(prompts.encode()).hexdigest()

    def rate(self, embeddings: torch.Tensor) -> torch.Tensor:
        lead = (embeddings @ self._positive.T - embeddings @ self._negative.T) * _LOGIT_SCALE
        return 1 + 9 * torch.sigmoid(lead).mean(dim=1)


def load(spec: ModelSpec, bench: Bench) -> PromptScorer:
    return PromptScorer(spec, bench)
