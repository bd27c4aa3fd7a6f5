"""How a generator fits into memory: steps from the fastest to the most frugal, and which one to begin on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

GIB = 2**30
#: What working takes beside the weights of the part in work, and with a picture decoded in one piece, where nothing
#: better is known. Rough: a step that was chosen too high is left when the memory runs out.
WORKING, _WHOLE_PICTURE = 2 * GIB, 6 * GIB
#: Room above the weights' own bytes: the allocator's, and the CUDA context's.
_ROOM = 1.1
#: A weight in nf4 with its scales, as a share of the 16 bits that it has.
_FOUR_BITS = 4.5 / 16


class MemoryPlan(StrEnum):
    """Each does what the ones before it do, too, as far as that makes sense on the device; but for `group`, whose
    weights are as they come."""

    FULL = "full"  # all weights on the device
    TILED = "tiled"  # pictures are decoded in tiles
    OFFLOAD = "offload"  # only the part in work is on the device
    FP8 = "fp8"  # the denoiser's weights are kept in 8 bits
    INT8 = "int8"  # those of large text encoders, too
    NF4 = "nf4"  # all large ones in 4 bits
    GROUP = "group"  # only the layer in work is on the device


#: Steps on which no weights move or change while pictures are drawn.
AT_REST = (MemoryPlan.FULL, MemoryPlan.TILED)
#: On which parts come to the device one after the other, each whole.
ONE_BY_ONE = (MemoryPlan.OFFLOAD, MemoryPlan.FP8, MemoryPlan.INT8)
#: On which every picture is another one.
IN_FEWER_BITS = (MemoryPlan.FP8, MemoryPlan.INT8, MemoryPlan.NF4)
#: Parts that wait for their turn lie in the machine's memory, and take so many times the bytes of their weights there.
IN_RAM = 1.1


@dataclass(frozen=True, slots=True)
class Working:
    """Bytes that drawing takes beside the weights: with pictures decoded in one piece, and in tiles."""

    whole: float = _WHOLE_PICTURE
    tiled: float = WORKING


def begin_on(
    steps: Sequence[MemoryPlan],
    free: int,
    weights: int,
    denoiser: int,
    other: int = 0,
    working: Working = Working(),
    learnt: Mapping[MemoryPlan, float] = MappingProxyType({}),
) -> MemoryPlan:
    """The first step that should fit. `free`, and the bytes of all weights, of the denoiser, and of the largest other
    part (a text encoder, mostly) at half precision.

    `steps` are those that are possible, in order. What is `learnt` of a step's need is believed before the guess.
    """
    needs = {
        MemoryPlan.FULL: _ROOM * weights + working.whole,
        MemoryPlan.TILED: _ROOM * weights + working.tiled,
        MemoryPlan.OFFLOAD: _ROOM * max(denoiser, other) + working.tiled,
        MemoryPlan.FP8: _ROOM * max(denoiser / 2, other) + working.tiled,
        MemoryPlan.INT8: _ROOM * max(denoiser, other) / 2 + working.tiled,
        MemoryPlan.NF4: _ROOM * _FOUR_BITS * max(denoiser, other) + working.tiled,
        MemoryPlan.GROUP: 0.0,
        **learnt,
    }
    return next((step for step in steps if needs[step] <= free), steps[-1])


def next_step(steps: Sequence[MemoryPlan], now: MemoryPlan) -> MemoryPlan | None:
    """The step below; None when there is none."""
    after = list(steps)[list(steps).index(now) + 1 :]
    return after[0] if after else None
