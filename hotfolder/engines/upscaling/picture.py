"""A picture taken apart for the network, and put together again: alpha, grey, depth, colour profile, size."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from numpy.typing import NDArray
from PIL import Image

from hotfolder.core.sizes import Plan
from hotfolder.imaging.colour import from_linear, from_srgb, light, to_8_bits, to_srgb

Pixels = NDArray[Any]
#: Lanczos' kernel, in pixels of the larger picture: as Pillow has it.
_REACH = 3
#: Pixels of one plane that are resized at a time.
_BAND = 2**18


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
        exact = parts.deep or parts.profile is not None
        colours, alpha = resize(colours, alpha, plan.width, plan.height, exact=exact)
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


def resize(
    colours: Pixels, alpha: Pixels | None, width: int, height: int, *, exact: bool = True
) -> tuple[Pixels, Pixels | None]:
    """To another size with Pillow's Lanczos, in linear light, colours weighted by alpha.

    (h, w, c) in, float32 in [0, 1] out; colours that need not be `exact` come in 8 bits, several times as fast. Those
    that are in 8 bits already and become no smaller (`is_plain`) are interpolated as they are, many times as fast.
    """
    plain = not exact and alpha is None and colours.dtype == np.uint8 and is_plain(colours.shape, (height, width))
    resized = np.empty((height, width, colours.shape[2]), np.float32 if exact else np.uint8)
    weights = None if alpha is None else np.empty((height, width, 1), np.float32)
    step = colours.shape[0] / height
    around = math.ceil(_REACH * max(1.0, step)) + 1
    rows = max(16, _BAND // max(width, colours.shape[1]))

    def band(top: int) -> None:
        """Some rows of it, from those that they are made of: so few that they stay in the processor's cache."""
        bottom = min(height, top + rows)
        first, last = max(0, int(top * step) - around), min(colours.shape[0], math.ceil(bottom * step) + around)
        box = (0.0, top * step - first, float(colours.shape[1]), min(bottom * step - first, last - first))
        size = (width, bottom - top)
        if plain:
            whole = colours[first:last, :, 0] if colours.shape[2] == 1 else colours[first:last]
            resized[top:bottom] = _resized(whole, size, box).reshape(bottom - top, width, -1)
            return
        weight = small = None
        if alpha is not None and weights is not None:
            weight = _unit(alpha[first:last, :, 0])
            small = weights[top:bottom, :, 0] = _resized(weight, size, box).clip(0, 1)
        for channel in range(colours.shape[2]):
            lit = light(colours[first:last, :, channel])
            plane = _resized(lit if weight is None else lit * weight, size, box)
            if small is not None:
                plane = plane / np.maximum(small, 1e-4)
            if exact:
                resized[top:bottom, :, channel] = from_linear(plane).clip(0, 1)
            else:
                resized[top:bottom, :, channel] = to_8_bits(plane)

    # Pillow and NumPy let other threads run meanwhile.
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(band, range(0, height, rows)))
    return resized, weights


def is_plain(shape: Sequence[int], size: tuple[int, int]) -> bool:
    """Whether a picture of this shape becomes a `size` (h, w) that is no smaller in either direction.

    Then no pixels are averaged, which only light does right; between two that are neighbours, levels do as well.
    """
    return size[0] >= shape[0] and size[1] >= shape[1]


def _resized(plane: Pixels, size: tuple[int, int], box: tuple[float, float, float, float]) -> Pixels:
    """The part in the box; the kernel reaches beyond it. (h, w) float32 or uint8, or (h, w, 3) uint8."""
    image = Image.fromarray(np.ascontiguousarray(plane))
    return np.asarray(image.resize(size, Image.Resampling.LANCZOS, box))


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
