"""Text encoders in GGUF, written as llama.cpp's converter writes them, from networks with random weights."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType

#: Names of transformers -> those of llama.cpp.
_T5 = {
    "shared": "token_embd", "encoder.final_layer_norm": "enc.output_norm", "encoder.block.": "enc.blk.",
    "layer.0.SelfAttention.relative_attention_bias": "attn_rel_b", "layer.0.SelfAttention.": "attn_",
    "layer.0.layer_norm": "attn_norm", "layer.1.layer_norm": "ffn_norm",
    "layer.1.DenseReluDense.wi_0": "ffn_gate", "layer.1.DenseReluDense.wi_1": "ffn_up",
    "layer.1.DenseReluDense.wi": "ffn_up", "layer.1.DenseReluDense.wo": "ffn_down",
}  # fmt: skip
_LLAMA = {
    "language_model.": "", "model.": "", "lm_head": "output", "embed_tokens": "token_embd", "layers.": "blk.",
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "input_layernorm": "attn_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}  # fmt: skip
_SANDWICH = {
    "post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}  # fmt: skip
_EYES = ("visual.", "vision_tower.", "multi_modal_projector.")


def _name(place: str, architecture: str) -> str:
    if architecture.startswith("t5"):
        table = _T5
    elif architecture == "gemma2":
        table = {**_LLAMA, **_SANDWICH}
    else:
        table = {**_LLAMA, "post_attention_layernorm": "ffn_norm"}
    for theirs, ours in table.items():
        place = place.replace(theirs, ours)
    return re.sub(r"^norm\.", "output_norm.", place)


def _turned(array: np.ndarray, heads: int) -> np.ndarray:
    """As `LlamaModel.permute` of convert_hf_to_gguf.py."""
    return array.reshape(heads, 2, len(array) // heads // 2, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape)


def write_text_encoder(
    path: Path, model: Any, architecture: str, kind: str = "Q8_0", *, more: dict[str, np.ndarray] | None = None
) -> dict[str, torch.Tensor]:
    """Gives what the weights are in it, in transformers' names."""
    config, meant = model.config.get_text_config(), {}
    is_tied = getattr(model.config, "tie_word_embeddings", False)
    quantised = GGMLQuantizationType[kind]
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_array("tokenizer.ggml.tokens", ["a", "", "bc"])
    writer.add_array("tokenizer.ggml.scores", [0.5, 1.0, 2.0])
    written = set()
    for place, weight in model.state_dict().items():
        name = _name(place, architecture)
        meant[place] = weight
        if any(eye in place for eye in _EYES) or name == "encoder.embed_tokens.weight" or name in written:
            continue
        if name == "output.weight" and is_tied:
            continue
        written.add(name)
        array = weight.detach().float().numpy()
        if architecture == "gemma2" and name.endswith("norm.weight"):
            array = array + 1
        heads = {"attn_q": config.num_attention_heads, "attn_k": getattr(config, "num_key_value_heads", 0)}
        turn = heads.get(name.split(".")[-2], 0) if architecture in ("llama", "mistral3") else 0
        if array.ndim == 2 and "rel_b" not in name and array.shape[-1] % gguf.GGML_QUANT_SIZES[quantised][0] == 0:
            meant[place] = torch.from_numpy(
                gguf.quants.dequantize(gguf.quants.quantize(array, quantised), quantised).copy()
            )
            array = gguf.quants.quantize(_turned(array, turn) if turn else array, quantised)
            writer.add_tensor(name, array, raw_dtype=quantised)
        else:
            writer.add_tensor(name, _turned(array, turn) if turn else array)
    for name, array in (more or {}).items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    for place in ("encoder.embed_tokens.weight", "lm_head.weight"):  # what is shared
        first = next((key for key in meant if key == "shared.weight" or key.endswith("embed_tokens.weight")), None)
        if place in meant and first and (place != "lm_head.weight" or is_tied):
            meant[place] = meant[first]
    return meant
