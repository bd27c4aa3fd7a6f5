"""CLIP as open_clip builds it: ViT-L/14 from OpenAI's weights, or another of its architectures.

Radford et al., 'Learning transferable visual models from natural language supervision', ICML 2021.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from open_clip.transformer import QuickGELU
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file

from hotfolder.engines.device import precision_name
from hotfolder.engines.scoring.base import Bench, View
from hotfolder.engines.scoring.mixed import with_half_products
from hotfolder.engines.transfer import sent_together
from hotfolder.errors import ModelDamaged
from hotfolder.models.registry import ModelSpec

SIDE = 224
#: Of OpenAI's CLIP, on sRGB in [0, 1].
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
#: How far an embedding (length 1) in half precision may be from float32's along any one direction: 0.005 of laion-v2's
#: score, whose head has a slope of 18. Measured in bfloat16: at most 0.0033 of that score, on 200 varied pictures.
HALF_ERROR = 2.78e-4
#: Texts that are remembered: seeds of one prompt follow each other.
_MOST_TEXTS = 256


@dataclass(frozen=True, slots=True)
class Architecture:
    """Of an image tower and the text tower that belongs to it."""

    config: str  # open_clip's name of it
    name: str  # for messages
    activation: type[torch.nn.Module]
    half_error: float  # see Encoder


L14 = Architecture("ViT-L-14-quickgelu", "ViT-L/14", QuickGELU, HALF_ERROR)

#: The mean as a colour: what letterboxes are filled with is nothing to the network.
_NEUTRAL = (123, 117, 104)
#: From this aspect on only what the crop keeps is resized: the rest could be gigabytes.
_LONG = 8


def centre_crop(image: Image.Image) -> View:
    """(224, 224, 3) uint8: shorter side to 224 with Pillow's bicubic, then the centre, as CLIP does."""
    width, height = image.size
    if width <= height:
        size = (SIDE, max(SIDE, int(SIDE * height / width)))
    else:
        size = (max(SIDE, int(SIDE * width / height)), SIDE)
    left, top = round((size[0] - SIDE) / 2), round((size[1] - SIDE) / 2)
    if max(size) > _LONG * SIDE:
        x, y = width / size[0], height / size[1]
        box = (left * x, top * y, min(width, (left + SIDE) * x), min(height, (top + SIDE) * y))
        return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=box))
    resized = image.resize(size, Image.Resampling.BICUBIC)
    return np.asarray(resized.crop((left, top, left + SIDE, top + SIDE)))


def letterbox(image: Image.Image) -> View:
    """(224, 224, 3) uint8: longer side to 224 with Pillow's bicubic, on CLIP's mean colour. Nothing is cut off."""
    factor = SIDE / max(image.size)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    canvas = Image.new("RGB", (SIDE, SIDE), _NEUTRAL)
    resized = image.resize(size, Image.Resampling.BICUBIC)
    canvas.paste(resized, ((SIDE - size[0]) // 2, (SIDE - size[1]) // 2))
    return np.asarray(canvas)


_CROPS = {"centre": ("centrecrop", centre_crop), "letterbox": ("letterbox", letterbox)}


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The weights in open_clip's layout, from a safetensors file in open_clip's or transformers' layout."""
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelDamaged(
            f"{path} cannot be read as safetensors: {error}",
            "fetch it again; OpenAI's own ViT-L-14.pt is an archive with code in it and is not read",
        ) from None
    return _from_transformers(state) if any(key.startswith("vision_model.") for key in state) else state


def _from_transformers(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """transformers' CLIPModel to open_clip's CLIP: other names, the three projections joined, two transposed."""
    found: dict[str, torch.Tensor] = {}
    simple = {
        "vision_model.embeddings.class_embedding": "visual.class_embedding",
        "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
        "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
        "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
        "text_model.embeddings.position_embedding.weight": "positional_embedding",
        "logit_scale": "logit_scale",
    }
    towers = {"vision_model": "visual.transformer", "text_model": "transformer"}
    norms = {
        "vision_model.pre_layrnorm": "visual.ln_pre",
        "vision_model.post_layernorm": "visual.ln_post",
        "text_model.final_layer_norm": "ln_final",
    }
    parts = {
        "self_attn.out_proj": "attn.out_proj", "layer_norm1": "ln_1", "layer_norm2": "ln_2",
        "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
    }  # fmt: skip
    for key, value in state.items():
        layer = re.fullmatch(r"(vision_model|text_model)\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)", key)
        stem, _, last = key.rpartition(".")
        if key in simple:
            found[simple[key]] = value
        elif key in ("visual_projection.weight", "text_projection.weight"):
            found["visual.proj" if key[0] == "v" else "text_projection"] = value.T.contiguous()
        elif stem in norms:
            found[f"{norms[stem]}.{last}"] = value
        elif layer is not None:
            tower, number, part, last = layer.groups()
            block = f"{towers[tower]}.resblocks.{number}"
            if part in parts:
                found[f"{block}.{parts[part]}.{last}"] = value
            elif part == "self_attn.q_proj":
                names = [key.replace("q_proj", f"{which}_proj") for which in "qkv"]
                found[f"{block}.attn.in_proj_{last}"] = torch.cat([state[name] for name in names])
    return found


def build_tower(weights: Path, architecture: Architecture = L14) -> torch.nn.Module:
    """The image tower, in the file's precision. Raises ModelDamaged if it does not fit."""
    # Without weights of its own: filling them with random numbers first would take seconds.
    with torch.device("meta"):
        tower: torch.nn.Module = open_clip.CLIP(**open_clip.get_model_config(architecture.config)).visual
    state = {k.removeprefix("visual."): v for k, v in read_weights(weights).items() if k.startswith("visual.")}
    try:
        tower.load_state_dict(state, assign=True)
    except (RuntimeError, KeyError) as error:
        raise ModelDamaged(
            f"{weights} does not hold {architecture.name} in open_clip's or transformers' layout: "
            f"{str(error)[:200]}",
            "fetch it again",
        ) from None
    activations = [m for m in tower.modules() if isinstance(m, (QuickGELU, torch.nn.GELU))]
    if not activations or not all(isinstance(m, architecture.activation) for m in activations):
        # OpenAI's weights with plain GELU score about 0.6 too low, without any other sign.
        raise ModelDamaged(
            f"the {architecture.name} tower was built without {architecture.activation.__name__}",
            "report it: a bug in hotfolder",
        )
    return tower.eval().requires_grad_(False)


class TextTower:
    """What CLIP makes of words, in float32 on every device."""

    def __init__(self, weights: Path, architecture: Architecture, device: torch.device) -> None:
        """Raises ModelDamaged for weights without a text tower."""
        with torch.device("meta"):
            model: Any = open_clip.CLIP(**open_clip.get_model_config(architecture.config))
        del model.visual
        state = {k: v.float() for k, v in read_weights(weights).items() if not k.startswith("visual.")}
        mask = model.attn_mask  # a buffer that no file has
        try:
            model.load_state_dict(state, assign=True)
        except RuntimeError as error:
            raise ModelDamaged(
                f"{weights} has no text tower of {architecture.name}: {str(error)[:200]}", "fetch the whole model"
            ) from None
        model.attn_mask = torch.full(mask.shape, -torch.inf).triu(1)
        self._model = model.eval().requires_grad_(False).to(device)
        self._tokenizer = open_clip.get_tokenizer(architecture.config)
        self._device = device

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str]) -> torch.Tensor:
        """(n, d) float32 of length 1, on the CPU."""
        found = self._model.encode_text(self._tokenizer(list(texts)).to(self._device)).float()
        return F.normalize(found, dim=-1).cpu()


def embed_texts(weights: Path, texts: Sequence[str], architecture: Architecture = L14) -> torch.Tensor:
    """(n, d) float32, of length 1. Raises ModelDamaged for weights without a text tower."""
    return TextTower(weights, architecture, torch.device("cpu"))(texts)


class ClipEncoder:
    """The image tower in the device's precision, and in float32; the embeddings are float32, of length 1."""

    def __init__(self, spec: ModelSpec, bench: Bench, architecture: Architecture = L14) -> None:
        crop, self._crop = _CROPS[bench.settings.crop]
        self.weights = spec.files[0].path
        self.weights_sha256 = spec.verify()
        self.preprocessing = f"srgb-on-{bench.settings.background}-bicubic{SIDE}-{crop}"
        self.precision = precision_name(bench.dtype)
        self.half_error = architecture.half_error
        self.id = f"{spec.name}/{self.preprocessing}/{self.weights_sha256[:16]}"
        self.largest_batch = 256 if bench.device.type == "cuda" else 8
        self._device, self._architecture = bench.device, architecture
        self._full = build_tower(self.weights, architecture).to(bench.device).float()
        half = bench.dtype is not torch.float32
        tower = with_half_products(self._full, bench.dtype) if half else self._full
        self._tower = torch.compile(tower, dynamic=True) if bench.settings.compile else tower
        self._mean, self._std = (torch.tensor(v, device=bench.device).view(1, 3, 1, 1) for v in (MEAN, STD))
        self._reading = threading.Lock()
        self._text_tower: TextTower | None = None
        self._texts: OrderedDict[str, torch.Tensor] = OrderedDict()

    def prepare(self, image: Image.Image) -> View:
        return self._crop(image)

    def embed(self, views: Sequence[View]) -> torch.Tensor:
        return self._through(self._tower, views)

    def embed_precisely(self, views: Sequence[View]) -> torch.Tensor:
        return self._through(self._full, views)

    def embed_words(self, words: str) -> torch.Tensor:
        return embed_texts(self.weights, [words], self._architecture)[0]

    def read(self, text: str) -> torch.Tensor:
        """The same for one of many texts: the text tower stays loaded. Raises ModelDamaged where there is none."""
        with self._reading:
            if self._text_tower is None:
                self._text_tower = TextTower(self.weights, self._architecture, self._device)
            if text not in self._texts:
                self._texts[text] = self._text_tower([text])[0]
            self._texts.move_to_end(text)
            if len(self._texts) > _MOST_TEXTS:
                self._texts.popitem(last=False)
            return self._texts[text]

    @torch.inference_mode()
    def _through(self, tower: Any, views: Sequence[View]) -> torch.Tensor:
        pixels = sent_together(views, self._device)
        normalised = (pixels.permute(0, 3, 1, 2).float() / 255 - self._mean) / self._std
        return F.normalize(tower(normalised), dim=-1)


def load_encoder(spec: ModelSpec, bench: Bench) -> ClipEncoder:
    return ClipEncoder(spec, bench)
