"""Which generator fits a card, and how: before any of its files is here, so by published sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from hotfolder.core.memory_plan import WORKING, MemoryPlan, begin_on

#: Of a card's memory; the rest is the driver's and the desktop's.
_SHARE = 0.97
#: Bits of a weight in 4 bits with its scales, of 16; and room for what is not kept so.
_FOUR_BITS = 1.1 * 4.5 / 16
#: Parts that wait for their turn lie in the machine's memory.
_RAM = 1.1
_WHOLE = (MemoryPlan.FULL, MemoryPlan.TILED, MemoryPlan.OFFLOAD)


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU. `ram` is the machine's memory, None where it is not known; both in bytes."""

    name: str
    memory: int
    ram: int | None = None
    has_nf4: bool = False  # whether weights in 4 bits can be read here: it wants bitsandbytes


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
    ("flux2-klein", (MemoryPlan.FP8, MemoryPlan.NF4)),
    ("sdxl-turbo", _WHOLE),
    ("sdxl-turbo", (MemoryPlan.FP8, MemoryPlan.NF4)),
)


def plan_of(parts: Parts, card: Card) -> MemoryPlan | None:
    """The fastest plan by which it should fit; None where there is none.

    In 8 bits is the denoiser alone; in 4 bits are the text encoders, too.
    """
    free = int(card.memory * _SHARE)
    weights = parts.denoiser + parts.text
    plan = begin_on((*_WHOLE, MemoryPlan.FP8, MemoryPlan.NF4), free, weights, parts.denoiser, parts.text)
    in_ram = card.ram is None or card.ram >= _RAM * weights
    if plan in (MemoryPlan.FULL, MemoryPlan.TILED) or (plan is not MemoryPlan.NF4 and in_ram):
        return plan
    largest = max(parts.denoiser, parts.text)
    return MemoryPlan.NF4 if card.has_nf4 and _FOUR_BITS * largest + WORKING <= free else None


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
