"""How well a picture shows its prompt: the cosine that CLIP was trained for, on the tower of LAION's heads.

Hessel et al., 'CLIPScore: a reference-free evaluation metric for image captioning', EMNLP 2021.
"""

from __future__ import annotations

from hotfolder.engines.scoring.base import Bench
from hotfolder.engines.scoring.cosine import CosineScorer
from hotfolder.models.registry import ModelSpec

#: Of ViT-L/14: a picture of something else is at 0.10 to 0.18, of the prompt at 0.22 to 0.33. 0.10 becomes 1, and
#: 0.35 becomes 10.
LOWEST, HIGHEST = 0.10, 0.35


def load(spec: ModelSpec, bench: Bench) -> CosineScorer:
    slope = 9 / (HIGHEST - LOWEST)
    return CosineScorer(spec, bench, slope, 1 - slope * LOWEST)
