"""Which device, and which precision on it."""

from __future__ import annotations

import errno
import functools
import gc
import os
import platform
import re
from pathlib import Path

import torch

from hotfolder.errors import DeviceLost, DeviceTrouble, DiskFull, EnvironmentTrouble, HotfolderError, OutOfMemory
from hotfolder.types import RunnerSettings

#: Values of ONEDNN_MAX_CPU_ISA (oneDNN's guide, 'CPU dispatcher control') below the first one with bfloat16.
_WITHOUT_BFLOAT16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI")
#: How torch and what it works with say that memory ran out, where that is no torch.OutOfMemoryError: the CPU's
#: allocator; the driver, for a kernel or for pinned memory; cuBLAS and cuDNN, whose last engine had no workspace.
_RAN_OUT = (
    "can't allocate memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED",
    "DEVICE_ALLOCATION_FAILED", "unable to find an engine to execute this computation",
)  # fmt: skip

# What is called float32 has to be it: with TF32, convolutions keep 10 bits of 23. Nor are the sums of long products
# kept in half precision on their way.
torch.backends.cudnn.allow_tf32 = False
torch.backends.cuda.matmul.allow_tf32 = False
torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False


def pick_device(wanted: str) -> torch.device:
    """'auto' takes CUDA where there is one. A card has its number, as its tensors have it: 'cuda' is the first.

    Raises DeviceTrouble for a device that is not there.
    """
    own = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(own if wanted == "auto" else wanted)
    if device.type != "cuda":
        return device
    number = device.index or 0
    if number >= torch.cuda.device_count():
        raise DeviceTrouble(
            f"there is no device '{wanted}' on this machine", "set executor.device to 'auto' or 'cpu'"
        )
    return torch.device("cuda", number)


def device_name(device: torch.device) -> str:
    """As its maker calls a GPU; of a CPU its architecture."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu {platform.machine()}"


def own_name(card: str) -> str:
    """What a process that sees this card alone calls it; where it does not see it, its name stays, to be told."""
    return "cuda:0" if torch.cuda.device_count() else card


def pick_dtype(device: torch.device, wanted: str = "auto") -> torch.dtype:
    """float16 on CUDA, bfloat16 on CPUs that have it natively, else float32; or what is wanted.

    Raises DeviceTrouble for float16 on a CPU: it is hundreds of times slower there.
    """
    if wanted == "float16" and device.type == "cpu":
        raise DeviceTrouble(
            "float16 is unusably slow on a CPU", "set executor.precision to 'auto', 'float32' or 'bfloat16'"
        )
    if wanted != "auto":
        chosen: torch.dtype = getattr(torch, wanted)
        return chosen
    if device.type == "cuda":
        return torch.float16
    return torch.bfloat16 if has_native_bfloat16() else torch.float32


def memory_of(device: torch.device) -> tuple[int, int]:
    """Bytes that are taken, and bytes in all: of a GPU by everybody, on a CPU by this process of the machine's."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return total - free, total
    page = os.sysconf("SC_PAGE_SIZE")
    resident = int(Path("/proc/self/statm").read_text().split()[1])
    return resident * page, os.sysconf("SC_PHYS_PAGES") * page


def free_of(device: torch.device) -> int:
    """Bytes that can be had: of a GPU those that nobody has, on a CPU what the machine has without swapping."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    found = re.search(r"^MemAvailable: *(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    used, total = memory_of(device)
    return int(found[1]) * 1024 if found else total - used


def free_memory(device: torch.device | None) -> None:
    """Gives back what nobody holds any more. Pipelines are full of circles: those are looked for, too."""
    gc.collect()
    if device is not None:
        empty_cache(device)


def empty_cache(device: torch.device) -> None:
    """Gives back to others what torch keeps of a card's memory for itself."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def synchronise(device: torch.device) -> None:
    """Waits until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def decode_threads(settings: RunnerSettings) -> int:
    """As configured, else one for each core; beyond 16 the memory they hold outweighs what they add."""
    return settings.decode_threads or min(16, os.cpu_count() or 1)


@functools.cache
def has_native_bfloat16() -> bool:
    """Whether bfloat16 is multiplied in hardware on this CPU; without, it is many times slower than float32.

    What torch and oneDNN were told not to use (ATEN_CPU_CAPABILITY, ONEDNN_MAX_CPU_ISA) does not count.
    """
    try:
        flags = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return False
    if "bf16" in flags:  # ARM
        return True
    if not flags & {"avx512_bf16", "amx_bf16"}:
        return False
    most = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or ""
    return "AVX512" in torch.backends.cpu.get_cpu_capability() and most.upper() not in _WITHOUT_BFLOAT16


def is_out_of_memory(error: BaseException) -> bool:
    """A genuine one only: other errors of CUDA do not go away with a smaller batch."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    if isinstance(error, UnboundLocalError) and "'image'" in str(error):
        return True  # Sana's pipeline catches what its VAE raises, says so in a warning, and goes on without a picture
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _RAN_OUT)


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
    if is_out_of_memory(error):
        return OutOfMemory(
            "the device ran out of memory",
            "free its memory, or make the image, the tile or the batch smaller",
        )
    if isinstance(error, RuntimeError) and "CUDA error" in str(error):
        return DeviceLost(f"the device failed: {str(error).splitlines()[0]}", "look at the driver's log: dmesg")
    return HotfolderError(f"{type(error).__name__}: {error}", "see the log; if it stays, report it")
