"""Scorers: one protocol, one small file each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hotfolder.engines.scoring.base import Scorer

if TYPE_CHECKING:
    import torch

    from hotfolder.models.registry import ModelSpec


def load_scorer(spec: ModelSpec, device: torch.device) -> Scorer:
    """The scorer that reads this model's files; only its own libraries are imported."""
    if spec.loader == "technical":
        from hotfolder.engines.scoring.technical import TechnicalScorer

        return TechnicalScorer(spec, device)
    from hotfolder.engines.scoring.laion import LaionScorer

    return LaionScorer(spec, device)
