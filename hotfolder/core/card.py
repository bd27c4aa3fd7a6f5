"""Which generator fits a card, and how: before any of its files is here, so by published sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from hotfolder.core.memory_plan import AT_REST, IN_FEWER_BITS, IN_RAM, MemoryPlan, begin_on

#: Of a card's memory; the rest is the driver's and the desktop's.
_SHARE = 0.97
_WHOLE = (*AT_REST, MemoryPlan.OFFLOAD)


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU. `ram` is the machine's memory, None where it is not known; both in bytes."""

    name: str
    memory: int
    ram: int | None = None
    has_nf4: bool = False  # whether bitsandbytes is here: weights in 4 bits want it, and text encoders in 8


@dataclass(frozen=True, slots=True)
class Parts:
    """Bytes of a generator's parts at half precision; `text` is that of all text encoders together."""

    denoiser: int
    text: int = 0


@dataclass(frozen=True, slots=True)
class Proposal:
    """`plan` is None where nothing has to fit: on the CPU. `better` would fit with bitsandbytes."""

    preset: str
    plan: MemoryPlan | None
    better: str | None = None


#: Presets from the one that people ask for first, each with the plans that it is proposed with. Weights as they are
#: come before weights of fewer bits.
_PREFERRED: tuple[tuple[str, tuple[MemoryPlan, ...]], ...] = (
    ("z-image-turbo", _WHOLE),
    ("flux2-klein", _WHOLE),
    ("flux2-klein", IN_FEWER_BITS),
    ("sdxl-turbo", _WHOLE),
    ("sdxl-turbo", IN_FEWER_BITS),
)


def plan_of(parts: Parts, card: Card) -> MemoryPlan | None:
    """The fastest plan by which it should fit; None where there is none.

    Layer by layer it fits any card, if the machine's memory is known to be enough.
    """
    free = int(card.memory * _SHARE)
    weights = parts.denoiser + parts.text
    with_package = (MemoryPlan.INT8, MemoryPlan.NF4) if card.has_nf4 else ()

    def first(*steps: MemoryPlan) -> MemoryPlan:
        return begin_on((*steps, MemoryPlan.GROUP), free, weights, parts.denoiser, parts.text)

    plan = first(*_WHOLE, MemoryPlan.FP8, *with_package)
    if plan in AT_REST:
        return plan
    if card.ram is not None and card.ram < IN_RAM * weights:  # only in 4 bits nothing waits there as it comes
        plan = first(MemoryPlan.NF4) if card.has_nf4 else MemoryPlan.GROUP
        return plan if plan is MemoryPlan.NF4 else None
    return None if plan is MemoryPlan.GROUP and card.ram is None else plan


def propose(card: Card | None, parts: Mapping[str, Parts]) -> Proposal:
    """What to begin with on this card, or without one; `parts` are those of the presets' generators."""
    found = _first(card, parts) if card is not None else None
    if card is None or found is None:
        return Proposal("tiny", None, _with_nf4(card, parts, "tiny"))
    return Proposal(found.preset, found.plan, _with_nf4(card, parts, found.preset))


def _first(card: Card, parts: Mapping[str, Parts]) -> Proposal | None:
    for preset, plans in _PREFERRED:
        plan = plan_of(parts[preset], card)
        if plan in plans:
            return Proposal(preset, plan)
    return None


def _with_nf4(card: Card | None, parts: Mapping[str, Parts], without: str) -> str | None:
    if card is None or card.has_nf4:
        return None
    better = _first(replace(card, has_nf4=True), parts)
    return better.preset if better is not None and better.preset != without else None
