"""Families of generators: which one a pipeline folder, or a file, belongs to, and what is usual there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hotfolder.errors import ModelDamaged
from hotfolder.models.checkpoint import family_in, has_guidance, read_header

#: What a generator of a family is asked for unless it says otherwise: the values of its makers' examples (the model
#: cards of stable-diffusion-v1-5/stable-diffusion-v1-5, stabilityai/stable-diffusion-xl-base-1.0,
#: black-forest-labs/FLUX.1-dev and FLUX.1-schnell). `max_sequence_length` is in tokens.
FAMILY_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "sd15": {"steps": 30, "guidance": 7.5, "width": 512, "height": 512},
    "sdxl": {"steps": 30, "guidance": 5.0, "width": 1024, "height": 1024},
    "flux": {"steps": 28, "guidance": 3.5, "width": 1024, "height": 1024, "max_sequence_length": 512},
    "flux-schnell": {"steps": 4, "guidance": 0.0, "width": 1024, "height": 1024, "max_sequence_length": 256},
}
_PIPELINES = {"StableDiffusionPipeline": "sd15", "StableDiffusionXLPipeline": "sdxl", "FluxPipeline": "flux"}


def is_flux(family: str) -> bool:
    """FLUX.1: a scheduler of its own, and no negative prompt."""
    return family.startswith("flux")


def reads_weights(family: str) -> bool:
    """Whether it reads with CLIP alone, so that (red:1.4) can be done; others read plain language."""
    return family in ("sd15", "sdxl")


def family_of(path: Path) -> str:
    """The family of a pipeline folder, or of a checkpoint; empty for a pipeline that is of none of them.

    Raises ModelDamaged for what cannot be read, UsageError for a file that is not supported.
    """
    if path.is_dir():
        family = _PIPELINES.get(str(read_config(path / "model_index.json").get("_class_name")), "")
        guided = family == "flux" and bool(
            read_config(path / "transformer" / "config.json").get("guidance_embeds")
        )
    else:
        header = read_header(path)
        family = family_in(path, header)
        guided = family == "flux" and has_guidance(header)
    return "flux-schnell" if family == "flux" and not guided else family


def variant_of(folder: Path) -> str | None:
    """'fp16' for a pipeline folder that has its weights in that variant alone, as `models pull` fetches them."""
    names = [path.name for path in folder.glob("*/*.safetensors")]
    return "fp16" if names and all(".fp16." in name for name in names) else None


def read_config(path: Path) -> dict[str, Any]:
    """A JSON file of a pipeline folder. Raises ModelDamaged."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelDamaged(f"{path} cannot be read: {error}", "fetch it again") from None
    if not isinstance(document, dict):
        raise ModelDamaged(f"{path} is not what it should be", "fetch it again")
    return document
