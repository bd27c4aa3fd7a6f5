"""From evidence to what may be offered: the gate as it is, an own threshold, or an own threshold and a direction.

Each has to prove itself on pictures that it was not learnt from, by groups. No random numbers: the same evidence gives
the same result. The method, and what it was measured by: docs/taste.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from hotfolder.taste.evidence import Evidence, Floats, fold_of, joined_groups
from hotfolder.taste.fit import Rows, fit, fits, is_floored, losses, uncertainty
from hotfolder.taste.measures import (
    Calibration,
    auc,
    auc_error,
    calibrated,
    gains_by_group,
    z_of_gain,
)
from hotfolder.taste.space import Space

#: Labels that are wanted before anything is said, and of each side.
LEAST_LABELS, LEAST_OF_A_SIDE = 20, 5
#: Which share of them has to agree with the gate. Corrections alone are the gate's errors: what is learnt from nothing
#: but them is the opposite of the person's taste.
LEAST_AGREEING = 0.25
#: Groups without which there is nothing to judge a direction by.
LEAST_GROUPS = 5
#: A direction has to save logloss by so many standard errors (one-sided, 5 %), with an AUC above that, on two checks
#: so many labels apart.
SURE, LEAST_AUC, APART = 1.645, 0.65, 10
#: The scale of scores.
LOWEST, HIGHEST = 1.0, 10.0
#: λ: from no direction to hardly any bound on it. The strongest comes first, so that each fit starts near the last.
STRENGTHS = tuple(float(x) for x in np.logspace(3, -1, 9))


class Level(StrEnum):
    """What has proved itself."""

    GATE = "gate"  # nothing: the gate stays as it is
    THRESHOLD = "threshold"  # an own threshold on the same score
    DIRECTION = "direction"  # an own threshold, and what the person likes beyond the score


@dataclass(frozen=True, slots=True)
class Threshold:
    """From which score on the person keeps, with a 90 % interval. `a`, `c`: see fit. It may not be one: `is_line`."""

    at: float
    lowest: float
    highest: float
    a: float
    c: float

    @property
    def is_line(self) -> bool:
        """Whether the verdicts draw a line on the scale of scores.

        They do not where they contradict each other so much that the score hardly separates what is kept and what is
        rejected. What comes out then is a number that means nothing, mostly off the scale.
        """
        knows_nothing = self.lowest <= LOWEST and self.highest >= HIGHEST
        return LOWEST <= self.at <= HIGHEST and not knows_nothing and not is_floored(np.array([self.a, self.c]))

    @property
    def interval(self) -> tuple[float, float]:
        """What of it lies on the scale: to keep from 1 on, or from less, is the same."""
        return max(self.lowest, LOWEST), min(self.highest, HIGHEST)

    def excludes(self, keep: float) -> bool:
        """Whether the interval says that the person's threshold is not this one."""
        return not self.lowest <= keep <= self.highest


@dataclass(frozen=True, slots=True)
class Check:
    """How a direction does on pictures that it was not learnt from."""

    labels: int
    strength: float  # λ
    gain: float  # logloss that it saves against the own threshold, a label, in nats
    sureness: float  # the same in standard errors, by groups
    auc: float
    auc_error: float
    prior_auc: float  # of the gate's score

    @property
    def passes(self) -> bool:
        return self.sureness > SURE and self.auc > LEAST_AUC


@dataclass(frozen=True, slots=True)
class Learnt:
    """What evidence says. `parameters`: a, c, u of the level in `space`."""

    level: Level
    space: Space | None
    parameters: Floats
    threshold: Threshold | None
    check: Check | None
    check_before: Check | None  # ten labels ago
    calibration: Calibration | None
    why_not_more: str  # what keeps it from a direction; empty for one
    more: int | None  # about so many more labels are needed; None: that cannot be said

    @property
    def is_floored(self) -> bool:
        """Whether the gate's score tells so little of the person's taste that its share was set to the least."""
        return is_floored(self.parameters)


@dataclass(frozen=True, slots=True)
class _Crossed:
    """What each row gets from a fit of the other folds."""

    plain: Floats  # (n,) z of the own threshold
    best: Floats  # (n,) z of the chosen direction
    strength: float
    fitted: tuple[Floats, ...]  # (folds, 2 + k) of each λ


def learn(evidence: Evidence, library: Space | None = None) -> Learnt:
    """Below a second for 10,000 pictures of 768 numbers and 1,000 labels.

    `library`: a space of the very same pictures, scores and threshold, which need not be found anew.
    """
    refused = _too_little(evidence)
    if refused is not None:
        why, more = refused
        return Learnt(Level.GATE, None, _nothing(), None, None, None, None, why, more)
    space = Space.of(evidence) if library is None else replace(library, evidence=evidence)
    rows = space.rows(evidence.labels, evidence.pairs)
    threshold, own = _threshold(space, rows)
    groups = _groups(space, evidence)
    count = len(evidence.labels)
    check, crossed = _check(count, rows, groups)
    earlier = evidence.without_newest(APART)
    before = None
    if check is not None and _too_little(earlier) is None:
        older = np.r_[: len(earlier.labels), count : count + len(earlier.pairs)]  # the oldest come first
        before, _ = _check(len(earlier.labels), rows.some(older), groups[older], crossed)
    if check is not None and crossed is not None and check.passes and before is not None and before.passes:
        parameters = fit(rows, check.strength)
        sure = _calibration(crossed.best[:count], rows, count)
        return Learnt(Level.DIRECTION, space, parameters, threshold, check, before, sure, "", 0)
    calibration = _calibration(crossed.plain[:count], rows, count) if crossed is not None else None
    level = Level.THRESHOLD if threshold.is_line and threshold.excludes(evidence.keep) else Level.GATE
    why, more = _not_yet(check, len(evidence.labels) + len(evidence.pairs))
    parameters = np.concatenate([own, np.zeros(space.axes.shape[1])])
    return Learnt(level, space, parameters, threshold, check, before, calibration, why, more)


def own_threshold(space: Space, rows: Rows) -> Floats:
    """(2,): a and c of the own threshold alone."""
    return fit(rows.without_direction(), 0.0)


def _nothing() -> Floats:
    return np.array([1.0, 0.0])


def _too_little(evidence: Evidence) -> tuple[str, int | None] | None:
    """Why nothing is learnt, and how many more labels are wanted."""
    count, sides = len(evidence.labels), (evidence.kept, evidence.rejected)
    missing = max(LEAST_LABELS - count, 0)
    of_sides = sum(max(0, LEAST_OF_A_SIDE - side) for side in sides)
    if missing or of_sides:
        wanted = f"{LEAST_LABELS} are wanted, {LEAST_OF_A_SIDE} of them kept and {LEAST_OF_A_SIDE} rejected"
        return f"{sides[0]} kept and {sides[1]} rejected are known: {wanted}", max(missing, of_sides)
    if evidence.agreeing < LEAST_AGREEING:
        return (
            "nearly all that is known are corrections: they tell where the gate errs, not what you like. Look at "
            "pictures large in the gallery, or confirm what is right with its keys",
            None,
        )
    return None


def _not_yet(check: Check | None, count: int) -> tuple[str, int | None]:
    if check is None:
        return f"the verdicts are of fewer than {LEAST_GROUPS} prompts or dropped files", None
    if check.passes:
        return f"it has to do as well once more, with {APART} further labels", APART
    if check.sureness <= SURE:
        why = "as far as can be told, nothing beyond the score predicts your verdicts better than a threshold does"
    else:
        why = f"its AUC is not above {LEAST_AUC:g}"
    if check.sureness < 0.4:
        return why, None
    more = count * ((SURE / check.sureness) ** 2 - 1) if check.sureness < SURE else count * 0.25
    return why, max(10, min(2000, 10 * math.ceil(more / 10)))


def _threshold(space: Space, rows: Rows) -> tuple[Threshold, Floats]:
    own = own_threshold(space, rows)
    a, c = float(own[0]), float(own[1])
    slope = np.array([space.spread * c / a**2, -space.spread / a])
    error = math.sqrt(max(0.0, float(slope @ uncertainty(rows.without_direction(), own) @ slope)))
    at = space.evidence.keep - space.spread * c / a
    return Threshold(at, at - SURE * error, at + SURE * error, a, c), own


def _groups(space: Space, evidence: Evidence) -> np.ndarray:
    """Of each label, then of each pair."""
    contents = [label.content for label in evidence.labels]
    contents += [pair.winner for pair in evidence.pairs] + [pair.loser for pair in evidence.pairs]
    names = [label.group for label in evidence.labels] + 2 * [pair.group for pair in evidence.pairs]
    joined = joined_groups(names, space.apart(contents))
    return np.array(joined[: len(evidence.labels) + len(evidence.pairs)], object)


def _check(
    count: int, rows: Rows, names: np.ndarray, near: _Crossed | None = None
) -> tuple[Check | None, _Crossed | None]:
    """`count`: so many of the rows are labels. `near`: what was found from nearly the same ones, which saves time."""
    known, groups = np.unique(names, return_inverse=True)
    folds = np.array([fold_of(name) for name in known], np.int64)[groups]
    if len(known) < LEAST_GROUPS or len(set(folds.tolist())) < 2:
        return None, None
    crossed = _cross(rows, groups, folds, near)
    gains = gains_by_group(groups, rows.weights, rows.answers, crossed.plain, crossed.best)
    answers, weights = rows.answers[:count], rows.weights[:count]
    yes, no = float((weights * answers).sum()), float((weights * (1 - answers)).sum())
    area = auc(crossed.best[:count], answers, weights)
    check = Check(
        labels=count,
        strength=crossed.strength,
        gain=float(gains.sum() / rows.weights.sum()),
        sureness=z_of_gain(gains),
        auc=area,
        auc_error=auc_error(area, yes, no),
        prior_auc=auc(rows.rows[:count, 0], answers, weights),
    )
    return check, crossed


def _cross(rows: Rows, groups: np.ndarray, folds: np.ndarray, near: _Crossed | None) -> _Crossed:
    """Out of fold, for every λ; of those within half a standard error of the best the strongest one is chosen.

    By the paired differences of groups: the errors of the losses themselves are so large that nearly no direction
    would be left.
    """
    known, place = np.unique(folds, return_inverse=True)
    weights = rows.weights * (place != np.arange(len(known))[:, None])
    plain = _out_of_fold(rows.rows[:, :2], fits(rows.without_direction(), weights, 0.0), place)
    fitted: list[Floats] = []
    for number, strength in enumerate(STRENGTHS):
        start = fitted[-1] if fitted else None
        if near is not None and len(near.fitted[number]) == len(known):
            start = near.fitted[number]
        fitted.append(fits(rows, weights, strength, start))
    found = [_out_of_fold(rows.rows, each, place) for each in fitted]
    by_group = np.stack([np.bincount(groups, weights=rows.weights * losses(rows.answers, z)) for z in found])
    best = by_group[int(by_group.sum(axis=1).argmin())]
    for number, each in enumerate(by_group):
        apart = each - best
        error = float(apart.std(ddof=1)) / math.sqrt(len(apart))
        if float(apart.mean()) <= error / 2:
            return _Crossed(plain, found[number], STRENGTHS[number], tuple(fitted))
    raise AssertionError("the best one is within any error of itself")


def _out_of_fold(rows: Floats, fitted: Floats, place: np.ndarray) -> Floats:
    """(n,): z of each row by the fit that has not seen its fold."""
    found: Floats = np.einsum("nk,nk->n", rows, fitted[place])
    return found


def _calibration(z: Floats, rows: Rows, count: int) -> Calibration:
    return calibrated(z, rows.answers[:count], rows.weights[:count])
