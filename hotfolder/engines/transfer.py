"""Between the machine's memory and a device's, so that neither has to wait for the other.

A card works off what it is given in order. A copy that the machine waits for stands behind all that was given before
it; with one out of pinned memory, or into it, the machine goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


def sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """From the CPU to the device."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.contiguous().pin_memory().to(device, non_blocking=True)


def sent_together(arrays: Sequence[NDArray[np.uint8]], device: torch.device) -> torch.Tensor:
    """Arrays of one shape as one tensor, on the device; copied but once on the way."""
    if device.type != "cuda":
        return torch.from_numpy(np.stack(arrays)).to(device)
    pinned = torch.empty((len(arrays), *arrays[0].shape), dtype=torch.uint8, pin_memory=True)
    np.stack(arrays, out=pinned.numpy())
    return pinned.to(device, non_blocking=True)


class Fetched:
    """A tensor on its way from the device; what the device is given after this does not hold it up."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self._there: Any = None  # a card's event
        if tensor.device.type != "cuda":
            self._found = tensor.cpu()
            return
        self._found = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        self._found.copy_(tensor, non_blocking=True)
        self._there = torch.cuda.Event()
        self._there.record(torch.cuda.current_stream(tensor.device))

    def wait(self) -> torch.Tensor:
        """It, on the CPU, when it is there."""
        if self._there is not None:
            self._there.synchronize()
        return self._found
