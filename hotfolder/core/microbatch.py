"""How many images go through a network together: found from real batches, halved when memory runs out."""

from __future__ import annotations

from dataclasses import dataclass, replace

#: A larger size has to be so much faster per image, or the smaller one is kept.
_WORTH = 1.03
#: Each size is timed so often; the first time pays for warming up.
_TIMES = 2


@dataclass(frozen=True, slots=True)
class Sizing:
    """Where the search stands: sizes are doubled from the first one on while that pays."""

    size: int
    largest: int
    settled: bool = False
    tries: int = 0  # at this size
    seconds: float = 0.0  # per image at this size, the best try
    before: float = 0.0  # per image at the size before, 0 for none


def timed(sizing: Sizing, images: int, seconds: float) -> Sizing:
    """After a micro-batch of `images` took `seconds`. Only whole ones tell anything."""
    if sizing.settled or images != sizing.size:
        return sizing
    each = seconds / images
    best = min(each, sizing.seconds) if sizing.tries else each
    tried = replace(sizing, tries=sizing.tries + 1, seconds=best)
    if tried.tries < _TIMES:
        return tried
    if tried.before and tried.before < best * _WORTH:
        return replace(tried, size=tried.size // 2, settled=True)
    if tried.size * 2 > tried.largest:
        return replace(tried, settled=True)
    return Sizing(tried.size * 2, tried.largest, before=best)


def halved(sizing: Sizing) -> Sizing | None:
    """After the device ran out of memory; None when one image alone is too much."""
    if sizing.size == 1:
        return None
    half = sizing.size // 2
    return replace(sizing, size=half, largest=half, settled=True)
