"""The gate: what a score means."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from hotfolder.types import Role, Verdict


@dataclass(frozen=True, slots=True)
class Gate:
    """Thresholds on the score, 1 to 10."""

    keep: float
    upscale: float
    regenerate_below: float
    max_attempts: int


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from one score."""

    verdict: Verdict | None
    upscale: bool
    regenerate: bool


def judge(score: float, role: Role, try_number: int, gate: Gate) -> Decision:
    """Decides on a scored image.

    An enlarged image has passed the gate already: its new score is a measurement, not a verdict.
    """
    if role is Role.UPSCALED:
        return Decision(None, upscale=False, regenerate=False)
    keep = score >= gate.keep
    again = role is Role.GENERATED and score < gate.regenerate_below and try_number < gate.max_attempts
    return Decision(
        Verdict.KEEP if keep else Verdict.REJECT,
        upscale=keep and score >= gate.upscale,
        regenerate=again and not keep,
    )


def next_seed(seed: int, try_number: int) -> int:
    """The seed of the next try: repeatable, and far from the seeds that `--count` uses (seed + 1, …)."""
    digest = hashlib.sha256(f"{seed}:{try_number}".encode()).digest()
    return int.from_bytes(digest[:4], "big")
