"""Models that come as one file, loaded without the hub.

Stable Diffusion 1.5 and SDXL are whole checkpoints in the layout of the original code (github.com/CompVis/
stable-diffusion, github.com/Stability-AI/generative-models); of other families it is the denoiser alone
(denoiser_file.py). What such a file does not say, the sizes of the networks and the scheduler, comes from a pipeline
folder: hotfolder/models/families, or `base`.
"""

from __future__ import annotations

import gzip
import importlib.util
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import AutoencoderKL, DiffusionPipeline, UNet2DConditionModel
from diffusers.loaders.single_file_utils import create_diffusers_clip_model_from_ldm
from safetensors import SafetensorError, safe_open
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from hotfolder.core.families import family_called
from hotfolder.engines.generation.denoiser_file import load_denoiser
from hotfolder.engines.generation.fitting import fitting, whole
from hotfolder.engines.generation.pipelines import pipeline_class
from hotfolder.errors import ModelDamaged, UsageError
from hotfolder.models.checkpoint import (
    CLIP,
    OPEN_CLIP,
    UNET,
    VAE,
    Header,
    family_in,
    is_whole,
    read_header,
    unreadable,
)
from hotfolder.models.family import read_config
from hotfolder.models.quantised import is_gguf, read_gguf_header

#: The configurations of stable-diffusion-v1-5/stable-diffusion-v1-5 and stabilityai/stable-diffusion-xl-base-1.0,
#: without what diffusers and transformers have as their defaults anyway.
FAMILIES = Path(str(files("hotfolder.models"))) / "families"


def load_single_file(
    path: Path,
    base: Path | None,
    dtype: torch.dtype,
    *,
    in_8_bits: bool = False,
    text_encoders: Sequence[Path] = (),
) -> DiffusionPipeline:
    """The pipeline of this file, on the CPU; its weights in any precision become `dtype`.

    `base` is a pipeline folder of the same family; of a denoiser alone, with the text encoders and VAE. `in_8_bits`
    leaves weights that have 8 bits and scales so. `text_encoders` are read in the place of the base's.
    Raises ModelDamaged for what cannot be read, UsageError for what is not supported, or does not fit its base.
    """
    header = read_gguf_header(path) if is_gguf(path) else read_header(path)
    if not is_gguf(path) and (base is None or is_whole(header)):
        family = family_in(path, header)
        if family != "flux":
            if text_encoders:
                raise UsageError(f"{path} has text encoders of its own", f"leave {text_encoders[0].name} out")
            return _load_ldm(path, header, family, base, dtype)
    if base is None:
        what = "denoiser of a model" if is_gguf(path) else "transformer of FLUX.1"
        raise UsageError(
            f"{path} is the {what} alone",
            "name a base: a pipeline folder of its family, whose text encoders and VAE it is used with",
        )
    return load_denoiser(path, header, base, dtype, in_8_bits=in_8_bits, text_encoders=text_encoders)


def _load_ldm(path: Path, header: Header, family: str, base: Path | None, dtype: torch.dtype) -> DiffusionPipeline:
    folder = base or FAMILIES / family
    index = _index(folder, path, family)
    parts: dict[str, Any] = {"scheduler": _scheduler(folder, index)}
    parts["tokenizer"] = _tokenizer(base, "tokenizer")
    if family == "sdxl":
        parts["tokenizer_2"] = _tokenizer(base, "tokenizer_2")
    # Each part is given its own weights alone: diffusers tells two text encoders apart by their width.
    with fitting(path, folder, _title(folder)):
        weights = _read(path, header, dtype, CLIP[family])
        named = {_with_text_model(name, CLIP[family]): tensor for name, tensor in weights.items()}
        parts["text_encoder"] = _clip(CLIPTextModel, named, folder, "text_encoder", dtype)
        if family == "sdxl":
            weights = _read(path, header, dtype, OPEN_CLIP)
            parts["text_encoder_2"] = _clip(CLIPTextModelWithProjection, weights, folder, "text_encoder_2", dtype)
        for name, model, prefixes in (("vae", AutoencoderKL, VAE), ("unet", UNet2DConditionModel, (UNET,))):
            parts[name] = whole(
                model.from_single_file(
                    _read(path, header, dtype, *prefixes),
                    config=str(folder),
                    subfolder=name,
                    torch_dtype=dtype,
                    local_files_only=True,
                )
            )
    pipeline = pipeline_class(family_called(family).pipeline)
    if family == "sdxl":
        empty_is_zero = index.get("force_zeros_for_empty_prompt", True)
        return pipeline(**parts, force_zeros_for_empty_prompt=empty_is_zero, add_watermarker=False)
    return pipeline(**parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False)


def _read(path: Path, header: Header, dtype: torch.dtype, *prefixes: str) -> dict[str, torch.Tensor]:
    """The tensors below these names, each cast as it is read."""
    try:
        with safe_open(path, framework="pt") as file:
            # float8 has no arithmetic of its own: it is a way to store, and fits whole into the others.
            return {
                name: tensor.to(dtype) if tensor.is_floating_point() else tensor
                for name in header.shapes
                if name.startswith(prefixes)
                for tensor in (file.get_tensor(name),)
            }
    except (OSError, SafetensorError) as error:
        raise unreadable(path, error) from None


def _with_text_model(name: str, prefix: str) -> str:
    """NovelAI's early models, and what was merged from them, leave 'text_model.' out."""
    rest = name.removeprefix(prefix)
    return f"{prefix}text_model.{rest.removeprefix('text_model.')}"


def _clip(model: Any, weights: dict[str, torch.Tensor], folder: Path, name: str, dtype: torch.dtype) -> Any:
    """A text encoder: CLIP of transformers as it is, or of open_clip with q, k and v in one matrix (3 w, w)."""
    return whole(
        create_diffusers_clip_model_from_ldm(
            model, weights, subfolder=name, config=str(folder), torch_dtype=dtype, local_files_only=True
        )
    )


def _index(folder: Path, path: Path, family: str) -> dict[str, Any]:
    """The folder's model_index.json, once it is one of this family."""
    index = read_config(folder / "model_index.json")
    if index.get("_class_name") != family_called(family).pipeline:
        raise UsageError(
            f"{path} is {family_called(family).title}, {folder} is a {index.get('_class_name')}",
            "name a base of the same family",
        )
    return index


def _title(folder: Path) -> str | None:
    """Of a folder that is hotfolder's own, and not somebody's base."""
    return family_called(folder.name).title if folder.is_relative_to(FAMILIES) else None


def _scheduler(folder: Path, index: Mapping[str, Any]) -> Any:
    try:
        scheduler = getattr(diffusers, index["scheduler"][1])
        return scheduler.from_pretrained(str(folder), subfolder="scheduler", local_files_only=True)
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise ModelDamaged(f"the scheduler in {folder} cannot be loaded: {error}", "fetch it again") from error


def _tokenizer(base: Path | None, name: str) -> CLIPTokenizer:
    """That of `base`, else CLIP's; SDXL's second pads with token 0, as it was trained."""
    if base is None:
        return clip_tokenizer(pad_token="!") if name == "tokenizer_2" else clip_tokenizer()
    # Without these files transformers would make a tokenizer that knows no word.
    if not any((base / name / file).is_file() for file in ("tokenizer.json", "vocab.json")):
        raise ModelDamaged(f"{base} has no {name}", "fetch it again")
    try:
        return CLIPTokenizer.from_pretrained(str(base / name), local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelDamaged(f"the {name} in {base} cannot be loaded: {error}", "fetch it again") from error


def clip_tokenizer(**settings: Any) -> CLIPTokenizer:
    """CLIP's 49,408 tokens, from the merges that open_clip brings (github.com/openai/CLIP, clip/simple_tokenizer.py).

    Bytes, bytes at a word's end, 48,894 merges after the line with their version, and the two marks.
    """
    letters = sorted(ByteLevel.alphabet())
    with gzip.open(_merges(), "rt", encoding="utf-8") as file:
        lines = file.read().split("\n")[1 : 49_408 - 2 * len(letters) - 2 + 1]
    merges = [(first, second) for first, second in map(str.split, lines)]
    words = [*letters, *(f"{letter}</w>" for letter in letters), *map("".join, merges)]
    vocabulary = {word: number for number, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77, **settings)


def _merges() -> Path:
    """The file of open_clip. Found, not imported: that brings timm and all that it has."""
    found = importlib.util.find_spec("open_clip")
    assert found is not None and found.origin is not None
    return Path(found.origin).with_name("bpe_simple_vocab_16e6.txt.gz")
