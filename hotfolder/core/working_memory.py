"""What drawing takes beside the weights, reckoned from the networks' configurations: a formula, and no measurement.

It counts values that are alive at the same time where a network is at its widest, as the code of diffusers 0.42 holds
them. What a kernel needs for itself is not in it. tests/engines/test_working_memory.py compares it with measurements.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hotfolder.core.memory_plan import Working

#: VAEs with the decoder that `decoding` knows.
_DECODERS = ("AutoencoderKL", "AutoencoderKLFlux2")
#: Values of each token that a block of a diffusion transformer holds, in widths: the token, the feed-forward's inner
#: values and their activation, and what goes into and out of it. Measured: 11 (SD 3.5) to 16 (FLUX.1).
_BLOCK = 13.5
#: Of a UNet's block with attention: its feed-forward has two halves of four widths, one of them activated.
_UNET_ATTENTION = 27


@dataclass(frozen=True, slots=True)
class Drawing:
    """What is drawn: sides in pixels, pictures at once, bytes of a value, and whether the prompt is weighed against
    another one in the same pass. `grid` are the pixels of a token's side, `text` the tokens of a prompt."""

    width: int
    height: int
    count: int = 1
    bytes: int = 2
    is_guided: bool = False
    grid: int = 16
    text: int = 0


def working(vae: Mapping[str, Any], denoiser: Mapping[str, Any], drawing: Drawing) -> Working | None:
    """Bytes beside the weights, by the two configurations; None for networks that the formula is not for."""
    channels = vae.get("block_out_channels")
    if vae.get("_class_name") not in _DECODERS or not channels:
        return None
    noise = denoising(denoiser, drawing, 2 ** (len(channels) - 1))
    if noise is None:
        return None
    whole = drawing.count * decoding(channels, drawing.width, drawing.height, drawing.bytes)
    side = _first(vae.get("sample_size")) or 512
    tile = decoding(channels, min(side, drawing.width), min(side, drawing.height), drawing.bytes)
    return Working(max(whole, noise), max(tile, noise))


def decoding(channels: Sequence[int], width: int, height: int, size: int) -> float:
    """Bytes for one picture of so many pixels: `channels` are those of the VAE's levels, the finest first."""
    area = width * height / 4 ** (len(channels) - 1)
    most, before = 0.0, channels[-1]
    for level in range(len(channels) - 1, -1, -1):
        own = channels[level]
        # In a residual layer: what came, and that normed and activated; or what came, and four of what goes.
        most = max(most, area * max(3 * before, before + 4 * own))
        if level:  # twice the sides, before and after the convolution
            most = max(most, area * (before + own + 8 * own))
            area *= 4
        before = own
    return most * size


def denoising(config: Mapping[str, Any], drawing: Drawing, scale: int) -> float | None:
    """Bytes for one step; `scale` are the pixels of a latent's side. None for a network that is not known."""
    rows = drawing.count * (2 if drawing.is_guided else 1) * drawing.bytes
    if "down_block_types" in config and "block_out_channels" in config:
        area = drawing.width * drawing.height / scale**2
        return rows * _unet(config["block_out_channels"], config, area)
    width = _width(config)
    if width is None:
        return None
    tokens = drawing.width * drawing.height / drawing.grid**2 + drawing.text
    return rows * _BLOCK * width * tokens


def _unet(channels: Sequence[int], config: Mapping[str, Any], area: float) -> float:
    """Values for one row: what is kept for the way up, and the widest block."""
    layers = config.get("layers_per_block", 2)
    kept, widest = area * channels[0], 0.0
    for level, own in enumerate(channels):
        tokens = area / 4**level
        count = layers[level] if isinstance(layers, (list, tuple)) else layers
        kept += tokens * own * count
        if level + 1 < len(channels):
            kept += tokens / 4 * own
        beside = channels[min(level + 1, len(channels) - 1)]
        # On the way up, what comes and what was kept are put together.
        widest = max(widest, tokens * max(3 * (own + beside), own + beside + 4 * own))
        if "CrossAttn" in config["down_block_types"][level]:
            widest = max(widest, tokens * own * _UNET_ATTENTION)
    return kept + widest


def _width(config: Mapping[str, Any]) -> int | None:
    heads, each = _first(config.get("num_attention_heads")), _first(config.get("attention_head_dim"))
    found = config.get("hidden_size") or config.get("dim") or (heads and each and heads * each)
    return found if isinstance(found, int) else None


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, (list, tuple)) and value else value
