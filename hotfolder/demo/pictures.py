"""Pictures drawn for the demonstration, and the ways to spoil them."""

from __future__ import annotations

import io
import math
import random
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

#: Strength of each fault at levels 0 to 5; between them it is interpolated.
_BLUR_SIGMA = (0.0, 0.6, 1.2, 2.0, 3.0, 4.5)  # pixels
_NOISE_SIGMA = (0.0, 5.0, 11.0, 20.0, 32.0, 50.0)  # 8-bit levels
_JPEG_QUALITY = (97.0, 60.0, 35.0, 20.0, 10.0, 4.0)
_OVER_GAIN = (1.0, 1.35, 1.7, 2.2, 3.0, 4.5)
_UNDER_GAIN = (1.0, 0.72, 0.5, 0.33, 0.2, 0.1)

FAULTS = ("blur", "noise", "blocking", "overexposure", "underexposure")


def spoil(image: Image.Image, fault: str, level: float, seed: int = 0) -> Image.Image:
    """A copy of an RGB picture with one fault at `level` 0 (none) to 5 (severe).

    Raises ValueError for a fault that is not in FAULTS.
    """

    def at(table: tuple[float, ...]) -> float:
        return float(np.interp(level, range(len(table)), table))

    if fault == "blur":
        return image.filter(ImageFilter.GaussianBlur(at(_BLUR_SIGMA)))
    if fault == "blocking":
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=round(at(_JPEG_QUALITY)), subsampling=2)
        return Image.open(buffer).convert("RGB")
    pixels: NDArray[np.floating[Any]] = np.asarray(image, np.float32)
    if fault == "noise":
        pixels = pixels + np.random.default_rng(seed).normal(0, at(_NOISE_SIGMA), pixels.shape)
    elif fault in ("overexposure", "underexposure"):
        pixels = pixels * at(_OVER_GAIN if fault == "overexposure" else _UNDER_GAIN)
    else:
        raise ValueError(f"unknown fault {fault!r}: one of {', '.join(FAULTS)}")
    return Image.fromarray(np.clip(pixels + 0.5, 0, 255).astype(np.uint8))


def draw_landscape(seed: int, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """A sun over ridges, trees and a lake: RGB, `size` is (width, height) in pixels."""
    rng = random.Random(seed)
    scale = 3
    width, height = size[0] * scale, size[1] * scale
    palettes = (
        ((255, 190, 120), (90, 120, 200), (60, 40, 80)),
        ((250, 230, 190), (120, 180, 230), (30, 90, 60)),
        ((255, 150, 130), (70, 60, 140), (30, 25, 60)),
        ((225, 240, 250), (80, 150, 210), (40, 80, 100)),
    )
    low, high, ground = (np.array(c, np.float32) for c in rng.choice(palettes))
    t = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    sky = np.broadcast_to(high + (low - high) * t, (height, width, 3))
    image = Image.fromarray(sky.astype(np.uint8))
    draw = ImageDraw.Draw(image)
    sun_x, sun_y, sun_r = rng.uniform(0.2, 0.8) * width, rng.uniform(0.15, 0.4) * height, height * 0.07
    draw.ellipse((sun_x - sun_r, sun_y - sun_r, sun_x + sun_r, sun_y + sun_r), fill=(255, 244, 214))
    ridges = 4
    for ridge in range(ridges):
        depth = (ridge + 1) / ridges
        tint = low * (1 - depth) + ground * depth
        base, phases = height * (0.42 + 0.13 * ridge), [rng.uniform(0, 6.28) for _ in range(4)]
        top = [
            base
            + height * 0.05 * sum(math.sin(x / width * (4 + 5 * k) + p) / (k + 1) for k, p in enumerate(phases))
            for x in range(0, width + 8, 8)
        ]
        outline = [(i * 8, y) for i, y in enumerate(top)]
        draw.polygon([*outline, (width, height), (0, height)], fill=tuple(int(c) for c in tint))
        if ridge >= 2:
            for _ in range(26):
                i = rng.randrange(len(outline))
                x, y = outline[i]
                tall, shade = rng.uniform(0.03, 0.08) * height * depth, rng.uniform(0.55, 0.9)
                colour = tuple(int(c * shade) for c in tint)
                draw.polygon([(x - tall / 3, y + 6), (x, y - tall), (x + tall / 3, y + 6)], fill=colour)
    lake = height * 0.88
    draw.rectangle((0, lake, width, height), fill=tuple(int(c) for c in (high * 0.8)))
    for _ in range(40):
        left, wave = rng.uniform(0, width), rng.uniform(lake, height)
        draw.line((left, wave, left + rng.uniform(10, 70), wave), fill=tuple(int(c) for c in low), width=2)
    return image.resize(size, Image.Resampling.LANCZOS)
