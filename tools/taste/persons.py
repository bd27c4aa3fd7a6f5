"""Simulated persons: how much of their taste is the score's, what the rest of it is like, and how sure they are."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from hotfolder.taste.evidence import Evidence, Floats, Label
from hotfolder.taste.fit import probability
from tools.taste.world import World

RHOS = (1.0, 0.7, 0.4, 0.0)
SHAPES = ("linear", "middle", "two clusters")
SHARES = (0.2, 0.5)
#: The shape of those who say anything.
_ANYTHING = "none"
#: The AUC that somebody would have who knew all of the person but for the noise.
CEILING = 0.85


@dataclass(frozen=True)
class Cell:
    """Persons of one kind. `rho`: how much of their taste is the score's, as a correlation."""

    rho: float
    shape: str
    share: float  # that they keep

    @property
    def kind(self) -> str:
        return "clicker" if self.shape == _ANYTHING else "person"


def clickers(cells: Iterable[Cell]) -> list[Cell]:
    """Of people who say anything, as often yes as those of these cells."""
    return [Cell(0.0, _ANYTHING, share) for share in sorted({cell.share for cell in cells})]


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
    if cell.kind == "clicker":
        return clicker(world, cell.share, number)
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
    ranked = np.sort(liking)
    steep = _root(0.1, 30.0, lambda x: _expected(_with_mean(x * ranked, share)) - CEILING)
    return _with_mean(steep * liking, share)


def _with_mean(logits: Floats, share: float) -> Floats:
    """By Newton's method, and by halves where it would leave what is known to hold the answer."""
    low, high, offset = -60.0, 60.0, 0.0
    for _ in range(100):
        chances = probability(logits + offset)
        miss = float(chances.mean()) - share
        if abs(miss) < 1e-14 or high - low < 1e-12:
            break
        low, high = (low, offset) if miss > 0 else (offset, high)
        offset -= miss / max(float((chances * (1 - chances)).mean()), 1e-300)
        if not low < offset < high:
            offset = (low + high) / 2
    return chances


def _expected(ranked: Floats) -> float:
    """The AUC that chances themselves have; the smallest first."""
    no = 1 - ranked
    below = np.cumsum(no) - no / 2
    return float((ranked * below).sum() / (ranked.sum() * no.sum()))


def _root(low: float, high: float, of: Callable[[float], float]) -> float:
    """Where a rising function is zero: regula falsi, as Illinois has it. The nearer end where it is nowhere."""
    at_low, at_high, last = of(low), of(high), 0
    if at_low >= 0 or at_high <= 0:
        return low if at_low >= 0 else high
    found = low
    for _ in range(60):
        found = (low * at_high - high * at_low) / (at_high - at_low)
        value = of(found)
        if abs(value) < 1e-13 or high - low < 1e-12:
            break
        if value < 0:
            low, at_low, at_high, last = found, value, at_high / (2 if last < 0 else 1), -1
        else:
            high, at_high, at_low, last = found, value, at_low / (2 if last > 0 else 1), 1
    return found


def _standard(values: Floats) -> Floats:
    values = np.asarray(values, np.float64)
    return (values - values.mean()) / values.std()
