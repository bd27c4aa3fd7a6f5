"""Trains `shapes`: a whole Stable Diffusion pipeline, small enough to live in the package."""

from __future__ import annotations

import copy
import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from hotfolder.engines.device import has_native_bfloat16
from tools.builtin.captions import COLOURS, SHAPES, SHOWN, SIZES, Spec, all_specs, training_pairs
from tools.builtin.optim import Log, Muon, descend, descend_all, learning_rate
from tools.builtin.renders import SIDE, draw_spec

LATENT_CHANNELS = 16
#: Sampling steps that the model is made for; the registry's default.
STEPS = 8
#: Noise that the VAE learns to decode through, in standard deviations of its latents.
LATENT_NOISE = 0.1
BOS, EOS = "<|startoftext|>", "<|endoftext|>"


def build_tokenizer() -> CLIPTokenizer:
    """A CLIP tokenizer (byte-level BPE, `</w>` ends a word) whose merges cover the captions' words.

    Words it does not know fall back to bytes, so any prompt can be encoded.
    """
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(vocab_size=4096, end_of_word_suffix="</w>", show_progress=False)
    tokenizer.train_from_iterator((spec.caption(f) for spec in all_specs() for f in range(4)), trainer)
    merges = [tuple(m) for m in json.loads(tokenizer.to_str())["model"]["merges"]]
    byte_alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*byte_alphabet, *(b + "</w>" for b in byte_alphabet), *("".join(m) for m in merges), BOS, EOS]
    vocab = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(
        vocab=vocab, merges=merges, bos_token=BOS, eos_token=EOS, unk_token=EOS, pad_token=EOS,
        model_max_length=77,
    )  # fmt: skip


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=96, intermediate_size=192, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=77, projection_dim=96,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return CLIPTextModel(config)


def build_vae() -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 32, 64, 64), layers_per_block=1, latent_channels=LATENT_CHANNELS,
        norm_num_groups=8, sample_size=SIDE, mid_block_add_attention=False,
    )  # fmt: skip


def build_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=SIDE // 8, in_channels=LATENT_CHANNELS, out_channels=LATENT_CHANNELS,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(64, 128), layers_per_block=1, cross_attention_dim=96,
        attention_head_dim=4, norm_num_groups=16,
    )  # fmt: skip


def build_scheduler() -> DDIMScheduler:
    """Zero terminal SNR and trailing steps, so that flat black and white can be reached in few steps.

    Lin, Liu, Li and Yang, 'Common diffusion noise schedules and sample steps are flawed', WACV 2024.
    """
    return DDIMScheduler(
        num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
        prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing",
        clip_sample=False, set_alpha_to_one=True, steps_offset=0,
    )  # fmt: skip


def _render(pairs: list[tuple[Spec, str]], rng: random.Random) -> torch.Tensor:
    """(n, 3, 128, 128) uint8."""
    return torch.stack([torch.from_numpy(np.array(draw_spec(spec, rng))).permute(2, 0, 1) for spec, _ in pairs])


def _edges(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return x[..., 1:, :] - x[..., :-1, :], x[..., :, 1:] - x[..., :, :-1]


def train_vae(images: torch.Tensor, steps: int, log: Log) -> AutoencoderKL:
    """Crops first (cheap), whole pictures last, because group normalisation sees the picture's extent.

    What is decoded is a little off, as a U-Net's latents are: so no channel is left whose small values mean much.
    """
    vae = build_vae().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(vae.parameters(), lr=1e-3, weight_decay=1e-4, betas=(0.9, 0.99))
    started = time.monotonic()
    for step in range(steps):
        whole = step >= steps * 0.7
        batch = images[torch.randint(len(images), (8 if whole else 24,))]
        if not whole:
            y, x = (int(torch.randint(SIDE - 64 + 1, ()).item()) for _ in range(2))
            batch = batch[..., y : y + 64, x : x + 64]
        pixels = batch.float().div(127.5).sub(1).contiguous(memory_format=torch.channels_last)
        posterior = vae.encode(pixels).latent_dist
        latents = posterior.sample()
        decoded = vae.decode(latents + LATENT_NOISE * latents.detach().std() * torch.randn_like(latents)).sample
        sharp = sum(F.l1_loss(a, b) for a, b in zip(_edges(decoded), _edges(pixels), strict=True))
        loss = F.l1_loss(decoded, pixels) + sharp + 2e-5 * posterior.kl().mean() / LATENT_CHANNELS
        descend(optimiser, loss, learning_rate(step, steps, 2.5e-3))
        if step % 100 == 0 or step == steps - 1:
            log(f"vae {step}/{steps} loss {loss.item():.4f} {time.monotonic() - started:.0f} s")
    return vae.eval()


def sharpen_decoder(
    vae: AutoencoderKL,
    predict: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    images: torch.Tensor,
    latents: torch.Tensor,
    steps: int,
    log: Log,
) -> None:
    """Trains the decoder alone, for the latents that the U-Net gives: edges and colours need longer than they do.

    `predict` takes the pictures' indices and noise levels (both (n,) int64) and gives what the U-Net takes their
    latents for, seen through noise of that level. Half of the latents are the encoder's own.
    """
    optimiser = torch.optim.AdamW(vae.decoder.parameters(), lr=1e-3, weight_decay=1e-4, betas=(0.9, 0.99))
    scheduler = build_scheduler()
    scheduler.set_timesteps(STEPS)
    last = scheduler.timesteps[-2:]
    started = time.monotonic()
    for step in range(steps):
        whole = step >= steps * 0.8
        pick = torch.randint(len(images), (6 if whole else 20,))
        half = len(pick) // 2
        with torch.no_grad():
            drawn = predict(pick[:half], last[torch.randint(len(last), (half,))])
        own = latents[pick[half:]]
        given = torch.cat([drawn, own + 0.05 * torch.randn_like(own)]) / vae.config.scaling_factor
        batch = images[pick]
        if not whole:
            y, x = (int(torch.randint((SIDE - 64) // 8 + 1, ()).item()) for _ in range(2))
            batch, given = batch[..., y * 8 : y * 8 + 64, x * 8 : x * 8 + 64], given[..., y : y + 8, x : x + 8]
        pixels = batch.float().div(127.5).sub(1).contiguous(memory_format=torch.channels_last)
        decoded = vae.decode(given.contiguous(memory_format=torch.channels_last)).sample
        sharp = sum(F.l1_loss(a, b) for a, b in zip(_edges(decoded), _edges(pixels), strict=True))
        loss = F.l1_loss(decoded, pixels) + sharp
        descend(optimiser, loss, learning_rate(step, steps, 2e-3))
        if step % 100 == 0 or step == steps - 1:
            log(f"decoder {step}/{steps} loss {loss.item():.4f} {time.monotonic() - started:.0f} s")


@torch.inference_mode()
def _encode(vae: AutoencoderKL, images: torch.Tensor) -> torch.Tensor:
    """The posteriors' means: their noise would only teach the U-Net to draw what the decoder ignores."""
    chunks = images.split(64)
    return torch.cat([vae.encode(chunk.float().div(127.5).sub(1)).latent_dist.mean for chunk in chunks])


def _attributes(spec: Spec) -> list[int]:
    return [
        list(COLOURS).index(spec.colour), SHAPES.index(spec.shape),
        list(COLOURS).index(spec.background), list(SIZES).index(spec.size),
    ]  # fmt: skip


def train_words(
    text_encoder: CLIPTextModel, pairs: list[tuple[Spec, str]], tokens: torch.Tensor, steps: int, log: Log
) -> None:
    """Teaches the text encoder to say at its last tokens what was asked for, before a U-Net has to guess it.

    Seconds of work that save the U-Net a good part of an hour: it sees the four attributes from its first step on.
    """
    heads = torch.nn.ModuleList(torch.nn.Linear(96, len(known)) for known in (COLOURS, SHAPES, COLOURS, SIZES))
    optimiser = torch.optim.AdamW([*text_encoder.parameters(), *heads.parameters()], lr=1e-3)
    labels = torch.tensor([_attributes(spec) for spec, _ in pairs])
    unsaid = torch.tensor([" on " not in caption and "background" not in caption for _, caption in pairs])
    labels[unsaid, 2] = -100  # what cross entropy leaves out
    for step in range(steps):
        pick = torch.randint(len(pairs), (32,))
        hidden = text_encoder(tokens[pick])[0][:, 24::8]  # past the longest caption
        loss = torch.stack(
            [
                F.cross_entropy(head(hidden).flatten(0, 1), labels[pick, i].repeat_interleave(hidden.shape[1]))
                for i, head in enumerate(heads)
            ]
        ).sum()
        descend(optimiser, loss, learning_rate(step, steps, 1e-3))
    log(f"words {steps} loss {loss.item():.4f}")


def train_unet(
    text_encoder: CLIPTextModel,
    unet: UNet2DConditionModel,
    tokens: torch.Tensor,
    empty: torch.Tensor,
    latents: torch.Tensor,
    steps: int,
    log: Log,
    focus: float = 0.5,
    batch_size: int = 16,
) -> None:
    """Joint training of U-Net and text encoder on v-prediction; both are left as their moving average.

    `focus` is the share of pictures shown at one of the very noise levels that sampling in STEPS steps visits. Works
    in bfloat16 where the processor has it.
    """
    scheduler = build_scheduler()
    scheduler.set_timesteps(STEPS)
    visited = scheduler.timesteps
    # The fused attention's backward pass is slow in bfloat16 on CPUs.
    unet.set_attn_processor(AttnProcessor())
    parameters = [*unet.parameters(), *text_encoder.parameters()]
    average = [copy.deepcopy(p.data) for p in parameters]
    edge = {id(p) for layer in (unet.conv_in, unet.conv_out) for p in layer.parameters()}
    hidden = [p for p in unet.parameters() if p.ndim >= 2 and id(p) not in edge]
    among_hidden = {id(p) for p in hidden}
    rest = [p for p in parameters if id(p) not in among_hidden]
    muon, adam = Muon(hidden), torch.optim.AdamW(rest, lr=1e-3, weight_decay=1e-3, betas=(0.9, 0.99))
    half = has_native_bfloat16()
    started, running = time.monotonic(), 0.0
    for step in range(steps):
        pick = torch.randint(len(latents), (batch_size,))
        clean, words = latents[pick], tokens[pick].clone()
        words[torch.rand(batch_size) < 0.1] = empty  # classifier-free guidance needs the unconditional
        t = torch.randint(scheduler.config.num_train_timesteps, (batch_size,))
        t = torch.where(torch.rand(batch_size) < focus, visited[torch.randint(STEPS, (batch_size,))], t)
        noise = torch.randn_like(clean)
        noisy = scheduler.add_noise(clean, noise, t)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            predicted = unet(noisy, t, text_encoder(words)[0]).sample
        loss = F.mse_loss(predicted.float(), scheduler.get_velocity(clean, noise, t))
        descend_all({muon: learning_rate(step, steps, 1e-2), adam: learning_rate(step, steps, 2e-3)}, loss)
        decay = min(0.998, (step + 1) / (step + 10))
        for mean, p in zip(average, parameters, strict=True):
            mean.lerp_(p.data, 1 - decay)
        running = loss.item() if step == 0 else 0.98 * running + 0.02 * loss.item()
        if step % 100 == 0 or step == steps - 1:
            log(f"unet {step}/{steps} loss {running:.4f} {time.monotonic() - started:.0f} s")
    for mean, p in zip(average, parameters, strict=True):
        p.data.copy_(mean)
    unet.set_attn_processor(AttnProcessor2_0())


def train(
    out: Path,
    *,
    seed: int,
    log: Log,
    vae_steps: int = 1600,
    unet_steps: int = 13_000,
    decoder_steps: int = 1500,
    pictures: int = 16_000,
) -> None:
    """Trains and writes the pipeline folder (float16 safetensors) to `out`."""
    torch.manual_seed(seed)
    rng = random.Random(seed)
    tokenizer = build_tokenizer()
    pairs = training_pairs(pictures, rng, SHOWN)
    images = _render(pairs, rng)
    log(f"shapes: {len(images)} pictures drawn, {len(tokenizer)} tokens")
    vae = train_vae(images, vae_steps, log)
    means = _encode(vae, images)
    scale = 1.0 / means.std()
    log(f"shapes: latent scale {scale:.3f}")
    vae.register_to_config(scaling_factor=float(scale))
    latents = means * scale

    def tokenise(texts: list[str]) -> torch.Tensor:
        ids: Any = tokenizer(
            texts, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
        ).input_ids
        return ids

    text_encoder, unet = build_text_encoder(tokenizer), build_unet()
    log(f"shapes: U-Net {sum(p.numel() for p in unet.parameters()) / 1e6:.2f} M parameters")
    tokens, empty = tokenise([caption for _, caption in pairs]), tokenise([""])
    data = (tokens, empty, latents)
    train_words(text_encoder.train(), pairs, tokens, 500, log)
    train_unet(text_encoder, unet.train(), *data, unet_steps, log)
    text_encoder.eval()
    unet.eval()
    scheduler = build_scheduler()

    def predict(pick: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        noisy = scheduler.add_noise(latents[pick], torch.randn_like(latents[pick]), t)
        velocity = unet(noisy, t, text_encoder(tokens[pick])[0]).sample
        signal = scheduler.alphas_cumprod[t].view(-1, 1, 1, 1)
        return signal.sqrt() * noisy - (1 - signal).sqrt() * velocity

    sharpen_decoder(vae, predict, images, latents, decoder_steps, log)
    pipeline = StableDiffusionPipeline(
        vae=vae.to(memory_format=torch.contiguous_format), text_encoder=text_encoder,
        tokenizer=tokenizer, unet=unet, scheduler=build_scheduler(), safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.to(torch.float16).save_pretrained(out, safe_serialization=True)
