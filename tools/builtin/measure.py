"""What the built-in models can do, in figures: the model cards and the tests are made of these."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from hotfolder.demo.pictures import FAULTS, spoil
from hotfolder.engines.scoring.ensemble import ScorerEnsemble
from hotfolder.engines.upscaling.upscaler import Upscaler
from tools.builtin.captions import COLOURS, Spec, held_out_specs
from tools.builtin.compact import SCALE, reduce_by_four
from tools.builtin.outlines import shape_seen
from tools.builtin.renders import draw_scene, draw_spec
from tools.builtin.technical import draw_clean

#: Seeds from here on are never used in training, whose own are below.
HELD_OUT_SEED = 900_000_000
_NAMES = list(COLOURS)
_PALETTE = np.array(list(COLOURS.values()), np.float32)


@dataclass(frozen=True, slots=True)
class ShapesFigures:
    """How often shape and colours came out as asked, and how long an image took."""

    images: int
    shape: float  # shares, 0 to 1
    shape_colour: float
    background_colour: float
    both: float
    seconds_per_image: float


def nearest_colours(image: Image.Image) -> NDArray[np.intp]:
    """(h, w) index into COLOURS of the palette colour nearest to each pixel (Euclidean, sRGB)."""
    pixels = np.asarray(image.convert("RGB"), np.float32)
    distances: NDArray[np.float32] = ((pixels[:, :, None, :] - _PALETTE) ** 2).sum(-1)
    return distances.argmin(-1)


def colours_seen(image: Image.Image) -> tuple[str, str | None]:
    """(background, shape): the colour that dominates the border, and the one that dominates among the rest.

    The shape is None when less than 2 % of the picture has another colour than the background.
    """
    names = nearest_colours(image)
    edge = max(1, min(names.shape) // 20)
    inner = np.zeros(names.shape, bool)
    inner[edge:-edge, edge:-edge] = True
    background = int(np.bincount(names[~inner], minlength=len(_NAMES)).argmax())
    counts = np.bincount(names.ravel(), minlength=len(_NAMES))
    counts[background] = 0
    shape = int(counts.argmax())
    return _NAMES[background], _NAMES[shape] if counts[shape] >= 0.02 * names.size else None


def measure_shapes(draw: Callable[[str, int], Image.Image], count: int, seed: int = 1) -> ShapesFigures:
    """Draws `count` held-out combinations, each with its own seed, and looks at their outlines and colours."""
    specs: Sequence[Spec] = held_out_specs(count, random.Random(seed))
    started = time.perf_counter()
    images = [draw(spec.caption(), HELD_OUT_SEED + i) for i, spec in enumerate(specs)]
    seconds = (time.perf_counter() - started) / count
    outlines = [shape_seen(image) == spec.shape for spec, image in zip(specs, images, strict=True)]
    colours = [colours_seen(image) for image in images]
    backgrounds = [seen == spec.background for spec, (seen, _) in zip(specs, colours, strict=True)]
    shapes = [seen == spec.colour for spec, (_, seen) in zip(specs, colours, strict=True)]
    both = [a and b for a, b in zip(backgrounds, shapes, strict=True)]
    outline_share, shape_share, background_share, both_share = (
        float(np.mean(right)) for right in (outlines, shapes, backgrounds, both)
    )
    return ShapesFigures(count, outline_share, shape_share, background_share, both_share, seconds)


def psnr(a: Image.Image, b: Image.Image) -> float:
    """Peak signal-to-noise ratio in dB over all RGB channels, 8 bits; infinite for equal pictures."""
    difference = np.asarray(a.convert("RGB"), np.float64) - np.asarray(b.convert("RGB"), np.float64)
    error = float((difference**2).mean())
    return float("inf") if error == 0 else 10 * np.log10(255.0**2 / error)


def gain_over_bicubic(upscaler: Upscaler, original: Image.Image) -> float:
    """Reduces a picture by four, enlarges it again, and compares with Pillow's bicubic: dB of PSNR gained."""
    width, height = (side // SCALE * SCALE for side in original.size)
    original = original.convert("RGB").crop((0, 0, width, height))
    low = reduce_by_four(original)
    ours = Image.fromarray(upscaler.enlarge_one(np.asarray(low)))
    return psnr(ours, original) - psnr(low.resize(original.size, Image.Resampling.BICUBIC), original)


def measure_compact(upscaler: Upscaler, count: int) -> dict[str, float]:
    """Mean gain in dB on held-out scenes and on held-out flat shapes."""
    rng = random.Random(HELD_OUT_SEED)
    scenes = [draw_scene(HELD_OUT_SEED + i, 256) for i in range(count)]
    shapes = [draw_spec(spec, rng, 384) for spec in held_out_specs(max(1, count // 2), rng)]
    return {
        "scenes": float(np.mean([gain_over_bicubic(upscaler, image) for image in scenes])),
        "shapes": float(np.mean([gain_over_bicubic(upscaler, image) for image in shapes])),
    }


def photographs(folder: Path) -> dict[str, Image.Image]:
    """The pictures in a folder by their names, RGB, transparency laid over white."""
    from hotfolder.imaging.decode import decode
    from hotfolder.imaging.modes import to_rgb

    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".jpg", ".png"))
    return {p.name: to_rgb(decode(p, 10**9).image, "white") for p in found}


@dataclass(frozen=True, slots=True)
class TechnicalFigures:
    """How reliably the score falls as a fault grows."""

    falling: dict[str, float]  # fault -> share of steps at which the score fell
    lowest: float
    highest: float
    clean_mean: float

    @property
    def falling_overall(self) -> float:
        return float(np.mean(list(self.falling.values())))


def measure_technical(ensemble: ScorerEnsemble, count: int) -> TechnicalFigures:
    """Scores `count` held-out pictures at levels 0 to 5 of each fault."""
    clean = draw_clean(count, HELD_OUT_SEED)
    falling, scores = {}, []
    with torch.inference_mode():
        for fault in FAULTS:
            steps = []
            for index, image in enumerate(clean):
                ladder = [spoil(image, fault, level, index) if level else image for level in range(6)]
                values = [judged.score.value for judged in ensemble.judge(ladder)]
                steps += [b < a for a, b in itertools.pairwise(values)]
                scores += values
            falling[fault] = float(np.mean(steps))
        originals = [judged.score.value for judged in ensemble.judge(clean)]
    return TechnicalFigures(falling, min(scores), max(scores), float(np.mean(originals)))


@dataclass(frozen=True, slots=True)
class GainFigures:
    """What enlarging does to the score: medians over pictures, of the child's score less its parent's."""

    clean: float
    clean_not_negative: float  # share, 0 to 1
    blurred: float
    blurred_negative: float


def measure_gains(
    upscaler: Upscaler, ensemble: ScorerEnsemble, count: int, photographs: Sequence[Image.Image] = ()
) -> GainFigures:
    """Enlarges `count` held-out renders of 128² and the photographs; then the renders, blurred by 1 to 4 levels."""
    rng = random.Random(HELD_OUT_SEED + 1)
    renders = [draw_spec(spec, rng) for spec in held_out_specs(count // 2, rng)]
    renders += [draw_scene(HELD_OUT_SEED + 10_000 + i, 128) for i in range(count - len(renders))]

    def gain(image: Image.Image) -> float:
        child = Image.fromarray(upscaler.enlarge_one(np.asarray(image)))
        with torch.inference_mode():
            parent_score, child_score = (judged.score.value for judged in ensemble.judge([image, child]))
        return child_score - parent_score

    clean = [gain(image) for image in (*renders, *photographs)]
    blurred = [gain(spoil(image, "blur", rng.uniform(1, 4))) for image in renders]
    return GainFigures(
        float(np.median(clean)), float(np.mean(np.array(clean) >= 0)),
        float(np.median(blurred)), float(np.mean(np.array(blurred) < 0)),
    )  # fmt: skip
