"""Text encoders in GGUF, under llama.cpp's names: in memory as in the file, and wide only while they are used.

transformers reads such files, too (`gguf_file`), but makes all of it wide at once, so that no memory is saved.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from accelerate import init_empty_weights
from diffusers.quantizers.gguf.utils import GGUFLinear, GGUFParameter, dequantize_gguf_tensor
from gguf import GGMLQuantizationType
from torch import nn

from hotfolder.engines.generation.fitting import fitting, whole
from hotfolder.errors import BadInput
from hotfolder.models.architectures import Architecture, architecture_in
from hotfolder.models.gguf_reader import Reader
from hotfolder.models.quantised import read_gguf_header

_PLAIN = (GGMLQuantizationType.F32, GGMLQuantizationType.F16)
#: What sees pictures beside a language model, which a file of the latter has nothing of.
_EYES = ("visual", "vision_tower", "multi_modal_projector")
#: The beginnings of llama.cpp's names of what a text encoder is made of.
_OURS = ("blk.", "enc.", "token_embd", "output_norm")


class _Linear(GGUFLinear):  # type: ignore[misc]
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        # T5 has layers that work in float32, between others in float16.
        found: torch.Tensor = super().forward(inputs.to(self.compute_dtype))
        return found


class _Rows(nn.Embedding):
    """Only the rows of the words that are asked for are made wide; Gemma multiplies them."""

    compute_dtype: torch.dtype
    scale = 1.0

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        packed: Any = self.weight
        rows = torch.nn.functional.embedding(ids, packed.as_tensor())
        wide: torch.Tensor = dequantize_gguf_tensor(GGUFParameter(rows, quant_type=packed.quant_type))
        return wide.to(self.compute_dtype) * self.scale


class _NoEyes(nn.Module):
    """In the place of what would look at a picture."""

    @property
    def dtype(self) -> torch.dtype:
        raise BadInput(
            "the text encoder is in GGUF, which has nothing that sees pictures",
            "leave the init-image out, or use the model with the text encoder of its folder",
        )

    def forward(self, *_: Any, **__: Any) -> torch.dtype:
        return self.dtype


def is_packed(network: Any) -> bool:
    """Whether it is a text encoder as `read_gguf` gives it."""
    return isinstance(network, nn.Module) and any(isinstance(part, _Linear | _Rows) for part in network.modules())


def read_gguf(path: Path, cls: Any, folder: Path, dtype: torch.dtype) -> Any:
    """The text encoder of this file, on the CPU: a `cls` of transformers with the configuration of `folder`.

    It works in `dtype`. Raises ModelDamaged, UsageError.
    """
    architecture = architecture_in(path, read_gguf_header(path))
    with fitting(path, folder):
        config = cls.config_class.from_pretrained(folder, local_files_only=True)
        with init_empty_weights():
            model = cls(config)
        _without_eyes(model)
        text = config.get_text_config()
        heads = {"attn_q": text.num_attention_heads, "attn_k": getattr(text, "num_key_value_heads", 0)}
        wide = (model._keep_in_fp32_modules or ()) if dtype is torch.float16 else ()
        tensors = {tensor.name: tensor for tensor in Reader(path).tensors}
        places = _places(model, architecture, text.num_hidden_layers, tensors)
        if left := sorted(name for name in tensors.keys() - places.keys() if name.startswith(_OURS)):
            raise ValueError(f"it has {left[0]}, which is nowhere in that network")
        for name, theirs in places.items():
            tensor = tensors[name]
            values = _values(tensor, heads.get(name.split(".")[-2], 0) if architecture.is_turned else 0)
            if architecture.has_norms_plus_one and name.endswith("norm.weight"):
                values = dequantize_gguf_tensor(values) - 1
            made: dict[torch.dtype, nn.Parameter] = {}  # places that share their weights go on sharing them
            for place in theirs:
                kind = torch.float32 if any(part in wide for part in place.split(".")) else dtype
                _put(model, place, values, tuple(int(n) for n in reversed(tensor.shape)), kind, made)
        return whole(model.eval())


def _without_eyes(model: nn.Module) -> None:
    for part in list(model.modules()):
        for name in _EYES:
            if name in part._modules:
                setattr(part, name, _NoEyes())


def _places(
    model: nn.Module, architecture: Architecture, layers: int, tensors: Mapping[str, Any]
) -> dict[str, list[str]]:
    """Names in the file -> names in the network: one word list may be several layers there."""
    kind = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture.names)
    known = gguf.get_tensor_name_map(kind, layers)
    found: dict[str, list[str]] = {}
    for place in model.state_dict():
        # T5 has its words' weights twice, and its configuration may say that they are two.
        inner = place.replace("language_model.", "").replace("encoder.embed_tokens.", "shared.")
        plain, _, ending = inner.rpartition(".")
        name = known.get_name(plain) or known.get_name(f"model.{plain}")
        if name == "output" and f"output.{ending}" not in tensors:  # the words' own weights are used there
            name = "token_embd"
        if name is not None and f"{name}.{ending}" in tensors:
            found.setdefault(f"{name}.{ending}", []).append(place)
    return found


def _is_rows(part: nn.Embedding) -> bool:
    """Whether it does no more than `_Rows` can."""
    return type(part) is nn.Embedding or hasattr(part, "embed_scale")


def _values(tensor: Any, heads: int) -> torch.Tensor:
    """As they are in the file; of so many heads, whose rows are in pairs there, in halves."""
    array = tensor.data
    if heads:
        pairs = array.reshape(heads, len(array) // heads // 2, 2, *array.shape[1:])
        array = pairs.swapaxes(1, 2).reshape(array.shape)
    values = torch.from_numpy(np.array(array))
    if tensor.tensor_type in _PLAIN:
        return values
    # As int8, which is what T5 leaves alone: to any other type of its weights it casts what they are multiplied with.
    return GGUFParameter(values.view(torch.int8), quant_type=tensor.tensor_type)


def _put(
    model: nn.Module,
    place: str,
    values: torch.Tensor,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    made: dict[torch.dtype, nn.Parameter],
) -> None:
    at, _, name = place.rpartition(".")
    part = model.get_submodule(at)
    wanted = tuple(getattr(part, name).shape)
    if shape != wanted:
        raise ValueError(f"{place} is {shape} in it, and {wanted} there")
    packed: _Linear | _Rows | None = None
    with init_empty_weights():  # what is given to a layer here would lose its values, too
        if isinstance(values, GGUFParameter) and name == "weight" and type(part) is nn.Linear:
            packed = _Linear(part.in_features, part.out_features, part.bias is not None, compute_dtype=dtype)
        elif isinstance(values, GGUFParameter) and isinstance(part, nn.Embedding) and _is_rows(part):
            packed = _Rows(part.num_embeddings, part.embedding_dim)
            packed.compute_dtype = dtype
            # Rounded as transformers rounds it; it is no tensor here, because that would have to move along.
            packed.scale = float(torch.as_tensor(getattr(part, "embed_scale", 1.0)).to(dtype))
    if packed is not None:
        packed.weight = values
        if isinstance(part, nn.Linear):
            packed.bias = part.bias
        above, _, own = at.rpartition(".")
        setattr(model.get_submodule(above), own, packed)
        return
    if dtype not in made:
        made[dtype] = nn.Parameter(dequantize_gguf_tensor(values).to(dtype), requires_grad=False)
    setattr(part, name, made[dtype])
