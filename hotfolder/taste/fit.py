"""Penalised logistic regression by Newton's method: verdicts, and pairs as Bradley and Terry compare them.

    z = a·(s - t0)/σ0 + c + u·φ(e)        p(keep) = 1/(1 + exp(-z))
    min  Σ w·logloss(y, z) + Σ logloss(1, z_winner - z_loser)  + ½(a - 1)² + ½λ‖u‖²

The columns are a, c, then u. Of a pair, c cancels: its row is the difference of two.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hotfolder.taste.evidence import Floats

_MOST_STEPS, _LONGEST_STEP, _ENOUGH = 25, 4.0, 1e-8
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


def fit(rows: Rows, strength: float, start: Floats | None = None) -> Floats:
    """(2 + k,): a, c and u, where `strength` is λ. `start` only saves time."""
    found = _newton(rows, _penalty(rows, strength), _plain(rows), start)
    if found[0] >= LEAST_PRIOR:
        return found
    penalty, wanted = _penalty(rows, strength), _plain(rows)
    penalty[0], wanted[0] = _FIXED, LEAST_PRIOR
    return _newton(rows, penalty, wanted, None)


def is_floored(parameters: Floats) -> bool:
    """Whether the gate's score tells so little that its share was set to the least one."""
    return bool(parameters[0] < LEAST_PRIOR + 1e-3)


def uncertainty(rows: Rows, parameters: Floats) -> Floats:
    """(2, 2): the covariance of a and c, by Laplace; of a fit without a direction."""
    hessian = _hessian(rows, parameters, _penalty(rows, 0.0))
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


def _newton(rows: Rows, penalty: Floats, wanted: Floats, start: Floats | None) -> Floats:
    found = wanted.copy() if start is None else start.copy()
    for _ in range(_MOST_STEPS):
        chances = probability(rows.rows @ found)
        slope = rows.rows.T @ (rows.weights * (chances - rows.answers)) + penalty * (found - wanted)
        step = np.linalg.solve(_hessian(rows, found, penalty, chances), slope)
        length = float(np.linalg.norm(step))
        found = found - step * min(1.0, _LONGEST_STEP / max(length, 1e-300))
        if length < _ENOUGH:
            break
    return found


def _hessian(rows: Rows, parameters: Floats, penalty: Floats, chances: Floats | None = None) -> Floats:
    if chances is None:
        chances = probability(rows.rows @ parameters)
    curved = rows.rows * (rows.weights * chances * (1 - chances))[:, None]
    return curved.T @ rows.rows + np.diag(penalty)
