"""Compares networks for enlarging with bicubic interpolation: `python -m tools.measure_upscalers FOLDER MODEL…`.

Of each photograph the middle is reduced four times (the mean of 4 × 4 pixels), enlarged, and compared with what it
was.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from PIL import Image

from hotfolder.bench.measure import psnr
from hotfolder.engines.upscaling.network import read_descriptor
from hotfolder.models.registry import Catalogue
from hotfolder.types import Kind
from tools.builtin.measure import photographs

_FACTOR = 4
Pixels = NDArray[np.float64]


def main(
    folder: Annotated[Path, typer.Argument(help="a folder with photographs")],
    models: Annotated[list[str], typer.Argument(help="names or paths of networks that enlarge four times")],
    side: Annotated[int, typer.Option(help="pixels of the middle that is taken, a multiple of 4")] = 256,
) -> None:
    """Prints one JSON document: for each photograph and model the PSNR in dB, and how much detail there is."""
    ways: dict[str, Callable[[Image.Image], Pixels]] = {"bicubic": _bicubic}
    ways |= {Path(model).stem: _network(model) for model in models}
    found: dict[str, Any] = {}
    for name_of_it, photograph in photographs(folder).items():
        whole = _middle(photograph, side)
        small = whole.resize((whole.width // _FACTOR, whole.height // _FACTOR), Image.Resampling.BOX)
        there = np.asarray(whole, np.float64)
        found[name_of_it] = {name: _compared(way(small), there) for name, way in ways.items()}
    means = {
        name: {
            key: round(float(np.mean([each[name][key] for each in found.values()])), 2)
            for key in ("psnr_db", "detail")
        }
        for name in ways
    }
    sys.stdout.write(json.dumps({"side": side, "photographs": found, "mean": means}, indent=2) + "\n")


def _middle(image: Image.Image, side: int) -> Image.Image:
    width, height = (min(side, each // _FACTOR * _FACTOR) for each in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _compared(enlarged: Pixels, there: Pixels) -> dict[str, float]:
    """`detail`: the mean step between neighbours, as a share of the photograph's own; 1 is as sharp as that."""
    return {
        "psnr_db": round(psnr(enlarged, there), 2),
        "detail": round(_steps(enlarged) / max(_steps(there), 1e-9), 2),
    }


def _steps(pixels: Pixels) -> float:
    grey = pixels.mean(axis=2)
    return float(np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean())


def _bicubic(small: Image.Image) -> Pixels:
    size = (small.width * _FACTOR, small.height * _FACTOR)
    return np.asarray(small.resize(size, Image.Resampling.BICUBIC), np.float64)


def _network(model: str) -> Callable[[Image.Image], Pixels]:
    """The network alone, in float32: tiles and other precisions have bounds of their own."""
    spec = Catalogue(()).resolve(str(Path(model).absolute()) if Path(model).is_file() else model, Kind.UPSCALE)
    descriptor = read_descriptor(spec.files[0].path)
    if descriptor.scale != _FACTOR:
        raise typer.BadParameter(f"{model} enlarges {descriptor.scale} times, and not {_FACTOR}")
    net = descriptor.model.eval().float()

    @torch.inference_mode()
    def enlarge(small: Image.Image) -> Pixels:
        pixels = torch.from_numpy(np.array(small)).permute(2, 0, 1)[None].float() / 255
        found = net(pixels)[0, :3].clamp(0, 1) * 255
        return found.round().permute(1, 2, 0).numpy().astype(np.float64)

    return enlarge


if __name__ == "__main__":
    typer.run(main)
