"""How long each kind of work takes where several devices share it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hotfolder.core.pace import Pace, Rates
from hotfolder.types import Kind


def pooled_paces(rates: Sequence[Rates], earlier: Mapping[Kind, Pace]) -> dict[Kind, Pace]:
    """Of all of them together; one that has not done a kind yet is taken for as fast as the others.

    `earlier` are those of earlier runs, of one device.
    """
    if len(rates) == 1:
        return rates[0].paces(earlier)
    found: dict[Kind, Pace] = {}
    each = [(own, own.paces(earlier)) for own in rates]
    for kind in Kind:
        done = [paces[kind] for own, paces in each if own.measured(kind) is not None]
        # Of earlier runs, or a guess, where none has.
        known = done or [paces[kind] for _, paces in each if kind in paces]
        if known:
            found[kind] = _together(known, max(1, len(rates)))
    return found


def _together(known: Sequence[Pace], devices: int) -> Pace:
    """Of so many devices, of which some are known."""
    rate = sum(1 / max(pace.seconds_per_job, 1e-9) for pace in known) / len(known) * devices
    part = 1 / (rate * max(sum(pace.seconds_per_job for pace in known), 1e-9))
    return Pace(
        part * sum(pace.per_job for pace in known),
        min(pace.load_seconds for pace in known),
        part * sum(pace.per_megapixel for pace in known),
        sum(pace.megapixels for pace in known) / len(known),
    )


def pooled_spent(rates: Sequence[Rates], paces: Mapping[Kind, Pace], now: float) -> float:
    """Seconds of what is left that the batches in work have had already."""
    if len(rates) == 1:
        return rates[0].spent(paces, now)
    # Each device does its part of the whole: what it has done counts by that part.
    return sum(own.spent(own.paces(paces), now) for own in rates) / max(1, len(rates))
