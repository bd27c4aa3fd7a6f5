"""The best of several: which images of a set are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hotfolder.core.gate import Gate, is_good, verdict_of
from hotfolder.types import Verdict


@dataclass(frozen=True, slots=True)
class Choice:
    """What becomes of one image of a set."""

    verdict: Verdict
    upscale: bool  # good enough to be enlarged, where its prompt leaves that to the gate


def best(scores: Sequence[tuple[int, float]], most: int) -> frozenset[int]:
    """Of (id, score) the ids of the `most` best; of equal ones the lower ids."""
    return frozenset(key for key, _ in sorted(scores, key=lambda each: (-each[1], each[0]))[: max(0, most)])


def choose(
    judged: Sequence[tuple[int, float]], places: int, gate: Gate, *, rest_through_gate: bool
) -> dict[int, Choice]:
    """What becomes of each of (id, score): the `places` best are kept.

    The rest is rejected; with `rest_through_gate` it is judged as all else is.
    """
    kept = best(judged, places)
    found = {}
    for key, score in judged:
        passes = key in kept or (rest_through_gate and verdict_of(score, gate.keep) is Verdict.KEEP)
        verdict = Verdict.KEEP if passes else Verdict.REJECT
        found[key] = Choice(verdict, upscale=passes and is_good(score, gate))
    return found
