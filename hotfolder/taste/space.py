"""Where pictures lie, as taste sees them: the directions in which the library differs most."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hotfolder.taste.evidence import Evidence, Floats, Label, Pair
from hotfolder.taste.fit import Rows

#: Directions that are looked along, at most.
MOST_DIRECTIONS = 64
#: How far the length of embeddings may be from 1, as they are stored, where they are meant to have that.
_ABOUT_ONE = 0.02


@dataclass(frozen=True)
class Space:
    """φ(e) = axesᵀ((e - mean)/units)/scale: as many numbers as there are axes, the first with a spread of 1.

    Embeddings of length 1 are taken as they are. Of others each number is first set against its own spread: their
    numbers are of different kinds, and the largest would hide the rest (measured: docs/taste.md).
    """

    evidence: Evidence
    mean: Floats  # (d,)
    units: Floats  # (d,): infinite where nothing differs
    axes: Floats  # (d, k)
    scale: float
    spread: float  # of the prior's score over the library

    @classmethod
    def of(cls, evidence: Evidence) -> Space:
        vectors, priors = evidence.vectors, evidence.priors
        count, width = vectors.shape
        if not count:
            return cls(evidence, np.zeros(width), np.ones(width), np.zeros((width, 1)), 1.0, 1.0)
        mean = vectors.mean(axis=0, dtype=np.float64)
        apart = vectors - mean.astype(np.float32)
        units = np.ones(width)
        if np.abs(np.linalg.norm(vectors, axis=1) - 1).max() > _ABOUT_ONE:
            spreads = apart.std(axis=0, dtype=np.float64)
            units = np.where(spreads > 1e-6 * max(float(spreads.max()), 1e-6), spreads, np.inf)
            apart /= units.astype(np.float32)
        covariance = (apart.T @ apart).astype(np.float64) / max(1, count)
        sizes, axes = np.linalg.eigh(covariance)
        most = max(1, min(MOST_DIRECTIONS, count - 1, width))
        scale = float(np.sqrt(max(sizes[-1], 0.0)))
        spread = float(priors.std())
        return cls(evidence, mean, units, axes[:, ::-1][:, :most], scale or 1.0, spread or 1.0)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {content: place for place, content in enumerate(self.evidence.contents)}

    def of_contents(self, contents: Iterable[str]) -> Floats:
        """(n, 2 + k): the gate's score as it counts, 1, and φ."""
        places = [self._places[content] for content in contents]
        found = np.empty((len(places), 2 + self.axes.shape[1]))
        found[:, 0] = (self.evidence.priors[places] - self.evidence.keep) / self.spread
        found[:, 1] = 1.0
        found[:, 2:] = self.phi(self.evidence.vectors[places])
        return found

    def phi(self, vectors: NDArray[np.float32]) -> Floats:
        """(n, d) embeddings -> (n, k)."""
        found: Floats = (vectors - self.mean) / self.units @ self.axes / self.scale
        return found

    def weight(self, u: Floats) -> Floats:
        """(d,): what u is on embeddings themselves: u·φ(e) = weight·(e - mean)."""
        found: Floats = self.axes @ u / self.units / self.scale
        return found

    def apart(self, contents: Iterable[str]) -> Floats:
        """(n, d): what tells pictures from the mean of the library."""
        places = [self._places[content] for content in contents]
        found: Floats = (self.evidence.vectors[places] - self.mean) / self.units
        return found

    def rows(self, labels: Iterable[Label], pairs: Iterable[Pair]) -> Rows:
        """Labels first, then pairs: the better one less the other one."""
        labels, pairs = list(labels), list(pairs)
        ones = self.of_contents(label.content for label in labels)
        better = self.of_contents(pair.winner for pair in pairs)
        apart = better - self.of_contents(pair.loser for pair in pairs)
        answers = [float(label.keep) for label in labels] + [1.0] * len(pairs)
        weights = [label.weight for label in labels] + [1.0] * len(pairs)
        return Rows(np.concatenate([ones, apart]), np.array(answers), np.array(weights))
