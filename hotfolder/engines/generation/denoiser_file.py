"""A denoiser in one file, beside a pipeline folder that has the other parts: as it is, in GGUF, or in scaled fp8.

The folder's configuration says what the network is; diffusers knows the names that its makers, and ComfyUI, give its
weights. Nothing is asked of the hub, which diffusers does where it is not told the configuration.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import DiffusionPipeline
from diffusers.models.model_loading_utils import load_gguf_checkpoint
from diffusers.quantizers.quantization_config import BFLQuantizationConfig
from safetensors import SafetensorError, safe_open

from hotfolder.engines.generation.fitting import fitting, whole
from hotfolder.engines.generation.pipelines import pipeline_class
from hotfolder.errors import ModelDamaged, UsageError
from hotfolder.models.checkpoint import UNET, Header, family_in, flux_prefix, has_guidance, unreadable
from hotfolder.models.family import read_config, variant_of
from hotfolder.models.quantised import BESIDE, SCALES, check_scales, is_gguf
from hotfolder.models.text_encoders import placed

_FLUX_BLOCK = re.compile(r"(double|single)_blocks\.(\d+)\.")
#: Layers that stay in 8 bits: those of the blocks, which are nearly all. Some embedders look at their weights' type.
_BLOCK = re.compile(r"(blocks|layers)\.\d+\.")
Weights = dict[str, torch.Tensor]


def load_denoiser(
    path: Path,
    header: Header,
    base: Path,
    dtype: torch.dtype,
    *,
    in_8_bits: bool = False,
    text_encoders: Sequence[Path] = (),
) -> DiffusionPipeline:
    """The pipeline of `base` with this file's denoiser, and these text encoders. Raises ModelDamaged, UsageError."""
    index = read_config(base / "model_index.json")
    network = _network(path, header, base, index)
    given = {"transformer", *placed(base, text_encoders)}
    lacking = [
        name
        for name in sorted(index)
        if name not in given and (base / name / "config.json").is_file()
        and not any((base / name).glob("*.safetensors"))
    ]  # fmt: skip
    if lacking:
        raise UsageError(
            f"{base} has no weights in {' and '.join(lacking)}",
            "name a base with them, or text encoders in GGUF: the file has the transformer alone",
        )
    more: dict[str, Any] = {}
    with fitting(path, base):
        if is_gguf(path):
            weights = _without_prefix(load_gguf_checkpoint(str(path)))
            more["quantization_config"] = diffusers.GGUFQuantizationConfig(compute_dtype=dtype)
        else:
            weights = _without_prefix(read_scaled(path, header, dtype, in_8_bits=in_8_bits))
            if any(name.endswith(".weight_scale") for name in weights):
                more["quantization_config"] = BFLQuantizationConfig(compute_dtype=dtype)
        # FLUX.1 has merges with fewer blocks than it has itself.
        found = [match for name in weights if (match := _FLUX_BLOCK.match(name))]
        if network is diffusers.FluxTransformer2DModel and found:
            count = {kind: 1 + max(int(m[2]) for m in found if m[1] == kind) for kind in ("double", "single")}
            more |= {"num_layers": count["double"], "num_single_layers": count["single"]}
        transformer = whole(
            network.from_single_file(
                weights, config=str(base), subfolder="transformer", dtype=dtype, local_files_only=True, **more
            )
        )
        del weights
    from hotfolder.engines.generation.text_encoder_file import read_encoders  # which reads as this module does

    encoders = read_encoders(base, index, dtype, text_encoders)
    try:
        return pipeline_class(index.get("_class_name")).from_pretrained(
            str(base), transformer=transformer, dtype=dtype, variant=variant_of(base), use_safetensors=True,
            local_files_only=True, **encoders,
        )  # fmt: skip
    except (OSError, ValueError, KeyError) as error:
        raise ModelDamaged(f"the pipeline in {base} cannot be loaded: {error}", "fetch it again") from error


def _network(path: Path, header: Header, base: Path, index: Mapping[str, Any]) -> Any:
    """The class of the base's denoiser, once the file can be one of it."""
    if not is_gguf(path) and flux_prefix(header) is not None:
        family_in(path, header)  # refuses those that begin from a picture
        pipeline = index.get("_class_name")
        if pipeline != "FluxPipeline":
            raise UsageError(f"{path} is FLUX.1, {base} is a {pipeline}", "name a base of the same family")
        guided = read_config(base / "transformer" / "config.json").get("guidance_embeds", False)
        if guided != has_guidance(header):
            sorts = ("[dev]", "[schnell]") if guided else ("[schnell]", "[dev]")
            raise UsageError(
                f"{path} does not fit {base}: that is FLUX.1 {sorts[0]}", f"use a FLUX.1 {sorts[1]} as base"
            )
    named = index.get("transformer")
    network = getattr(diffusers, str(named[1]), None) if isinstance(named, list) and len(named) > 1 else None
    if network is None or not hasattr(network, "from_single_file"):
        raise UsageError(
            f"{base} has no transformer that can be read from one file", "use the whole pipeline folder"
        )
    if not is_gguf(path):
        check_scales(path, header)
    return network


def _without_prefix(weights: Weights) -> Weights:
    """As its makers name them: ComfyUI puts a prefix before, and perhaps other parts beside, which are left out."""
    if any(name.startswith(UNET) for name in weights):
        return {name.removeprefix(UNET): value for name, value in weights.items() if name.startswith(UNET)}
    return weights


def read_scaled(path: Path, header: Header, dtype: torch.dtype, *, in_8_bits: bool) -> Weights:
    """The weights, each times its scale and cast; with `in_8_bits` the blocks' stay, with one scale for each row."""
    weights: Weights = {}
    try:
        with safe_open(path, framework="pt") as file:
            for name in header.shapes:
                if name.endswith((*SCALES, *BESIDE)):
                    continue
                tensor = file.get_tensor(name)
                layer = name.removesuffix(".weight")
                scales = [layer + end for end in SCALES if name != layer and layer + end in header.shapes]
                if not scales:
                    weights[name] = tensor.to(dtype) if tensor.is_floating_point() else tensor
                    continue
                scale = file.get_tensor(scales[0]).float()
                if in_8_bits and tensor.dtype is torch.float8_e4m3fn and tensor.ndim == 2 and _BLOCK.search(name):
                    weights[name] = tensor
                    weights[f"{layer}.weight_scale"] = scale.reshape(-1).expand(len(tensor)).contiguous()
                else:
                    by_row = (
                        scale.reshape(-1, *[1] * (tensor.ndim - 1)) if scale.numel() > 1 else scale.reshape(())
                    )
                    weights[name] = (tensor.float() * by_row).to(dtype)
    except (OSError, SafetensorError) as error:
        raise unreadable(path, error) from None
    return weights
