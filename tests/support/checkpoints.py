"""Tiny pipelines as single files, the way such models are traded, and LoRAs for them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FunctionType
from typing import Any

import torch
from diffusers import FluxPipeline, StableDiffusionPipeline, StableDiffusionXLPipeline
from diffusers.loaders.single_file_model import SINGLE_FILE_LOADABLE_CLASSES
from safetensors.torch import save_file

Weights = dict[str, torch.Tensor]
FolderSettings = list[tuple[str, str]]

# Names in diffusers (patterns) and in the original files, applied one after the other.
_UNET_RESNET: FolderSettings = [
    (r"\bnorm1\b", "in_layers.0"), (r"\bconv1\b", "in_layers.2"), (r"\btime_emb_proj\b", "emb_layers.1"),
    (r"\bnorm2\b", "out_layers.0"), (r"\bconv2\b", "out_layers.3"), (r"\bconv_shortcut\b", "skip_connection"),
]  # fmt: skip
_UNET_REST: FolderSettings = [
    (r"^time_embedding\.linear_1\b", "time_embed.0"), (r"^time_embedding\.linear_2\b", "time_embed.2"),
    (r"^add_embedding\.linear_1\b", "label_emb.0.0"), (r"^add_embedding\.linear_2\b", "label_emb.0.2"),
    (r"^conv_in\b", "input_blocks.0.0"), (r"^conv_norm_out\b", "out.0"), (r"^conv_out\b", "out.2"),
    (r"^mid_block\.resnets\.0\b", "middle_block.0"), (r"^mid_block\.attentions\.0\b", "middle_block.1"),
    (r"^mid_block\.resnets\.1\b", "middle_block.2"),
]  # fmt: skip
_VAE: FolderSettings = [
    (r"\bmid_block\.resnets\.0\b", "mid.block_1"), (r"\bmid_block\.resnets\.1\b", "mid.block_2"),
    (r"\bmid_block\.attentions\.0\b", "mid.attn_1"), (r"\bgroup_norm\b", "norm"),
    (r"\bto_([qkv])\b", r"\1"), (r"\bto_out\.0\b", "proj_out"),
    (r"\bconv_norm_out\b", "norm_out"), (r"\bconv_shortcut\b", "nin_shortcut"),
    (r"\bdown_blocks\b", "down"), (r"\bup_blocks\b", "up"), (r"\bresnets\b", "block"),
    (r"\bdownsamplers\.0\b", "downsample"), (r"\bupsamplers\.0\b", "upsample"),
]  # fmt: skip
_OPEN_CLIP: FolderSettings = [
    (r"^text_model\.", ""), (r"^embeddings\.token_embedding\b", "token_embedding"),
    (r"^embeddings\.position_embedding\.weight$", "positional_embedding"),
    (r"^final_layer_norm\b", "ln_final"), (r"^text_projection\.weight$", "text_projection"),
    (r"^encoder\.layers\b", "transformer.resblocks"), (r"\blayer_norm([12])\b", r"ln_\1"),
    (r"\bself_attn\b", "attn"), (r"\bfc1\b", "c_fc"), (r"\bfc2\b", "c_proj"),
    (r"\.([qkv])_proj\.(weight|bias)$", r".in_proj_\2.\1"),
]  # fmt: skip
_FLUX: FolderSettings = [
    (r"^time_text_embed\.timestep_embedder\b", "time_in"), (r"^time_text_embed\.text_embedder\b", "vector_in"),
    (r"^time_text_embed\.guidance_embedder\b", "guidance_in"),
    (r"_in\.linear_1\b", "_in.in_layer"), (r"_in\.linear_2\b", "_in.out_layer"),
    (r"^context_embedder\b", "txt_in"), (r"^x_embedder\b", "img_in"),
    (r"^proj_out\b", "final_layer.linear"), (r"^norm_out\.linear\b", "final_layer.adaLN_modulation.1"),
    (r"^transformer_blocks\b", "double_blocks"),
    (r"\bnorm1\.linear\b", "img_mod.lin"), (r"\bnorm1_context\.linear\b", "txt_mod.lin"),
    (r"\battn\.to_add_out\b", "txt_attn.proj"), (r"\battn\.add_([qkv])_proj\.(\w+)$", r"txt_attn.qkv.\2.\1"),
    (r"\battn\.norm_added_([qk])\.weight$", r"txt_attn.norm.\1.scale"),
    (r"^(single_)transformer_blocks\b(.*)\battn\.norm_([qk])\.weight$", r"\1blocks\2norm.\3.scale"),
    (r"^(single_)transformer_blocks\b(.*)\battn\.to_([qkv])\.(\w+)$", r"\1blocks\2linear1.\4.\3"),
    (r"^(single_)transformer_blocks\b(.*)\bproj_mlp\.(\w+)$", r"\1blocks\2linear1.\3.w"),  # after q, k and v
    (r"^(single_)transformer_blocks\b(.*)\bproj_out\b", r"\1blocks\2linear2"),
    (r"^(single_)transformer_blocks\b(.*)\bnorm\.linear\b", r"\1blocks\2modulation.lin"),
    (r"\battn\.to_out\.0\b", "img_attn.proj"), (r"\battn\.to_([qkv])\.(\w+)$", r"img_attn.qkv.\2.\1"),
    (r"\battn\.norm_([qk])\.weight$", r"img_attn.norm.\1.scale"),
    (r"\bnorm\.q\.", "norm.query_norm."), (r"\bnorm\.k\.", "norm.key_norm."),
    (r"\bff\.net\.0\.proj\b", "img_mlp.0"), (r"\bff\.net\.2\b", "img_mlp.2"),
    (r"\bff_context\.net\.0\.proj\b", "txt_mlp.0"), (r"\bff_context\.net\.2\b", "txt_mlp.2"),
]  # fmt: skip


def ldm_file(pipeline: StableDiffusionPipeline | StableDiffusionXLPipeline, path: Path) -> Path:
    """SD 1.5 or SDXL in one file, in Stability's layout."""
    weights = {f"model.diffusion_model.{k}": v for k, v in _ldm_unet(pipeline.unet).items()}
    weights |= {f"first_stage_model.{k}": v for k, v in _ldm_vae(pipeline.vae).items()}
    two = isinstance(pipeline, StableDiffusionXLPipeline)
    prefix = "conditioner.embedders.0" if two else "cond_stage_model"
    first = {**pipeline.text_encoder.state_dict(), "embeddings.position_ids": torch.arange(77)[None]}
    # transformers 5.6 dropped the inner "text_model." of CLIPTextModel
    weights |= {f"{prefix}.transformer.text_model.{k.removeprefix('text_model.')}": v for k, v in first.items()}
    if two:
        second = {**_open_clip(pipeline.text_encoder_2), "logit_scale": torch.tensor(4.6)}
        weights |= {f"conditioner.embedders.1.model.{k}": v for k, v in second.items()}
    return _save(weights, path)


def flux_file(pipeline: FluxPipeline, path: Path) -> Path:
    """The transformer alone, in Black Forest Labs' layout, as flux1-schnell.safetensors is."""
    weights = _fused(_renamed(pipeline.transformer.state_dict(), _FLUX), "qkvw")
    for name in ("weight", "bias"):
        # diffusers has scale before shift
        key = f"final_layer.adaLN_modulation.1.{name}"
        weights[key] = torch.cat(weights[key].chunk(2)[::-1])
    return _save(weights, path)


@contextmanager
def flux_width(width: int = 32) -> Iterator[None]:
    """Have FluxTransformer2DModel.from_single_file cut single_blocks for this width: 3072 is written in its code."""
    entry = SINGLE_FILE_LOADABLE_CLASSES["FluxTransformer2DModel"]
    theirs = entry["checkpoint_mapping_fn"]
    constants = tuple(width if constant == 3072 else constant for constant in theirs.__code__.co_consts)
    entry["checkpoint_mapping_fn"] = FunctionType(theirs.__code__.replace(co_consts=constants), theirs.__globals__)
    try:
        yield
    finally:
        entry["checkpoint_mapping_fn"] = theirs


def lora_file(
    pipeline: Any,
    path: Path,
    *,
    seed: int = 0,
    rank: int = 2,
    strength: float = 1.0,
) -> Path:
    """A LoRA for the UNet or the transformer, as `save_lora_weights` writes it."""
    prefix = "unet" if hasattr(pipeline, "unet") else "transformer"
    weights: Weights = {}
    for name, (down, up) in _lora(getattr(pipeline, prefix), seed, rank, strength).items():
        weights |= {f"{prefix}.{name}.lora_A.weight": down, f"{prefix}.{name}.lora_B.weight": up}
    return _save(weights, path)


def kohya_lora_file(
    pipeline: StableDiffusionPipeline, path: Path, *, seed: int = 0, rank: int = 2, strength: float = 1.0
) -> Path:
    """The same LoRA in kohya's layout, as most are that people share; for SD 1.5."""
    weights: Weights = {}
    for name, (down, up) in _lora(pipeline.unet, seed, rank, strength).items():
        key = f"lora_unet_{name.replace('.', '_')}"
        # alpha / rank scales the product: half the rank, twice the weights
        weights |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up * 2}
        weights[f"{key}.alpha"] = torch.tensor(rank / 2, dtype=up.dtype)
    return _save(weights, path)


#: Layers of the blocks; of those that are not called so, what attends.
_BLOCK_LAYER = re.compile(r"transformer_blocks\.|(layers|stream_blocks)\.\d+\..*(attn|attention)")


def _lora(model: Any, seed: int, rank: int, strength: float) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Down and up for each linear layer of the blocks; at strength 1 they outweigh what is there fourfold."""
    generator = torch.Generator().manual_seed(seed)
    pairs = {}
    for name, layer in model.named_modules():
        if isinstance(layer, torch.nn.Linear) and _BLOCK_LAYER.search(name):
            down = torch.randn(rank, layer.in_features, generator=generator)
            up = torch.randn(layer.out_features, rank, generator=generator)
            up *= 4 * strength * layer.weight.detach().float().cpu().std() / (up @ down).std()
            pairs[name] = (down.to(layer.weight.dtype), up.to(layer.weight.dtype))
    return pairs


def _ldm_unet(unet: Any) -> Weights:
    """Blocks numbered in one row: each layer is a block, and so is each halving of the size."""
    weights = unet.state_dict()
    per_block = unet.config.layers_per_block + 1

    def place(found: re.Match[str]) -> str:
        side, block, kind, layer = found[1], int(found[2]), found[3], int(found[4])
        if kind == "downsamplers":
            return f"input_blocks.{(block + 1) * per_block}.0.op"
        if kind == "upsamplers":
            attention = any(name.startswith(f"up_blocks.{block}.attentions.") for name in weights)
            return f"output_blocks.{(block + 1) * per_block - 1}.{1 + attention}.conv"
        number = block * per_block + layer
        row = f"input_blocks.{number + 1}" if side == "down" else f"output_blocks.{number}"
        return f"{row}.{int(kind == 'attentions')}"

    renamed = {}
    for name, tensor in weights.items():
        new = _rename(name, _UNET_RESNET if ".resnets." in name else [])  # names inside attention stay
        new = re.sub(
            r"^(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)(?:\.conv\b)?",
            place,
            new,
        )
        renamed[_rename(new, _UNET_REST)] = tensor
    return renamed


def _ldm_vae(vae: Any) -> Weights:
    last = len(vae.config.block_out_channels) - 1
    weights = {}
    for name, tensor in vae.state_dict().items():
        # the decoder counts its blocks from the full size down
        new = re.sub(r"\bup_blocks\.(\d+)", lambda found: f"up_blocks.{last - int(found[1])}", name)
        convolution = ".attentions." in name and tensor.ndim == 2
        weights[_rename(new, _VAE)] = tensor[:, :, None, None] if convolution else tensor
    return weights


def _open_clip(encoder: Any) -> Weights:
    weights = _fused(_renamed(encoder.state_dict(), _OPEN_CLIP), "qkv")
    weights["text_projection"] = weights["text_projection"].T
    return weights


def _rename(name: str, folder_settings: FolderSettings) -> str:
    for pattern, new in folder_settings:
        name = re.sub(pattern, new, name)
    return name


def _renamed(weights: Weights, folder_settings: FolderSettings) -> Weights:
    return {_rename(name, folder_settings): tensor for name, tensor in weights.items()}


def _fused(weights: Weights, order: str) -> Weights:
    """`x.q`, `x.k` and `x.v` as one `x`."""
    parts: dict[str, dict[str, torch.Tensor]] = {}
    whole = {}
    for name, tensor in weights.items():
        stem, _, letter = name.rpartition(".")
        if letter in order:
            parts.setdefault(stem, {})[letter] = tensor
        else:
            whole[name] = tensor
    return whole | {stem: torch.cat([some[x] for x in order if x in some]) for stem, some in parts.items()}


def _save(weights: Weights, path: Path) -> Path:
    # contiguous() and clone(): safetensors refuses views and shared memory
    save_file({k: v.detach().cpu().contiguous().clone() for k, v in weights.items()}, path, {"format": "pt"})
    return path
