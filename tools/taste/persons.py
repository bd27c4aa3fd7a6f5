"""Simulated persons: how much of their taste is the score's, what the rest of it is like, and how sure they are."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hotfolder.taste.evidence import Evidence, Floats, Label
from hotfolder.taste.fit import probability
from hotfolder.taste.measures import auc
from tools.taste.world import World

RHOS = (1.0, 0.7, 0.4, 0.0)
SHAPES = ("linear", "middle", "two clusters")
SHARES = (0.2, 0.5)
#: The AUC that somebody would have who knew all of the person but for the noise.
CEILING = 0.85


@dataclass(frozen=True)
class Cell:
    """Persons of one kind. `rho`: how much of their taste is the score's, as a correlation."""

    rho: float
    shape: str
    share: float  # that they keep


@dataclass(frozen=True)
class Person:
    """`chances`: of each picture being kept. `said`: a word on each, as it would be given."""

    chances: Floats
    said: np.ndarray
    keep: float  # the gate's threshold, at which it keeps the same share

    def labels(self, world: World, seen: np.ndarray, *, moves_only: bool = False) -> list[Label]:
        found = []
        for time, number in enumerate(seen):
            gate = bool(world.priors[number] >= self.keep)
            keep = bool(self.said[number])
            if moves_only and keep == gate:
                continue
            found.append(
                Label(
                    f"{number:064x}", keep, 1.0, f"prompt {world.prompts[number]}", float(time + 1), keep == gate
                )
            )
        return found


def make(world: World, cell: Cell, number: int) -> Person:
    """The same number gives the same person."""
    rng = np.random.default_rng([zlib.crc32(f"{cell.rho} {cell.shape} {cell.share}".encode()), number])
    prior = _standard(world.priors)
    hidden = _hidden(world, cell.shape, rng)
    hidden = _standard(hidden - prior * (hidden @ prior) / len(prior))
    liking = cell.rho * prior + np.sqrt(1 - cell.rho**2) * hidden
    chances = _noisy(liking, cell.share)
    said = rng.random(len(chances)) < chances
    return Person(chances, said, float(np.quantile(world.priors, 1 - cell.share)))


def clicker(world: World, share: float, number: int) -> Person:
    """Says anything."""
    rng = np.random.default_rng([4711, number])
    chances = np.full(len(world.priors), share)
    return Person(chances, rng.random(len(chances)) < chances, float(np.quantile(world.priors, 1 - share)))


def evidence(world: World, keep: float, labels: list[Label]) -> Evidence:
    """Of the pictures that may be judged."""
    library = {
        content: (world.vectors[number], float(world.priors[number]))
        for number, content in enumerate(world.contents[: world.pool])
    }
    return Evidence.of(library, keep, labels)


def _hidden(world: World, shape: str, rng: np.random.Generator) -> Floats:
    def along() -> Floats:
        return _standard(world.vectors @ rng.normal(size=world.vectors.shape[1]))

    if shape == "linear":
        return along()
    if shape == "middle":
        return -np.abs(along() - rng.normal(0, 0.5))
    return np.maximum(along(), along())


def _noisy(liking: Floats, share: float) -> Floats:
    """Chances of keeping, with this mean, from which a perfect judge would have the AUC CEILING."""
    steep = _between(0.1, 30.0, lambda x: _expected(_with_mean(x * liking, share)) < CEILING)
    return _with_mean(steep * liking, share)


def _with_mean(logits: Floats, share: float) -> Floats:
    offset = _between(-60.0, 60.0, lambda x: float(probability(logits + x).mean()) < share)
    return probability(logits + offset)


def _expected(chances: Floats) -> float:
    """The AUC that the chances themselves have."""
    twice = np.concatenate([chances, chances])
    answers = np.concatenate([np.ones(len(chances)), np.zeros(len(chances))])
    return auc(twice, answers, np.concatenate([chances, 1 - chances]))


def _between(low: float, high: float, is_below: Callable[[float], bool]) -> float:
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if is_below(middle) else (low, middle)
    return (low + high) / 2


def _standard(values: Floats) -> Floats:
    values = np.asarray(values, np.float64)
    return (values - values.mean()) / values.std()
