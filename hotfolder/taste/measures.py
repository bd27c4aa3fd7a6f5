"""How good a judge is, from what it said and what the person said."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hotfolder.taste.evidence import Floats
from hotfolder.taste.fit import losses, probability

_BINS = 5


def auc(z: Floats, answers: Floats, weights: Floats) -> float:
    """How often what was kept stands above what was rejected, 0 to 1; nan where either is missing."""
    order = np.argsort(z, kind="stable")
    z, yes, no = z[order], (weights * answers)[order], (weights * (1 - answers))[order]
    if not (yes.sum() > 0 and no.sum() > 0):
        return math.nan
    _, first, inverse = np.unique(z, return_index=True, return_inverse=True)
    of_ties = np.add.reduceat(no, first)
    below = np.concatenate(([0.0], np.cumsum(of_ties)[:-1])) + of_ties / 2
    return float((yes * below[inverse]).sum() / (yes.sum() * no.sum()))


def auc_error(value: float, yes: float, no: float) -> float:
    """The standard error of an AUC (Hanley and McNeil, Radiology 143, 1982), of so many kept and rejected."""
    if not (yes > 0 and no > 0 and math.isfinite(value)):
        return math.nan
    one, two = value / (2 - value), 2 * value**2 / (1 + value)
    variance = value * (1 - value) + (yes - 1) * (one - value**2) + (no - 1) * (two - value**2)
    return math.sqrt(max(0.0, variance) / (yes * no))


@dataclass(frozen=True, slots=True)
class Calibration:
    """p(keep) = 1/(1 + exp(-(slope·z + offset))), by Platt; how it does on labels that it was not learnt from."""

    slope: float
    offset: float
    brier: float
    #: Five bins of 0.2 each: how many labels, the mean of what was said, and which share was kept.
    table: tuple[tuple[int, float, float], ...]

    def chance(self, z: Floats) -> Floats:
        return probability(self.slope * z + self.offset)


def calibrated(z: Floats, answers: Floats, weights: Floats) -> Calibration:
    """Platt's targets (N₊+1)/(N₊+2) and 1/(N₋+2) instead of 1 and 0 (Advances in Large Margin Classifiers, 1999)."""
    yes, no = float((weights * answers).sum()), float((weights * (1 - answers)).sum())
    targets = np.where(answers > 0.5, (yes + 1) / (yes + 2), 1 / (no + 2))
    slope, offset = 1.0, 0.0
    for _ in range(25):
        chances = probability(slope * z + offset)
        wrong, bend = weights * (chances - targets), weights * chances * (1 - chances)
        gradient = np.array([(wrong * z).sum(), wrong.sum()])
        hessian = np.array([[(bend * z * z).sum(), (bend * z).sum()], [(bend * z).sum(), bend.sum()]])
        step = np.linalg.solve(hessian + 1e-6 * np.eye(2), gradient)
        step *= min(1.0, 4.0 / max(float(np.linalg.norm(step)), 1e-300))
        slope, offset = slope - float(step[0]), offset - float(step[1])
        if float(np.abs(step).max()) < 1e-8:
            break
    chances = probability(slope * z + offset)
    brier = float((weights * (chances - answers) ** 2).sum() / weights.sum())
    bins = np.minimum((chances * _BINS).astype(int), _BINS - 1)
    table = []
    for number in range(_BINS):
        inside = bins == number
        count = int(inside.sum())
        said = float(chances[inside].mean()) if count else math.nan
        table.append((count, said, float(answers[inside].mean()) if count else math.nan))
    return Calibration(slope, offset, brier, tuple(table))


def z_of_gain(gains: Floats) -> float:
    """How far the mean of independent gains lies above zero, in standard errors; 0 where that cannot be said."""
    if len(gains) < 2:
        return 0.0
    error = float(gains.std(ddof=1)) * math.sqrt(len(gains))
    return float(gains.sum()) / error if error > 0 else 0.0


def gains_by_group(groups: np.ndarray, weights: Floats, answers: Floats, before: Floats, after: Floats) -> Floats:
    """How much logloss the z of `after` saves against those of `before`, summed by group."""
    saved = weights * (losses(answers, before) - losses(answers, after))
    return np.asarray(np.bincount(groups, weights=saved), np.float64)
