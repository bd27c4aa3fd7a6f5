"""The gate: what a score means."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

from hotfolder.types import JobParams, Precise, Purpose, Role, ScoreParams, Verdict

#: Every score: where scores are compared with each other, and not with a threshold.
ALL_PRECISE = Precise(at_least=-math.inf)


@dataclass(frozen=True, slots=True)
class Gate:
    """Thresholds on the score, 1 to 10."""

    keep: float
    upscale: float  # infinite: nothing is enlarged for its score
    regenerate_below: float
    max_attempts: int
    max_seconds: float = 0.0  # no new try so long after the first one was judged; 0: no limit


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from one score. `stopped` says why no other seed is tried, where that was in question."""

    verdict: Verdict | None
    upscale: bool
    regenerate: bool
    stopped: str | None = None


def verdict_of(score: float, keep: float) -> Verdict:
    """At the threshold is kept."""
    return Verdict.KEEP if score >= keep else Verdict.REJECT


def judge(score: float, role: Role, try_number: int, gate: Gate, waited: float = 0.0) -> Decision:
    """Decides on a scored image; `waited` are the seconds since the first try of its prompt was judged.

    An enlarged image has passed the gate already: its new score is a measurement, not a verdict.
    """
    if role is Role.UPSCALED:
        return Decision(None, upscale=False, regenerate=False)
    verdict = verdict_of(score, gate.keep)
    keep = verdict is Verdict.KEEP
    wanting = role is Role.GENERATED and score < gate.regenerate_below and not keep
    stopped = None
    if wanting and try_number >= gate.max_attempts > 1:
        stopped = f"{try_number} tries are as many as gate.max_attempts allows"
    elif wanting and 0 < gate.max_seconds <= waited and try_number < gate.max_attempts:
        stopped = f"the {gate.max_seconds:g} s of gate.max_seconds were over after {try_number} tries"
    elif role is Role.GENERATED and not wanting and try_number > 1:
        stopped = f"try {try_number} was not below gate.regenerate_below"
    return Decision(
        verdict,
        upscale=keep and is_good(score, gate),
        regenerate=wanting and stopped is None and try_number < gate.max_attempts,
        stopped=stopped,
    )


def is_good(score: float, gate: Gate) -> bool:
    """Whether a kept image is enlarged, where its prompt leaves that to the gate."""
    return score >= gate.upscale


def has_regressed(score: float, parent_score: float | None, min_gain: float | None) -> bool:
    """Whether enlarging an image did not gain what it had to, by the same scorer."""
    return min_gain is not None and parent_score is not None and score - parent_score < min_gain


def precise(params: JobParams | None, gate: Gate) -> Precise:
    """Which scores of a job with these parameters have to be float32's, so that every machine decides alike.

    Those near a threshold. Of a set (best-of) all, and those of enlarged images and of images that may be enlarged:
    they are compared with each other. Drawing and enlarging cost far more than such a score.
    """
    if not isinstance(params, ScoreParams):
        return Precise()
    generated = params.generated
    of_set = generated is not None and generated.set_number is not None and generated.request.until_kept is None
    if of_set or params.purpose is Purpose.MEASURE:
        return ALL_PRECISE
    return Precise((gate.keep, gate.regenerate_below), gate.upscale)


def next_seed(seed: int, try_number: int) -> int:
    """The seed of the next try: repeatable, and far from the seeds that `--count` uses (seed + 1, …)."""
    digest = hashlib.sha256(f"{seed}:{try_number}".encode()).digest()
    return int.from_bytes(digest[:4], "big")
