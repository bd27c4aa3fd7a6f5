"""Tiny pipelines with seeded random weights, in the real on-disk formats: real architectures, worthless pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    PNDMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
)

BOS, EOS = 512, 513
#: A byte each.
LETTERS = sorted(pre_tokenizers.ByteLevel.alphabet())


def clip_tokenizer() -> CLIPTokenizer:
    """Bytes, bytes at a word's end, and the two marks: 514 tokens."""
    tokens = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={token: n for n, token in enumerate(tokens)}, merges=[], model_max_length=77)


def clip_config(width: int = 32, **more: Any) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=514, hidden_size=width, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=77, bos_token_id=BOS, eos_token_id=EOS, pad_token_id=EOS, **more,
    )  # fmt: skip


def bytes_tokenizer(marks: Sequence[str], **more: Any) -> PreTrainedTokenizerFast:
    """Marks, of which one is '<unk>', then bytes."""
    vocab = {token: n for n, token in enumerate([*marks, *LETTERS])}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", **more)


def t5_tokenizer() -> PreTrainedTokenizerFast:
    marks = ["<pad>", "</s>", "<unk>"]
    return bytes_tokenizer(marks, pad_token="<pad>", eos_token="</s>", model_max_length=256)


def t5() -> T5EncoderModel:
    config = T5Config(
        vocab_size=300, d_model=32, d_kv=8, d_ff=37, num_layers=2, num_heads=4, pad_token_id=0, eos_token_id=1
    )
    return T5EncoderModel(config).eval()


def flux(seed: int = 0) -> FluxPipeline:
    """FLUX.1 with one layer of each sort; 0.6 MB."""
    torch.manual_seed(seed)
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        text_encoder=CLIPTextModel(clip_config()).eval(),
        tokenizer=clip_tokenizer(),
        text_encoder_2=t5(),
        tokenizer_2=t5_tokenizer(),
        vae=AutoencoderKL(
            block_out_channels=(4,), down_block_types=("DownEncoderBlock2D",), up_block_types=("UpDecoderBlock2D",),
            layers_per_block=1, latent_channels=1, norm_num_groups=1, use_quant_conv=False, use_post_quant_conv=False,
            shift_factor=0.06, scaling_factor=1.5,
        ).eval(),
        transformer=FluxTransformer2DModel(
            patch_size=1, in_channels=4, num_layers=1, num_single_layers=1, attention_head_dim=16,
            num_attention_heads=2, joint_attention_dim=32, pooled_projection_dim=32, axes_dims_rope=(4, 4, 8),
        ).eval(),
    )  # fmt: skip


def sd15(seed: int = 0) -> StableDiffusionPipeline:
    """Stable Diffusion 1.5, with its scheduler and without its safety checker; 0.3 MB."""
    torch.manual_seed(seed)
    return StableDiffusionPipeline(
        vae=AutoencoderKL(
            block_out_channels=[4, 8], down_block_types=["DownEncoderBlock2D"] * 2,
            up_block_types=["UpDecoderBlock2D"] * 2, latent_channels=4, norm_num_groups=2, sample_size=64,
        ).eval(),
        text_encoder=CLIPTextModel(clip_config()).eval(),
        tokenizer=clip_tokenizer(),
        unet=UNet2DConditionModel(
            block_out_channels=(4, 8), layers_per_block=2, sample_size=32, in_channels=4, out_channels=4,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            attention_head_dim=2, cross_attention_dim=32, norm_num_groups=2,
        ).eval(),
        scheduler=PNDMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1,
        ),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def sdxl(seed: int = 0) -> StableDiffusionXLPipeline:
    """SDXL with two text encoders; 3 MB."""
    # Of different widths, as the real ones are: in a single file diffusers tells them apart by nothing else.
    torch.manual_seed(seed)
    return StableDiffusionXLPipeline(
        vae=AutoencoderKL(
            block_out_channels=[32, 64], down_block_types=["DownEncoderBlock2D"] * 2,
            up_block_types=["UpDecoderBlock2D"] * 2, latent_channels=4, sample_size=128,
        ).eval(),
        text_encoder=CLIPTextModel(clip_config(24, hidden_act="gelu", projection_dim=32)).eval(),
        text_encoder_2=CLIPTextModelWithProjection(clip_config(40, hidden_act="gelu", projection_dim=32)).eval(),
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(),
        unet=UNet2DConditionModel(
            block_out_channels=(2, 4), layers_per_block=2, sample_size=32, in_channels=4, out_channels=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            attention_head_dim=(2, 4), use_linear_projection=True, addition_embed_type="text_time",
            addition_time_embed_dim=8, transformer_layers_per_block=(1, 2),
            projection_class_embeddings_input_dim=80, cross_attention_dim=64, norm_num_groups=1,
        ).eval(),
        scheduler=EulerDiscreteScheduler(),
    )  # fmt: skip


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file of a saved pipeline, by its path below the folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
