"""Penalised logistic regression by Newton's method: verdicts, and pairs as Bradley and Terry compare them.

    z = a·(s - t0)/σ0 + c + u·φ(e)        p(keep) = 1/(1 + exp(-z))
    min  Σ w·logloss(y, z) + Σ logloss(1, z_winner - z_loser)  + ½(a - 1)² + ½λ‖u‖²

The columns are a, c, then u. Of a pair, c cancels: its row is the difference of two.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hotfolder.taste.evidence import Floats

#: What is left after a step is about its square: after one of the last length, nothing that could be seen.
_MOST_STEPS, _LONGEST_STEP, _ENOUGH = 25, 4.0, 1e-4
#: Keeps c finite where all labels say the same: far too little to be seen elsewhere.
_ON_C = 1e-4
#: The share of the prior that a head has at least: below it, dividing by it would blow everything up.
LEAST_PRIOR = 0.2
_FIXED = 1e6


@dataclass(frozen=True, slots=True)
class Rows:
    """What is fitted: (n, 2 + k) rows, (n,) answers of 0 and 1, (n,) weights."""

    rows: Floats
    answers: Floats
    weights: Floats

    def some(self, which: np.ndarray) -> Rows:
        return Rows(self.rows[which], self.answers[which], self.weights[which])

    def without_direction(self) -> Rows:
        """The same of the gate's score alone."""
        return Rows(self.rows[:, :2], self.answers, self.weights)


def fit(rows: Rows, strength: float) -> Floats:
    """(2 + k,): a, c and u, where `strength` is λ."""
    found: Floats = fits(rows, rows.weights[None], strength)[0]
    return found


def fits(rows: Rows, weights: Floats, strength: float, start: Floats | None = None) -> Floats:
    """(m, 2 + k): of the same rows, by each of (m, n) weights. `start`, of the same shape, only saves time."""
    penalty, wanted = _penalty(rows, strength), _plain(rows)
    found = _newton(rows, weights, penalty, wanted, np.tile(wanted, (len(weights), 1)) if start is None else start)
    floored = found[:, 0] < LEAST_PRIOR
    if floored.any():
        penalty[0], wanted[0] = _FIXED, LEAST_PRIOR
        found[floored, 0] = LEAST_PRIOR
        found[floored] = _newton(rows, weights[floored], penalty, wanted, found[floored])
    return found


def is_floored(parameters: Floats) -> bool:
    """Whether the gate's score tells so little that its share was set to the least one."""
    return bool(parameters[0] < LEAST_PRIOR + 1e-3)


def uncertainty(rows: Rows, parameters: Floats) -> Floats:
    """(2, 2): the covariance of a and c, by Laplace; of a fit without a direction."""
    chances = probability(rows.rows @ parameters)
    hessian = _curvature(rows, rows.weights * chances * (1 - chances)) + np.diag(_penalty(rows, 0.0))
    return np.asarray(np.linalg.inv(hessian)[:2, :2], np.float64)


def losses(answers: Floats, z: Floats) -> Floats:
    """(n,): logloss of each answer, in nats, without its weight."""
    return np.logaddexp(0.0, np.where(answers > 0.5, -z, z))


def probability(z: Floats) -> Floats:
    """The logistic function; finite for any z."""
    return np.exp(-np.logaddexp(0.0, -z))


def _plain(rows: Rows) -> Floats:
    wanted = np.zeros(rows.rows.shape[1])
    wanted[0] = 1.0
    return wanted


def _penalty(rows: Rows, strength: float) -> Floats:
    penalty = np.full(rows.rows.shape[1], strength)
    penalty[:2] = 1.0, _ON_C
    return penalty


def _newton(rows: Rows, weights: Floats, penalty: Floats, wanted: Floats, start: Floats) -> Floats:
    found, diagonal = start.copy(), np.arange(start.shape[1])
    for _ in range(_MOST_STEPS):
        chances = probability(found @ rows.rows.T)
        slopes = (weights * (chances - rows.answers)) @ rows.rows + penalty * (found - wanted)
        bends = weights * chances * (1 - chances)
        hessians = np.stack([_curvature(rows, each) for each in bends])
        hessians[:, diagonal, diagonal] += penalty
        steps = np.linalg.solve(hessians, slopes[:, :, None])[:, :, 0]
        lengths = np.linalg.norm(steps, axis=1)
        found -= steps * np.minimum(1.0, _LONGEST_STEP / np.maximum(lengths, 1e-300))[:, None]
        if float(lengths.max()) < _ENOUGH:
            break
    return found


def _curvature(rows: Rows, bends: Floats) -> Floats:
    seen = bends > 0
    curved = rows.rows[seen] * np.sqrt(bends[seen])[:, None]
    found: Floats = curved.T @ curved  # a matrix with itself: half the work
    return found
