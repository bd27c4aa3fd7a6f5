"""Which device, and which precision on it."""

from __future__ import annotations

import errno

import torch

from hotfolder.errors import DeviceLost, DeviceTrouble, DiskFull, EnvironmentTrouble, HotfolderError


def pick_device(wanted: str) -> torch.device:
    """'auto' takes CUDA where there is one. Raises DeviceTrouble for a device that is not there."""
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(wanted)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceTrouble(
            f"there is no device '{wanted}' on this machine", "set executor.device to 'auto' or 'cpu'"
        )
    return device


def pick_dtype(device: torch.device) -> torch.dtype:
    """Half precision on CUDA. On CPUs float32: float16 is unusably slow there."""
    return torch.float16 if device.type == "cuda" else torch.float32


def precision_name(dtype: torch.dtype) -> str:
    """'float32', 'float16', …"""
    return str(dtype).removeprefix("torch.")


def classify(error: Exception) -> HotfolderError:
    """Any error out of an engine, as one of ours: who is to blame decides what follows."""
    if isinstance(error, HotfolderError):
        return error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull("no space left for the output", "free some; the queue goes on by itself")
    if isinstance(error, OSError) and error.errno in (errno.EROFS, errno.EACCES, errno.EIO):
        return EnvironmentTrouble(f"{error.strerror}: {error.filename}", "make the root writable")
    if isinstance(error, torch.OutOfMemoryError):
        return HotfolderError(
            "the device ran out of memory",
            "free its memory, or make the image, the tile or the batch smaller",
        )
    if isinstance(error, RuntimeError) and "CUDA error" in str(error):
        return DeviceLost(f"the device failed: {str(error).splitlines()[0]}", "look at the driver's log: dmesg")
    return HotfolderError(f"{type(error).__name__}: {error}", "see the log; if it stays, report it")
