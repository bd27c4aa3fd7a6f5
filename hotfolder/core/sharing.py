"""How several devices share what waits: each takes what it ends in the time that the others need for theirs."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

#: Of its share a device takes half at a time, so that a pace which was reckoned wrong can be made good; but no less
#: than so many jobs.
_AT_LEAST = 4
#: While its pace is not known, it takes no more than so many, since it may be slow; of the last jobs only one.
_UNKNOWN = 4


@dataclass(frozen=True, slots=True)
class Able:
    """A device that could do some of what waits."""

    seconds_per_job: float
    free_in: float = 0.0  # seconds until it could begin


def own_share(waiting: int, own: Able, others: Sequence[Able]) -> int:
    """How many of the jobs `own` does when each goes to the device that ends it first: then all end together.

    0: every one of them is done sooner by the others.
    """
    ends = [(each.free_in + each.seconds_per_job, number) for number, each in enumerate((own, *others))]
    every = [own.seconds_per_job, *(each.seconds_per_job for each in others)]
    heapq.heapify(ends)
    share = 0
    for _ in range(waiting):
        end, number = ends[0]
        share += number == 0
        heapq.heapreplace(ends, (end + every[number], number))
    return share


def portion(share: int, *, is_known: bool, is_all: bool) -> int:
    """How much of its share a device takes at once; `is_all`: nothing waits beside what is shared."""
    if not is_known:
        return min(share, 1 if is_all else _UNKNOWN)
    if not is_all:
        return share
    return share if share <= _AT_LEAST else math.ceil(share / 2)


def is_worth_loading(load_seconds: float | None, own: Able, others: Sequence[Able], waiting: int) -> bool:
    """Whether a device that has to load a model first still ends some of the jobs before the others would.

    `own` does not count the loading. A model of which nobody knows how long it takes to load is loaded.
    """
    if load_seconds is None or not others:
        return True
    late = Able(own.seconds_per_job, own.free_in + load_seconds)
    return own_share(waiting, late, others) * own.seconds_per_job >= load_seconds
