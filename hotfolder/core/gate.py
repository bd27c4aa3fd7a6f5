"""The gate: what a score means."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from hotfolder.types import Role, Verdict


@dataclass(frozen=True, slots=True)
class Gate:
    """Thresholds on the score, 1 to 10."""

    keep: float
    upscale: float
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


def judge(score: float, role: Role, try_number: int, gate: Gate, waited: float = 0.0) -> Decision:
    """Decides on a scored image; `waited` are the seconds since the first try of its prompt was judged.

    An enlarged image has passed the gate already: its new score is a measurement, not a verdict.
    """
    if role is Role.UPSCALED:
        return Decision(None, upscale=False, regenerate=False)
    keep = score >= gate.keep
    wanting = role is Role.GENERATED and score < gate.regenerate_below and not keep
    stopped = None
    if wanting and try_number >= gate.max_attempts > 1:
        stopped = f"{try_number} tries are as many as gate.max_attempts allows"
    elif wanting and 0 < gate.max_seconds <= waited and try_number < gate.max_attempts:
        stopped = f"the {gate.max_seconds:g} s of gate.max_seconds were over after {try_number} tries"
    elif role is Role.GENERATED and not wanting and try_number > 1:
        stopped = f"try {try_number} was not below gate.regenerate_below"
    return Decision(
        Verdict.KEEP if keep else Verdict.REJECT,
        upscale=keep and score >= gate.upscale,
        regenerate=wanting and stopped is None and try_number < gate.max_attempts,
        stopped=stopped,
    )


def best(scores: Sequence[tuple[int, float]], most: int) -> frozenset[int]:
    """Of (id, score) the ids of the `most` best; of equal ones the lower ids."""
    return frozenset(key for key, _ in sorted(scores, key=lambda each: (-each[1], each[0]))[:most])


def next_seed(seed: int, try_number: int) -> int:
    """The seed of the next try: repeatable, and far from the seeds that `--count` uses (seed + 1, …)."""
    digest = hashlib.sha256(f"{seed}:{try_number}".encode()).digest()
    return int.from_bytes(digest[:4], "big")
