"""What people would rather have, of pictures of one prompt.

Kirstain et al., 'Pick-a-Pic: an open dataset of user preferences for text-to-image generation', NeurIPS 2023.
"""

from __future__ import annotations

import math

from safetensors import SafetensorError, safe_open

from hotfolder.engines.scoring.base import Bench
from hotfolder.engines.scoring.cosine import CosineScorer
from hotfolder.errors import ModelDamaged
from hotfolder.models.registry import ModelSpec

#: PickScore's own scale is the logit, about 16 to 25. It is moved, not stretched, so that a difference is the
#: published one: the softmax of two scores says how many people prefer the one.
ZERO = 15.0


def load(spec: ModelSpec, bench: Bench) -> CosineScorer:
    assert spec.encoder is not None
    weights = spec.encoder.files[0].path
    try:
        with safe_open(weights, "pt") as file:
            scale = math.exp(float(file.get_tensor("logit_scale")))
    except (SafetensorError, OSError) as error:
        raise ModelDamaged(
            f"{weights} has no logit_scale, as PickScore's weights have: {error}", "fetch it again"
        ) from None
    return CosineScorer(spec, bench, scale, -ZERO)
