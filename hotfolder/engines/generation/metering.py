"""How much of a card's memory a loaded pipeline takes at most, without what other models beside it hold."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch


class Meter:
    """Of one loaded pipeline on a card.

    Prompts that are known are not read again, so what reading took once counts for every picture. With `one_by_one`
    the parts are on the card one after the other, and the largest of them has been there, or will be.
    """

    def __init__(self, pipeline: Any, device: torch.device, *, one_by_one: bool) -> None:
        self._parts = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
        self._device = device
        self._least = max(map(bytes_of, self._parts), default=0) if one_by_one else 0

    @contextmanager
    def reading(self) -> Iterator[None]:
        """While prompts are read, and nothing is drawn."""
        with self._most(self._was_read):
            yield

    @contextmanager
    def drawing(self, tell: Callable[[int], None]) -> Iterator[None]:
        """While pictures are drawn; `tell` gets the bytes that it takes, with the weights, if all went well."""
        with self._most(lambda peak: tell(max(peak, self._least))):
            yield

    def _was_read(self, peak: int) -> None:
        self._least = max(self._least, peak)

    @contextmanager
    def _most(self, tell: Callable[[int], None]) -> Iterator[None]:
        ours = sum(bytes_of(part, self._device) for part in self._parts)
        others = max(0, torch.cuda.memory_allocated(self._device) - ours)
        torch.cuda.reset_peak_memory_stats(self._device)
        yield
        tell(torch.cuda.max_memory_allocated(self._device) - others)


def bytes_of(part: torch.nn.Module, device: torch.device | None = None) -> int:
    """Of its weights; with a device, of those that are there."""
    tensors = itertools.chain(part.parameters(), part.buffers())
    return sum(tensor.nbytes for tensor in tensors if device is None or tensor.device.type == device.type)
