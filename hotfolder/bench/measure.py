"""Measuring: time, memory, and what the device could do at best."""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hotfolder.engines.device import free_memory, synchronise

#: Side of the square matrices whose product shows what the device can do.
_SIDE_CPU, _SIDE_CUDA = 2048, 8192


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """How long `work` takes, the device's part included."""
    synchronise(device)
    started = time.perf_counter()
    work()
    synchronise(device)
    return time.perf_counter() - started


def peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second in a large matrix product: the roof, measured, not from a data sheet."""
    side = _SIDE_CUDA if device.type == "cuda" else _SIDE_CPU
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    found = a @ b
    times = 50 if device.type == "cuda" else 2
    # Into the same memory each time: fifty results would take 13 GB.
    best = min(seconds(lambda: [torch.mm(a, b, out=found) for _ in range(times)], device) for _ in range(3))
    return 2 * side**3 * times / best


def bandwidth(device: torch.device, *, small: bool = False) -> float:
    """Bytes a second that a copy within the device's memory reads and writes, counted together."""
    size = 2**30 if device.type == "cuda" else 2**26 if small else 2**28
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    target.copy_(source)
    times = 20 if device.type == "cuda" else 3
    best = min(seconds(lambda: [target.copy_(source) for _ in range(times)], device) for _ in range(3))
    return 2 * size * times / best


def psnr(image: NDArray[Any], exact: NDArray[Any]) -> float:
    """Of two pictures in levels of 0 to 255, in dB; 99 where they are equal, 0 where one holds what is no number."""
    error = float(((image.astype(np.float64) - exact) ** 2).mean())
    if not math.isfinite(error):
        return 0.0
    return 99.0 if error == 0 else float(10 * np.log10(255**2 / error))


def peak_memory(device: torch.device) -> dict[str, float]:
    """The most memory used so far, in MB: of the process, and on the device."""
    found = {"process_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
    if device.type == "cuda":
        found["device_mb"] = torch.cuda.max_memory_allocated(device) / 2**20
    return {name: round(value) for name, value in found.items()}


def precisions(device: torch.device, own: torch.dtype) -> list[torch.dtype]:
    """Float32, and the half precision that is compared with it: the device's own, on CPUs bfloat16."""
    half = own if own is not torch.float32 else torch.float16 if device.type == "cuda" else torch.bfloat16
    return [torch.float32, half]


def begin_memory(device: torch.device) -> None:
    """From now on, `peak_memory` tells of the device what comes after this. Of the process it always tells all."""
    free_memory(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
