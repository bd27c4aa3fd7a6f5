"""How much better the best of several is than a single draw, on the built-in models.

    python -m tools.measure_best_of --prompts 20 --best-of 8

Single draws have seeds of their own, so that no image is in both means.
"""

from __future__ import annotations

import argparse
import statistics
import sys

import torch

from hotfolder.engines.generation.generator import Generator
from hotfolder.engines.generation.requests import GenerationRequest
from hotfolder.engines.scoring.ensemble import ScorerEnsemble
from hotfolder.models.registry import Catalogue
from hotfolder.types import Kind, RunnerSettings

_COLOURS = ("red", "green", "blue", "yellow", "purple")
_SHAPES = ("circle", "square", "star", "triangle")


def measure(prompts: int, best_of: int) -> dict[str, float]:
    """Means of the scores (1 to 10, `technical`) of the best of each set, and of a single draw of each prompt."""
    cpu, settings = torch.device("cpu"), RunnerSettings()
    generator = Generator(Catalogue().resolve("shapes", Kind.GENERATE), cpu, settings)
    ensemble = ScorerEnsemble.load("technical", settings, cpu)
    best, single = [], []
    for number in range(prompts):
        colour, shape = _COLOURS[number % len(_COLOURS)], _SHAPES[number % len(_SHAPES)]
        prompt = f"a {colour} {shape} on a white background"
        seeds = range(1000 * number, 1000 * number + best_of + 1)
        drawn = generator.draw([GenerationRequest(seed, {"prompt": prompt, "seed": seed}) for seed in seeds])
        images = [each.image for each in drawn if each.image is not None]
        scores = [judged.score.value for judged in ensemble.judge(images)]
        best.append(max(scores[:best_of]))
        single.append(scores[best_of])
    return {"best": statistics.mean(best), "single": statistics.mean(single)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=20)
    parser.add_argument("--best-of", type=int, default=8)
    arguments = parser.parse_args()
    found = measure(arguments.prompts, arguments.best_of)
    sys.stdout.write(
        f"best of {arguments.best_of} over {arguments.prompts} prompts: mean score {found['best']:.2f}, single draws "
        f"{found['single']:.2f}, gain {found['best'] - found['single']:+.2f}\n"
    )


if __name__ == "__main__":
    main()
