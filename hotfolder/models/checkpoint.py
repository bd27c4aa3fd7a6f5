"""What a .safetensors checkpoint is, from its header alone. Reads no weights, and needs no torch.

The header: 8 bytes, little-endian, how long the JSON after them is (github.com/huggingface/safetensors).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hotfolder.errors import ModelDamaged, UsageError

KNOWN = "whole checkpoints of Stable Diffusion 1.5 and SDXL, and the transformer of FLUX.1, can be used"

#: The names below which the parts of a checkpoint's weights are.
UNET = "model.diffusion_model."
VAE = ("first_stage_model.encoder.", "first_stage_model.decoder.", "first_stage_model.quant_conv.",
       "first_stage_model.post_quant_conv.")  # fmt: skip
CLIP = {"sd15": "cond_stage_model.transformer.", "sdxl": "conditioner.embedders.0.transformer."}
OPEN_CLIP = "conditioner.embedders.1.model."
FLUX = ("double_blocks.", "single_blocks.", "img_in.", "txt_in.", "time_in.", "vector_in.", "guidance_in.",
        "final_layer.")  # fmt: skip
#: More than any checkpoint's header.
_MOST_BYTES = 100 * 2**20
_LORA = re.compile(r"(^|[._])(lora_|hada_|lokr_|oft_|dora_scale)")
#: What a merge of fp8 weights with their scales, or of 4-bit ones, has beside each of them.
_SCALES = re.compile(r"\.(scale_weight|weight_scale(_2)?|comfy_quant|absmax|quant_map)$|quant_state\.")
#: The types of weights that are numbers as they stand.
FLOATS = {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"}


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of its tensors."""

    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, str]  # in the spelling of safetensors: 'F16', 'F8_E4M3', …
    metadata: Mapping[str, str]

    def has(self, *prefixes: str) -> bool:
        """Whether there is a tensor below any of these names."""
        return any(name.startswith(prefixes) for name in self.shapes)

    def size(self, name: str, axis: int) -> int:
        """Of this tensor along this axis; 0 where it has none."""
        return (*self.shapes.get(name, ()), 0, 0)[axis]


def read_header(path: Path) -> Header:
    if path.suffix.lower() in (".ckpt", ".pt", ".pth", ".bin"):
        raise UsageError(
            f"{path} is a pickle, which can run any program as it is opened",
            "use the same model as .safetensors",
        )
    if path.suffix.lower() not in (".safetensors", ".sft"):
        raise UsageError(f"{path} is not a .safetensors file", KNOWN)
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if size > _MOST_BYTES:
                raise ValueError("it is not in the safetensors format")
            text = file.read(size)
        document = json.loads(text)
        metadata = document.pop("__metadata__", None) or {}
        shapes = {str(name): tuple(map(int, entry["shape"])) for name, entry in document.items()}
        dtypes = {str(name): str(entry["dtype"]) for name, entry in document.items()}
        end = 8 + size + max((int(entry["data_offsets"][1]) for entry in document.values()), default=0)
        if path.stat().st_size < end:
            raise ValueError(f"it ends before its end: {path.stat().st_size:,} of {end:,} bytes")
        return Header(shapes, dtypes, {str(key): str(value) for key, value in metadata.items()})
    except (OSError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        raise unreadable(path, error) from None


def unreadable(path: Path, error: Exception) -> ModelDamaged:
    return ModelDamaged(f"{path} cannot be read: {error}", "fetch it again")


def family_in(path: Path, header: Header) -> str:
    """'sd15', 'sdxl' or 'flux', as a file says without a base. Raises UsageError for another, by its name
    where that is known."""
    flux = flux_prefix(header)
    reads: tuple[str, ...]
    if flux is not None:
        family, reads = "flux", tuple(flux + part for part in FLUX)
    elif is_whole(header):
        family = "sdxl" if f"{UNET}label_emb.0.0.weight" in header.shapes else "sd15"
        reads = (UNET, *VAE, CLIP[family], OPEN_CLIP)
    else:
        raise UsageError(f"{path} is {_other(header)}", KNOWN)
    weights = [name for name in header.shapes if name.startswith(reads) and not name.endswith(".position_ids")]
    # Before the shapes are looked at: of packed weights they say nothing. Those of a denoiser alone are for
    # hotfolder/models/quantised.py.
    if flux is None and any(_SCALES.search(name) or header.dtypes[name] not in FLOATS for name in weights):
        raise UsageError(
            f"{path} has weights that are quantised with scales", "use it in fp16, bf16, or fp8 without scales"
        )
    other = _other_unet(header) or _part_of(header, family) if flux is None else _other_flux(header, flux)
    if other:
        raise UsageError(f"{path} is {other}", KNOWN)
    return family


def is_whole(header: Header) -> bool:
    """Whether it has the parts of Stable Diffusion 1.5 or SDXL, as far as one name tells."""
    return f"{UNET}input_blocks.0.0.weight" in header.shapes


def flux_prefix(header: Header) -> str | None:
    """What stands before the names of FLUX.1's transformer: '' in BFL's file, `UNET` as ComfyUI saves it."""
    # FLUX.2 and Chroma have blocks of the same names, but no modulation in each.
    marks = ("img_in.weight", "vector_in.in_layer.weight", "double_blocks.0.img_mod.lin.weight",
             "single_blocks.0.linear1.weight", "final_layer.linear.weight")  # fmt: skip
    for prefix in ("", UNET):
        if all(prefix + mark in header.shapes for mark in marks):
            return prefix
    return None


def _other_flux(header: Header, prefix: str) -> str | None:
    """Fill, Canny and Depth take more channels than they give."""
    taken = header.size(f"{prefix}img_in.weight", 1)
    given = header.size(f"{prefix}final_layer.linear.weight", 0)
    return None if taken == given else "a FLUX.1 model that starts from a picture (Fill, Canny or Depth)"


def _other_unet(header: Header) -> str | None:
    """What this UNet is, where it is not one that draws from text with the noise as its answer."""
    taken, given = header.size(f"{UNET}input_blocks.0.0.weight", 1), header.size(f"{UNET}out.2.weight", 0)
    # github.com/comfyanonymous/ComfyUI tells them apart by the same marks (comfy/supported_models.py).
    if taken == 9:
        return "an inpainting model"
    if given and taken != given:
        return f"a model that starts from a picture ({taken} channels in, {given} out)"
    if header.has("conditioner.embedders.0.model.") and f"{UNET}label_emb.0.0.weight" in header.shapes:
        return "the refiner of SDXL, not a base model"
    if header.has("cond_stage_model.model.", "conditioner.embedders.0.model."):
        return "a Stable Diffusion 2 model"
    if "edm_mean" in header.shapes or "edm_vpred.sigma_max" in header.shapes:
        return "a model of the EDM kind (Playground 2.5, CosXL)"
    predicts = header.metadata.get("modelspec.prediction_type", "").lower().replace("_", "-")
    if "v_pred" in header.shapes or predicts in ("v", "v-prediction"):
        return "a v-prediction model"
    return None


def _part_of(header: Header, family: str) -> str | None:
    """What of a whole checkpoint is not in the file."""
    encoders = (CLIP[family], OPEN_CLIP) if family == "sdxl" else (CLIP[family],)
    missing = [] if all(header.has(prefix) for prefix in encoders) else ["text encoder"]
    missing += [] if header.has(VAE[1]) else ["VAE"]
    return f"not a whole checkpoint: it has no {' and no '.join(missing)}" if missing else None


def _other(header: Header) -> str:
    """Names of other architectures as diffusers knows them (loaders/single_file_utils.py)."""
    names = header.shapes
    if any(_LORA.search(name) for name in names):
        return "a LoRA, not a checkpoint"
    if any("joint_blocks.0." in name for name in names):
        return "a Stable Diffusion 3 model"
    if any("distilled_guidance_layer." in name for name in names):
        return "a Chroma model"
    if any("single_stream_modulation." in name for name in names):
        return "a FLUX.2 model"
    if header.has("control_model.", "controlnet_"):
        return "a ControlNet, not a checkpoint"
    if header.has("down_blocks.", "transformer_blocks.", "text_model.", "decoder."):
        return "one part of a pipeline, not a checkpoint"
    return "not a model that this program knows to draw with"


def has_guidance(header: Header) -> bool:
    """Whether a transformer of FLUX.1 takes the guidance as an input: [dev] does, [schnell] does not."""
    return header.has(f"{flux_prefix(header) or ''}guidance_in.")
