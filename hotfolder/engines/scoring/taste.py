"""`taste`: what a person keeps and rejects, as one linear head beside the scorer that it was learnt beside."""

from __future__ import annotations

import hashlib

import torch

from hotfolder.core.tastes import TASTE
from hotfolder.engines.scoring import load_scorer
from hotfolder.engines.scoring.base import Bench, PromptedScorer, Scorer
from hotfolder.errors import ModelDamaged
from hotfolder.models import taste_heads
from hotfolder.models.registry import Catalogue, ModelSpec
from hotfolder.types import Kind


class TasteScorer:
    """On the prior's scale: at gate.keep the person is as likely to keep the picture as not."""

    def __init__(self, spec: ModelSpec, head: taste_heads.Head, prior: Scorer) -> None:
        self.name = TASTE
        self.prior = prior
        self.encoder = prior.encoder
        if head.facts.encoder != self.encoder.id:
            raise ModelDamaged(
                f"the taste '{spec.files[0].path.stem}' was learnt from what {head.facts.encoder} sees, and pictures "
                f"are seen by {self.encoder.id} now",
                "hotfolder rescore, then hotfolder taste train; or hotfolder taste off",
            )
        self._weight = torch.from_numpy(head.weight).double()
        self._rest = head.bias + head.facts.offset
        self.slope = prior.slope + float(self._weight.norm())
        self.weights_sha256 = hashlib.sha256((spec.verify() + prior.weights_sha256).encode()).hexdigest()

    def rate(self, embeddings: torch.Tensor) -> torch.Tensor:
        personal = embeddings.double() @ self._weight + self._rest
        return (self.prior.rate(embeddings).double() + personal).float()


def load(spec: ModelSpec, bench: Bench) -> TasteScorer:
    settings = bench.settings
    catalogue = Catalogue(settings.model_folders, settings.model_entries)
    path = spec.files[0].path
    head = taste_heads.read(path)
    prior = load_scorer(catalogue.resolve(head.facts.prior, Kind.SCORE), bench)
    if isinstance(prior, PromptedScorer):
        raise ModelDamaged(
            f"the taste '{path.stem}' was learnt beside '{prior.name}', which judges by the prompt now",
            "hotfolder taste train",
        )
    return TasteScorer(spec, head, prior)
