"""A picture taken apart for the network, and put together again: alpha, grey, depth, colour profile, size."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from numpy.typing import NDArray
from PIL import Image

from hotfolder.core.sizes import Plan
from hotfolder.imaging.colour import from_linear, from_srgb, to_linear, to_srgb

Pixels = NDArray[Any]


@dataclass
class Parts:
    """Planes of one picture: (h, w, 1 or 3) colours, and (h, w, 1) alpha unless that is the same everywhere."""

    colours: Pixels
    alpha: Pixels | None
    flat_alpha: float | None  # in [0, 1], where alpha is the same everywhere
    deep: bool  # 16 bits a channel
    profile: bytes | None  # set when the colours have been converted from it to sRGB
    planes: dict[str, Pixels] = field(default_factory=dict)  # results, by name


def take_apart(pixels: Pixels, profile: bytes | None) -> Parts:
    """(h, w, 1 to 4) uint8 or uint16 into planes. Hidden colours are replaced by visible ones."""
    deep = pixels.dtype == np.uint16
    channels = pixels.shape[2]
    alpha = pixels[..., -1:] if channels in (2, 4) else None
    colours = pixels[..., :-1] if alpha is not None else pixels
    flat: float | None = None
    if alpha is not None and alpha.min() == alpha.max():
        flat = float(alpha.flat[0]) / _top(pixels)
        alpha = None
    elif alpha is not None:
        colours = bleed(colours, alpha)
    converted = None
    if colours.shape[2] == 3 and profile is not None:
        converted = to_srgb(colours.astype(np.float32) / _top(pixels), profile)
    if converted is not None:
        return Parts(converted, alpha, flat, deep, profile)
    return Parts(np.ascontiguousarray(colours), alpha, flat, deep, None)


def put_together(parts: Parts, plan: Plan) -> Pixels:
    """Enlarged planes (`parts.planes`) to one picture of the planned size, in the depth it came with."""
    colours, alpha = parts.planes["colours"], parts.planes.get("alpha")
    if alpha is not None and parts.alpha is not None:
        alpha = within_neighbours(alpha, parts.alpha)
    size = (plan.height, plan.width)
    if colours.shape[:2] != size:
        colours, alpha = resize(colours, alpha, plan.width, plan.height)
    if parts.profile is not None:
        colours = from_srgb(_unit(colours), parts.profile)
    top, dtype = (65535, np.uint16) if parts.deep else (255, np.uint8)
    planes = [_levels(colours, top, dtype)]
    if alpha is not None:
        planes.append(_levels(alpha, top, dtype))
    elif parts.flat_alpha is not None:
        planes.append(np.full((*size, 1), round(parts.flat_alpha * top), dtype))
    return np.concatenate(planes, axis=-1) if len(planes) > 1 else planes[0]


def within_neighbours(alpha: Pixels, source: Pixels) -> Pixels:
    """Enlarged alpha, held between the lowest and the highest of the 3×3 source pixels around.

    Networks do not keep flat areas to the level; what was opaque has to stay so, and what was not there, too.
    """
    factor = alpha.shape[0] // source.shape[0]
    padded = np.pad(source[..., 0], 1, mode="edge")
    around = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    top = _top(alpha) / _top(source)
    low, high = (
        (found * top).round().astype(alpha.dtype).repeat(factor, axis=0).repeat(factor, axis=1)[..., None]
        for found in (around.min(axis=(2, 3)), around.max(axis=(2, 3)))
    )
    return np.clip(alpha, low, high)


def resize(colours: Pixels, alpha: Pixels | None, width: int, height: int) -> tuple[Pixels, Pixels | None]:
    """To a smaller size, or a little larger one, with Pillow's Lanczos, in linear light, colours weighted by alpha.

    (h, w, c) in, float32 in [0, 1] out.
    """
    weight = _unit(alpha)[..., 0] if alpha is not None else None
    reduced = []
    for channel in range(colours.shape[2]):
        light = to_linear(_unit(colours[..., channel]))
        reduced.append(_resized(light * weight if weight is not None else light, width, height))
    light = np.stack(reduced, axis=-1)
    if weight is None:
        return from_linear(light).clip(0, 1), None
    small = _resized(weight, width, height).clip(0, 1)[..., None]
    return from_linear(light / np.maximum(small, 1e-4)).clip(0, 1), small


def _resized(plane: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    return np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.LANCZOS))


def bleed(colours: Pixels, alpha: Pixels) -> Pixels:
    """Colours in which transparent pixels take their colour from the visible ones near them.

    Otherwise what hides under the transparency would bleed into the edges. (h, w, c) and (h, w, 1).
    """
    # A pyramid of weighted averages: each transparent pixel is filled from the finest level that sees colour.
    weight = _unit(alpha)
    if not weight.any():
        return np.ascontiguousarray(colours)
    level = np.concatenate([_unit(colours) * weight, weight], axis=-1)
    levels = [torch.from_numpy(level).permute(2, 0, 1)[None]]
    while max(levels[-1].shape[2:]) > 1:
        levels.append(F.avg_pool2d(levels[-1], 2, ceil_mode=True))
    filled = levels[-1]
    for finer in reversed(levels[:-1]):
        spread = F.interpolate(filled, size=finer.shape[2:], mode="bilinear", align_corners=False)
        spread = spread / spread[:, -1:].clamp_min(1e-6)
        filled = finer + (1 - finer[:, -1:].clamp(0, 1)) * spread
    result = (filled[0, :-1] / filled[0, -1:].clamp_min(1e-6)).permute(1, 2, 0).numpy()
    guessed = _levels(result, _top(colours), colours.dtype)
    return np.where(alpha > 0, colours, guessed)


def _top(pixels: Pixels) -> float:
    return {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}.get(pixels.dtype, 1.0)


def _unit(pixels: Pixels) -> NDArray[np.float32]:
    return pixels.astype(np.float32) / np.float32(_top(pixels))


def _levels(pixels: Pixels, top: float, dtype: Any) -> Pixels:
    """To integer levels, rounded."""
    if pixels.dtype == dtype:
        return pixels
    return (_unit(pixels).clip(0, 1) * np.float32(top) + np.float32(0.5)).astype(dtype)
