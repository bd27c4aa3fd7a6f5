"""Procedural pictures: the only data the built-in models are trained on."""

from __future__ import annotations

import math
import random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from tools.builtin.captions import COLOURS, SIZES, Spec

SIDE = 128
_SUPERSAMPLE = 4


def _polygon(shape: str, cx: float, cy: float, r: float) -> list[tuple[float, float]]:
    def around(n: int, phase: float, radii: tuple[float, ...] = (1.0,)) -> list[tuple[float, float]]:
        return [
            (
                cx + r * radii[i % len(radii)] * math.cos(phase + 2 * math.pi * i / n),
                cy + r * radii[i % len(radii)] * math.sin(phase + 2 * math.pi * i / n),
            )
            for i in range(n)
        ]

    up = -math.pi / 2
    if shape == "square":
        return around(4, math.pi / 4, (1.15,))
    if shape == "triangle":
        return around(3, up, (1.15,))
    if shape == "star":
        return around(10, up, (1.15, 0.46))
    if shape == "diamond":
        return [(cx, cy - r * 1.2), (cx + r * 0.8, cy), (cx, cy + r * 1.2), (cx - r * 0.8, cy)]
    if shape == "hexagon":
        return around(6, 0.0, (1.05,))
    if shape == "cross":
        a, b = r * 0.36, r * 1.05
        points = [(-a, -b), (a, -b), (a, -a), (b, -a), (b, a), (a, a)]
        points += [(a, b), (-a, b), (-a, a), (-b, a), (-b, -a), (-a, -a)]
        return [(cx + x, cy + y) for x, y in points]
    if shape == "heart":
        ts = [2 * math.pi * i / 60 for i in range(60)]
        return [
            (
                cx + r * 1.05 * math.sin(t) ** 3,
                cy - r * (13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)) / 15.5,
            )
            for t in ts
        ]
    raise ValueError(f"no outline for {shape!r}")


def draw_spec(spec: Spec, rng: random.Random, side: int = SIDE) -> Image.Image:
    """The picture a spec names: an anti-aliased flat shape, RGB, at a random place near the centre."""
    s = side * _SUPERSAMPLE

    def shade(name: str) -> tuple[int, int, int]:
        red, green, blue = (max(0, min(255, c + rng.randint(-6, 6))) for c in COLOURS[name])
        return red, green, blue

    background = shade(spec.background)
    image = Image.new("RGB", (s, s), background)
    draw = ImageDraw.Draw(image)
    low, high = SIZES[spec.size]
    r = rng.uniform(low, high) * s
    slack = max(0.0, s / 2 - r * 1.25)
    cx, cy = (s / 2 + rng.uniform(-1, 1) * min(slack, s * 0.03) for _ in range(2))
    fill = shade(spec.colour)
    box = (cx - r, cy - r, cx + r, cy + r)
    if spec.shape == "circle":
        draw.ellipse(box, fill=fill)
    elif spec.shape == "ring":
        draw.ellipse(box, fill=fill)
        h = r * 0.55
        draw.ellipse((cx - h, cy - h, cx + h, cy + h), fill=background)
    else:
        draw.polygon(_polygon(spec.shape, cx, cy, r), fill=fill)
    return image.resize((side, side), Image.Resampling.BOX)


def _cloud(rng: np.random.Generator, side: int, slope: float) -> NDArray[np.float32]:
    """A (side, side) field in [0, 1] whose amplitude spectrum falls as 1/f^slope, as in photographs."""
    f = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :])
    f[0, 0] = 1.0
    spectrum = (rng.standard_normal(f.shape) + 1j * rng.standard_normal(f.shape)) / f**slope
    field = np.fft.irfft2(spectrum, s=(side, side))
    field = (field - field.min()) / max(float(np.ptp(field)), 1e-9)
    return field.astype(np.float32)


def _texture(rng: np.random.Generator, side: int) -> NDArray[np.float32]:
    """A (side, side, 3) surface in [0, 255]: two colours mixed by a natural-looking field."""
    a, b = rng.uniform(0, 255, (2, 3))
    kind = rng.integers(4)
    if kind == 0:
        t = _cloud(rng, side, rng.uniform(0.8, 1.8))
    elif kind == 1:
        y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side
        angle = rng.uniform(0, 2 * np.pi)
        t = (np.cos(angle) * x + np.sin(angle) * y) * 0.5 + 0.5
    elif kind == 2:
        y, x = np.mgrid[0:side, 0:side].astype(np.float32)
        angle, period = rng.uniform(0, np.pi), rng.uniform(4, 40)
        t = 0.5 + 0.5 * np.sin((np.cos(angle) * x + np.sin(angle) * y) * 2 * np.pi / period)
    else:
        t = np.full((side, side), rng.uniform(), np.float32)
    contrast = rng.uniform(0.1, 1.0)
    surface: NDArray[np.float32] = (a + (b - a) * contrast * t[..., None]).astype(np.float32)
    return np.clip(surface, 0, 255)


def draw_scene(seed: int, side: int = 256) -> Image.Image:
    """A 'dead leaves' scene (RGB): textured shapes that hide one another, sizes by a power law.

    Its statistics of edges, scales and spectra are close to those of photographs (Lee, Mumford and Huang,
    'Occlusion models for natural images', IJCV 2001), which is why restoration networks trained on it carry
    over to real pictures (Achddou, Gousseau and Ladjal, 'Synthetic images as a regularity prior', SSVM 2021).
    """
    rng = np.random.default_rng(seed)
    image = Image.fromarray(_texture(rng, side).astype(np.uint8))
    textures = [Image.fromarray(_texture(rng, side).astype(np.uint8)) for _ in range(6)]
    smallest, largest = 2.0, side * 0.4
    for _ in range(int(rng.integers(20, 160))):
        # Inverse-cube law of the radius: equal area at every scale, as in dead leaves.
        u = rng.uniform()
        r = (smallest**-2 + u * (largest**-2 - smallest**-2)) ** -0.5
        r = r if rng.uniform() < 0.8 else rng.uniform(10, largest)
        cx, cy = rng.uniform(0, side, 2)
        box = [int(cx - 2 * r) - 1, int(cy - 2 * r) - 1, int(cx + 2 * r) + 2, int(cy + 2 * r) + 2]
        w, h = box[2] - box[0], box[3] - box[1]
        mask = Image.new("L", (w * 2, h * 2), 0)
        draw = ImageDraw.Draw(mask)
        x, y, rr = (cx - box[0]) * 2, (cy - box[1]) * 2, r * 2
        kind = rng.integers(4)
        if kind == 0:
            squash = rng.uniform(0.4, 1.0)
            draw.ellipse((x - rr, y - rr * squash, x + rr, y + rr * squash), fill=255)
        elif kind == 1:
            n = int(rng.integers(3, 8))
            angles = np.sort(rng.uniform(0, 2 * np.pi, n))
            draw.polygon([(x + rr * math.cos(a), y + rr * math.sin(a)) for a in angles], fill=255)
        elif kind == 2:
            angle = rng.uniform(0, np.pi)
            dx, dy = 1.9 * rr * math.cos(angle), 1.9 * rr * math.sin(angle)
            width = max(2, int(rng.uniform(0.05, 0.5) * rr))
            draw.line((x - dx, y - dy, x + dx, y + dy), fill=255, width=width)
        else:
            half = rr * rng.uniform(0.3, 1.0)
            draw.rectangle((x - rr, y - half, x + rr, y + half), fill=255)
        mask = mask.resize((w, h), Image.Resampling.BOX)
        if rng.uniform() < 0.15:  # out of focus
            mask = mask.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.5, 3.0))))
        if rng.uniform() < 0.6:
            surface = textures[int(rng.integers(len(textures)))]
            ox, oy = (int(v) for v in rng.integers(0, max(1, side - 8), 2))
            patch = surface.crop((ox, oy, ox + w, oy + h)) if ox + w <= side and oy + h <= side else None
        else:
            patch = None
        if patch is None:
            patch = Image.new("RGB", (w, h), tuple(int(v) for v in rng.uniform(0, 255, 3)))
        image.paste(patch, (box[0], box[1]), mask)
    return image
