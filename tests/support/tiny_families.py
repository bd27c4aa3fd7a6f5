"""Tiny pipelines of the families with a diffusion transformer, with seeded random weights.

Sizes and tokenizers are those that diffusers' own tests and the real folders suggest; 0.2 to 2 MB each.
"""

from __future__ import annotations

import atexit
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

from tests.support.tiny import LETTERS, bytes_tokenizer, clip_config, clip_tokenizer, t5, t5_tokenizer

_QWEN = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
_ID = {token: len(LETTERS) + n for n, token in enumerate(_QWEN)}
#: Those that a configuration names.
QWEN_IDS = {
    "vision_start_token_id": _ID["<|vision_start|>"], "vision_end_token_id": _ID["<|vision_end|>"],
    "image_token_id": _ID["<|image_pad|>"], "video_token_id": _ID["<|video_pad|>"],
}  # fmt: skip
_CHAT = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.content is string %}{{ m.content }}{% else %}{% for c in m.content %}{{ c.text }}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def qwen_tokenizer() -> Any:
    """Bytes and eight marks."""
    return transformers.Qwen2Tokenizer(
        vocab={token: n for n, token in enumerate([*LETTERS, *_QWEN])}, merges=[], eos_token="<|im_end|>",
        pad_token="<|endoftext|>", unk_token=None, extra_special_tokens=list(_QWEN[1:]), chat_template=_CHAT,
    )  # fmt: skip


def gemma_tokenizer() -> Any:
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *(f"<0x{byte:02X}>" for byte in range(256))]
    return transformers.GemmaTokenizer(vocab={token: n for n, token in enumerate(tokens)}, merges=[])


def awake(pipeline: Any) -> Any:
    """Layers that begin at zero, as they do before training, and those that begin as anything, get values."""
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval()
            with torch.no_grad():
                for name, weights in part.named_parameters():
                    if weights.ndim > 1 and ("pad_token" in name or not bool(weights.any())):
                        weights.normal_(std=0.1)
    return pipeline


def _vae(channels: int = 4, **more: Any) -> Any:
    """Eight pixels to a value of the latents, as in the real ones."""
    return diffusers.AutoencoderKL(
        block_out_channels=[4] * 4, down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4, latent_channels=channels, norm_num_groups=2, layers_per_block=1,
        sample_size=64, **more,
    )  # fmt: skip


def _flow_vae(channels: int = 4) -> Any:
    return _vae(channels, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.06, scaling_factor=1.5)


def _flux2_vae() -> Any:
    return diffusers.AutoencoderKLFlux2(
        block_out_channels=(4,) * 4, down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, latent_channels=4, norm_num_groups=2, layers_per_block=1,
        sample_size=64,
    )  # fmt: skip


def _qwen_vae() -> Any:
    return diffusers.AutoencoderKLQwenImage(
        base_dim=4, z_dim=4, dim_mult=[1, 2, 2, 2], num_res_blocks=1, temperal_downsample=[False, True, True],
        latents_mean=[0.0] * 4, latents_std=[1.0] * 4,
    )  # fmt: skip


def _sana_vae() -> Any:
    """Thirty-two pixels to a value."""
    blocks = ("ResBlock",) * 6
    return diffusers.AutoencoderDC(
        latent_channels=4, encoder_block_types=blocks, decoder_block_types=blocks,
        encoder_block_out_channels=(4,) * 6, decoder_block_out_channels=(4,) * 6,
        encoder_layers_per_block=(1,) * 6, decoder_layers_per_block=(1,) * 6,
        encoder_qkv_multiscales=((),) * 6, decoder_qkv_multiscales=((),) * 6, scaling_factor=0.4,
        upsample_block_type="interpolate",
    )  # fmt: skip


def _qwen3(layers: int = 2, head: str = "Qwen3Model") -> Any:
    return getattr(transformers, head)(
        transformers.Qwen3Config(
            hidden_size=16, intermediate_size=16, num_hidden_layers=layers, num_attention_heads=2,
            num_key_value_heads=2, head_dim=8, vocab_size=len(LETTERS) + len(_QWEN), max_position_embeddings=1024,
        )
    )  # fmt: skip


def _qwen25_vl() -> Any:
    text = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 2, "vocab_size": len(LETTERS) + len(_QWEN),
        "rope_scaling": {"mrope_section": [1, 1, 2], "rope_type": "default", "type": "default"},
    }  # fmt: skip
    vision = {
        "depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16,
    }  # fmt: skip
    return transformers.Qwen2_5_VLForConditionalGeneration(
        transformers.Qwen2_5_VLConfig(text_config=text, vision_config=vision, **QWEN_IDS)
    )


def _qwen3_vl(head: str) -> Any:
    text = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 2, "head_dim": 8, "vocab_size": len(LETTERS) + len(_QWEN),
        "rope_scaling": {"mrope_section": [2, 1, 1], "rope_type": "default"},
    }  # fmt: skip
    vision = {
        "depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16,
        "deepstack_visual_indexes": [0], "patch_size": 16,
    }  # fmt: skip
    return getattr(transformers, head)(
        transformers.Qwen3VLConfig(text_config=text, vision_config=vision, **QWEN_IDS)
    )


def _gemma2() -> Any:
    return transformers.Gemma2Model(
        transformers.Gemma2Config(
            head_dim=8, hidden_size=16, intermediate_size=16, num_attention_heads=2, num_hidden_layers=2,
            num_key_value_heads=2, vocab_size=262, attn_implementation="eager", sliding_window=64,
        )
    )  # fmt: skip


def _flow(**more: Any) -> Any:
    return diffusers.FlowMatchEulerDiscreteScheduler(**more)


def z_image(shift: float = 6.0) -> Any:
    torch.manual_seed(0)
    return diffusers.ZImagePipeline(
        scheduler=_flow(shift=shift), vae=_flow_vae(), text_encoder=_qwen3(), tokenizer=qwen_tokenizer(),
        transformer=diffusers.ZImageTransformer2DModel(
            all_patch_size=(2,), all_f_patch_size=(1,), in_channels=4, dim=32, n_layers=2, n_refiner_layers=1,
            n_heads=2, n_kv_heads=2, cap_feat_dim=16, axes_dims=[8, 4, 4], axes_lens=[1024, 64, 64],
        ),
    )  # fmt: skip


def z_image_turbo() -> Any:
    return z_image(shift=3.0)


def _flux2_transformer(**more: Any) -> Any:
    return diffusers.Flux2Transformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=48, axes_dims_rope=(4, 4, 4, 4), **more,
    )  # fmt: skip


def flux2_klein(is_distilled: bool = True) -> Any:
    torch.manual_seed(0)
    return diffusers.Flux2KleinPipeline(
        scheduler=_flow(), vae=_flux2_vae(), text_encoder=_qwen3(27, "Qwen3ForCausalLM"),
        tokenizer=qwen_tokenizer(), transformer=_flux2_transformer(guidance_embeds=False),
        is_distilled=is_distilled,
    )  # fmt: skip


def flux2_klein_base() -> Any:
    return flux2_klein(is_distilled=False)


def flux2_dev() -> Any:
    torch.manual_seed(0)
    chat = (
        "{% for m in messages %}{% if m.role == 'user' %}[INST]{% endif %}"
        "{% if m.content is string %}{{ m.content }}{% else %}{% for c in m.content %}"
        "{% if c.type == 'text' %}{{ c.text }}{% else %}[IMG]{% endif %}{% endfor %}{% endif %}{% endfor %}"
    )
    marks = ["<pad>", "<s>", "</s>", "<unk>", "[IMG]", "[IMG_BREAK]", "[IMG_END]", "[INST]"]
    tokenizer = bytes_tokenizer(
        marks, pad_token="<pad>", bos_token="<s>", eos_token="</s>", padding_side="left",
        extra_special_tokens=marks[4:], chat_template=chat,
    )  # fmt: skip
    processor = transformers.PixtralProcessor(
        transformers.PixtralImageProcessor(), tokenizer, patch_size=14, spatial_merge_size=2, chat_template=chat
    )
    text = {
        "model_type": "mistral", "vocab_size": 264, "hidden_size": 16, "intermediate_size": 16, "head_dim": 8,
        "num_hidden_layers": 30, "num_attention_heads": 2, "num_key_value_heads": 2, "sliding_window": None,
        "max_position_embeddings": 1024,
    }  # fmt: skip
    vision = {
        "model_type": "pixtral", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "image_size": 28, "patch_size": 14, "head_dim": 8,
    }  # fmt: skip
    encoder = transformers.Mistral3ForConditionalGeneration(
        transformers.Mistral3Config(text_config=text, vision_config=vision, image_token_index=4)
    )
    return diffusers.Flux2Pipeline(
        scheduler=_flow(), vae=_flux2_vae(), text_encoder=encoder, tokenizer=processor,
        transformer=_flux2_transformer(),
    )  # fmt: skip


def qwen_image() -> Any:
    torch.manual_seed(0)
    return diffusers.QwenImagePipeline(
        scheduler=_flow(), vae=_qwen_vae(), text_encoder=_qwen25_vl(), tokenizer=qwen_tokenizer(),
        transformer=diffusers.QwenImageTransformer2DModel(
            patch_size=2, in_channels=16, out_channels=4, num_layers=2, attention_head_dim=16,
            num_attention_heads=2, joint_attention_dim=16, axes_dims_rope=(8, 4, 4),
        ),
    )  # fmt: skip


def qwen_image_21(sample_sigmas: list[float] | None = None) -> Any:
    torch.manual_seed(0)
    tokenizer, sides = qwen_tokenizer(), {"shortest_edge": 1024, "longest_edge": 16777216}
    processor = transformers.Qwen3VLProcessor(
        transformers.Qwen2VLImageProcessor(patch_size=16, size=sides), tokenizer, transformers.Qwen3VLVideoProcessor(),
        chat_template=_CHAT,
    )  # fmt: skip
    return diffusers.QwenImage21Pipeline(
        scheduler=_flow(), text_encoder=_qwen3_vl("Qwen3VLForConditionalGeneration"), processor=processor,
        vae=diffusers.AutoencoderKLQwenImage21(
            base_dim=4, z_dim=4, dim_mult=[1, 1, 1, 1, 1], num_res_blocks=1, latents_mean=[0.0] * 4,
            latents_std=[1.0] * 4,
        ),
        transformer=diffusers.QwenImage21Transformer2DModel(
            in_channels=4, out_channels=4, num_layers=2, attention_head_dim=16, num_attention_heads=2,
            context_in_dim=16, axes_dims_rope=(8, 4, 4),
        ),
        sample_sigmas=sample_sigmas,
    )  # fmt: skip


def qwen_image_21_turbo() -> Any:
    return qwen_image_21([1.0, 0.6, 0.3])


def chroma() -> Any:
    torch.manual_seed(0)
    return diffusers.ChromaPipeline(
        scheduler=_flow(), vae=_flow_vae(), text_encoder=t5(), tokenizer=t5_tokenizer(),
        transformer=diffusers.ChromaTransformer2DModel(
            patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
            num_attention_heads=2, joint_attention_dim=32, axes_dims_rope=(4, 4, 8), approximator_num_channels=16,
            approximator_hidden_dim=32, approximator_layers=1,
        ),
    )  # fmt: skip


def sd35() -> Any:
    torch.manual_seed(0)
    clip = transformers.CLIPTextModelWithProjection
    return diffusers.StableDiffusion3Pipeline(
        scheduler=_flow(shift=3.0), vae=_flow_vae(), text_encoder=clip(clip_config(12, projection_dim=12)),
        text_encoder_2=clip(clip_config(20, projection_dim=20)), text_encoder_3=t5(),
        tokenizer=clip_tokenizer(), tokenizer_2=clip_tokenizer(), tokenizer_3=t5_tokenizer(),
        transformer=diffusers.SD3Transformer2DModel(
            sample_size=16, patch_size=2, in_channels=4, out_channels=4, num_layers=2, attention_head_dim=8,
            num_attention_heads=4, joint_attention_dim=32, caption_projection_dim=32, pooled_projection_dim=32,
            pos_embed_max_size=32, dual_attention_layers=(0,), qk_norm="rms_norm",
        ),
    )  # fmt: skip


def _sana_transformer(sample_size: int, **more: Any) -> Any:
    return diffusers.SanaTransformer2DModel(
        patch_size=1, in_channels=4, out_channels=4, num_layers=1, num_attention_heads=2, attention_head_dim=8,
        num_cross_attention_heads=2, cross_attention_head_dim=8, cross_attention_dim=16, caption_channels=16,
        sample_size=sample_size, **more,
    )  # fmt: skip


def sana() -> Any:
    """Of the sort that was trained at 512 x 512."""
    torch.manual_seed(0)
    return diffusers.SanaPipeline(
        scheduler=diffusers.DPMSolverMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True),
        vae=_sana_vae(), text_encoder=_gemma2(), tokenizer=gemma_tokenizer(),
        transformer=_sana_transformer(16),
    )  # fmt: skip


def sana_sprint() -> Any:
    torch.manual_seed(0)
    return diffusers.SanaSprintPipeline(
        scheduler=diffusers.SCMScheduler(), vae=_sana_vae(), text_encoder=_gemma2(), tokenizer=gemma_tokenizer(),
        transformer=_sana_transformer(32, guidance_embeds=True, qk_norm="rms_norm_across_heads"),
    )  # fmt: skip


def lumina2() -> Any:
    torch.manual_seed(0)
    return diffusers.Lumina2Pipeline(
        scheduler=_flow(), vae=_flow_vae(), text_encoder=_gemma2(), tokenizer=gemma_tokenizer(),
        transformer=diffusers.Lumina2Transformer2DModel(
            sample_size=16, patch_size=2, in_channels=4, hidden_size=16, num_layers=1, num_refiner_layers=1,
            num_attention_heads=2, num_kv_heads=2, multiple_of=16, axes_dim_rope=(4, 2, 2),
            axes_lens=(600, 64, 64), cap_feat_dim=16,
        ),
    )  # fmt: skip


def krea2(is_distilled: bool = False) -> Any:
    torch.manual_seed(0)
    return diffusers.Krea2Pipeline(
        scheduler=_flow(
            use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15, base_image_seq_len=256,
            max_image_seq_len=6400,
        ),
        vae=_qwen_vae(), text_encoder=_qwen3_vl("Qwen3VLModel"), tokenizer=qwen_tokenizer(),
        transformer=diffusers.Krea2Transformer2DModel(
            in_channels=16, num_layers=1, attention_head_dim=8, num_attention_heads=4, num_key_value_heads=2,
            intermediate_size=32, timestep_embed_dim=8, text_hidden_dim=16, num_text_layers=3,
            text_num_attention_heads=2, text_num_key_value_heads=1, text_intermediate_size=16,
            num_layerwise_text_blocks=1, num_refiner_text_blocks=1, axes_dims_rope=(4, 2, 2),
        ),
        text_encoder_select_layers=(0, 1, 2), is_distilled=is_distilled,
    )  # fmt: skip


def krea2_turbo() -> Any:
    return krea2(is_distilled=True)


def ernie_image(shift: float = 3.0) -> Any:
    """With a language model that would write the prompt anew: it must not be asked."""
    torch.manual_seed(0)
    return diffusers.ErnieImagePipeline(
        scheduler=_flow(shift=shift), vae=_flux2_vae(), text_encoder=_qwen3(), tokenizer=qwen_tokenizer(),
        pe=_qwen3(1, "Qwen3ForCausalLM"), pe_tokenizer=qwen_tokenizer(),
        transformer=diffusers.ErnieImageTransformer2DModel(
            hidden_size=32, num_attention_heads=2, num_layers=1, ffn_hidden_size=32, in_channels=16,
            out_channels=16, text_in_dim=16, rope_axes_dim=(8, 4, 4),
        ),
    )  # fmt: skip


def ernie_image_turbo() -> Any:
    return ernie_image(shift=1.0)


def hidream() -> Any:
    """Its VAE has one block, so that the area that it always draws is 128 x 128."""
    torch.manual_seed(0)
    clip = transformers.CLIPTextModelWithProjection
    llama = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2, vocab_size=264,
            max_position_embeddings=256, pad_token_id=0, bos_token_id=1, eos_token_id=2, attn_implementation="eager",
        )
    )  # fmt: skip
    positions = {"max_position_embeddings": 128}
    return diffusers.HiDreamImagePipeline(
        scheduler=_flow(shift=3.0),
        vae=diffusers.AutoencoderKL(
            block_out_channels=(4,), down_block_types=("DownEncoderBlock2D",), up_block_types=("UpDecoderBlock2D",),
            latent_channels=4, norm_num_groups=2, layers_per_block=1, use_quant_conv=False,
            use_post_quant_conv=False, shift_factor=0.06, scaling_factor=1.5,
        ),
        text_encoder=clip(_clip(16, **positions)), tokenizer=clip_tokenizer(),
        text_encoder_2=clip(_clip(24, **positions)), tokenizer_2=clip_tokenizer(),
        text_encoder_3=t5(), tokenizer_3=t5_tokenizer(), text_encoder_4=llama,
        tokenizer_4=bytes_tokenizer(
            ["<pad>", "<s>", "</s>", "<unk>"], pad_token="<pad>", bos_token="<s>", eos_token="</s>"
        ),
        transformer=diffusers.HiDreamImageTransformer2DModel(
            patch_size=2, in_channels=4, out_channels=4, num_layers=1, num_single_layers=1, attention_head_dim=8,
            num_attention_heads=4, caption_channels=[32, 16], text_emb_dim=40, num_routed_experts=2,
            num_activated_experts=2, axes_dims_rope=(4, 2, 2), max_resolution=(128, 128), llama_layers=(0, 1),
        ),
    )  # fmt: skip


def _clip(width: int, **more: Any) -> Any:
    config = clip_config(width, projection_dim=width)
    return type(config).from_dict({**config.to_dict(), **more})


def pixart_sigma() -> Any:
    """Of the sort that was trained at 256 x 256."""
    torch.manual_seed(0)
    return diffusers.PixArtSigmaPipeline(
        scheduler=diffusers.DPMSolverMultistepScheduler(), vae=_vae(), text_encoder=t5(),
        tokenizer=t5_tokenizer(),
        transformer=diffusers.PixArtTransformer2DModel(
            sample_size=32, num_layers=2, patch_size=2, attention_head_dim=8, num_attention_heads=3,
            caption_channels=32, in_channels=4, cross_attention_dim=24, out_channels=8,
        ),
    )  # fmt: skip


def kolors() -> Any:
    """SDXL's network, with ChatGLM to read. Its tokenizer is the package sentencepiece's: characters, else bytes."""
    import sentencepiece
    from diffusers.pipelines.kolors.text_encoder import ChatGLMConfig

    torch.manual_seed(0)
    with tempfile.NamedTemporaryFile(prefix="tokenizer-", suffix=".model", delete=False) as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(["a cat on a hill", "a dog that runs over a wide field"]), model_writer=file,
            model_type="char", vocab_size=400, hard_vocab_limit=False, byte_fallback=True, minloglevel=2,
        )  # fmt: skip
    atexit.register(Path(file.name).unlink)  # it is copied from there when the pipeline is saved
    tokenizer = diffusers.pipelines.kolors.ChatGLMTokenizer(file.name)
    config = ChatGLMConfig(
        num_layers=2, padded_vocab_size=tokenizer.vocab_size, hidden_size=16, ffn_hidden_size=16, kv_channels=8,
        num_attention_heads=2, seq_length=256, multi_query_attention=True, multi_query_group_num=1,
        add_qkv_bias=True, original_rope=True,
    )  # fmt: skip
    encoder = diffusers.pipelines.kolors.ChatGLMModel(config, empty_init=False)
    for name, weights in encoder.named_parameters():
        if "norm" in name:  # they begin as whatever was in memory
            torch.nn.init.ones_(weights)
    return diffusers.KolorsPipeline(
        scheduler=diffusers.EulerDiscreteScheduler(
            beta_start=0.00085, beta_end=0.014, beta_schedule="scaled_linear", num_train_timesteps=1100,
            steps_offset=1, timestep_spacing="leading",
        ),
        vae=_vae(), text_encoder=encoder, tokenizer=tokenizer,
        unet=diffusers.UNet2DConditionModel(
            block_out_channels=(4, 8), layers_per_block=1, sample_size=8, in_channels=4, out_channels=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), attention_head_dim=(2, 4),
            use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=8,
            transformer_layers_per_block=(1, 1), projection_class_embeddings_input_dim=64, cross_attention_dim=16,
            norm_num_groups=2,
        ),
    )  # fmt: skip


def of_no_family() -> Any:
    """A pipeline that no entry of the table is for."""
    torch.manual_seed(0)
    return awake(
        diffusers.AuraFlowPipeline(
            tokenizer=t5_tokenizer(), text_encoder=t5(), vae=_vae(), scheduler=_flow(),
            transformer=diffusers.AuraFlowTransformer2DModel(
                sample_size=32, patch_size=2, in_channels=4, num_mmdit_layers=1, num_single_dit_layers=1,
                attention_head_dim=8, num_attention_heads=4, caption_projection_dim=32, joint_attention_dim=32,
                out_channels=4, pos_embed_max_size=256,
            ),
        )
    )  # fmt: skip


#: Name of the family in hotfolder.core.families -> what makes a pipeline of it.
TINY: Mapping[str, Callable[[], Any]] = {
    "z-image": z_image, "z-image-turbo": z_image_turbo, "flux2-klein": flux2_klein,
    "flux2-klein-base": flux2_klein_base, "flux2-dev": flux2_dev, "qwen-image": qwen_image,
    "qwen-image-2.1": qwen_image_21, "qwen-image-2.1-turbo": qwen_image_21_turbo, "chroma": chroma, "sd35": sd35,
    "sana": sana, "sana-sprint": sana_sprint, "lumina2": lumina2, "krea2": krea2, "krea2-turbo": krea2_turbo,
    "ernie-image": ernie_image, "ernie-image-turbo": ernie_image_turbo, "hidream": hidream,
    "pixart-sigma": pixart_sigma, "kolors": kolors,
}  # fmt: skip


def made(family: str) -> Any:
    """A pipeline of this family, ready to be saved."""
    return awake(TINY[family]())
