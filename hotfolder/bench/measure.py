"""Measuring: time, memory, and what the device could do at best."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable

import torch

from hotfolder.engines.device import free_memory

#: Side of the square matrices whose product shows what the device can do.
_SIDE_CPU, _SIDE_CUDA = 2048, 8192


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """How long `work` takes, the device's part included."""
    _synchronise(device)
    started = time.perf_counter()
    work()
    _synchronise(device)
    return time.perf_counter() - started


def peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second in a large matrix product: the roof, measured, not from a data sheet."""
    side = _SIDE_CUDA if device.type == "cuda" else _SIDE_CPU
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    a @ b
    times = 50 if device.type == "cuda" else 5
    best = min(seconds(lambda: [a @ b for _ in range(times)], device) for _ in range(3))
    return 2 * side**3 * times / best


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


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
