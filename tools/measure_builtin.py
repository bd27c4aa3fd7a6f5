"""Measures the built-in models: `uv run python -m tools.measure_builtin [--photos DIR]`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from PIL import Image

from hotfolder.engines.generation.generator import Generator
from hotfolder.engines.scoring.ensemble import ScorerEnsemble
from hotfolder.engines.upscaling.upscaler import Upscaler
from hotfolder.models.registry import Catalogue
from hotfolder.types import Kind, RunnerSettings
from tools.builtin import measure


def main(
    photos: Annotated[Path | None, typer.Option(help="a folder with photographs to enlarge")] = None,
    images: Annotated[int, typer.Option(help="how many images each figure is made of")] = 108,
) -> None:
    """Prints one JSON document with the figures that the model cards give."""
    cpu = torch.device("cpu")
    generator = Generator(Catalogue(()).resolve("shapes", Kind.GENERATE), cpu, RunnerSettings())

    def draw(prompt: str, seed: int) -> Image.Image:
        return generator.draw_one({"prompt": prompt, "seed": seed})[0]

    draw("a red circle on a blue background", 1)  # the first one pays for warming up
    upscaler = Upscaler(Catalogue(()).resolve("x4-compact", Kind.UPSCALE), cpu, RunnerSettings())
    ensemble = ScorerEnsemble.load("technical", RunnerSettings(), cpu)
    figures: dict[str, Any] = {
        "shapes": asdict(measure.measure_shapes(draw, images)),
        "x4-compact": measure.measure_compact(upscaler, images // 2),
        "technical": asdict(measure.measure_technical(ensemble, images // 2)),
    }
    found = {} if photos is None else measure.photographs(photos)
    figures["x4-compact"]["photographs"] = {
        name: measure.gain_over_bicubic(upscaler, image) for name, image in found.items()
    }
    figures["gain"] = asdict(measure.measure_gains(upscaler, ensemble, images, list(found.values())))
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
