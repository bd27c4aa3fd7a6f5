"""Whether another program holds memory of a card that a model needs."""

from __future__ import annotations

import torch

from hotfolder.core.memory_plan import GIB, WORKING
from hotfolder.engines.device import memory_of
from hotfolder.engines.generation.beginning import Beginning
from hotfolder.errors import DeviceOccupied
from hotfolder.models.fingerprint import fingerprint
from hotfolder.models.registry import ModelSpec
from hotfolder.types import RunnerSettings

#: What drivers and a desktop take of any card is no program's that could be waited for.
_ALWAYS = GIB


def check_is_ours(device: torch.device, generator: ModelSpec | None, settings: RunnerSettings) -> None:
    """Raises DeviceOccupied where, with all memory of the card, more would be possible than is now.

    For a generator that is a higher step of its memory plan, for other models that they work at all. On a CPU nothing
    is looked at: its memory is everybody's.
    """
    if device.type != "cuda":
        return
    used, total = memory_of(device)
    ours = torch.cuda.memory_reserved(device)
    check_free(total - used + ours, total, device, generator, settings)


def check_free(
    free: int, total: int, device: torch.device, generator: ModelSpec | None, settings: RunnerSettings
) -> None:
    """The same for so many bytes that are free, or ours."""
    if free >= total - _ALWAYS:
        return
    if generator is None:
        is_enough = free >= min(WORKING, total - _ALWAYS)
    else:
        beginning = Beginning(generator, device, settings, fingerprint(generator))
        is_enough = beginning.at(free) == beginning.at(total - _ALWAYS)
    if not is_enough:
        raise DeviceOccupied(
            f"other programs hold memory of the card: {free / GIB:.1f} of {total / GIB:.1f} GiB are free",
            "end them (nvidia-smi lists them), or set executor.occupied to 'step-down'",
        )
