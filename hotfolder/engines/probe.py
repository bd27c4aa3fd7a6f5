"""What this machine's devices are and can do: a JSON document on stdout, for `hotfolder doctor`.

With `--count` only how many cards there are, which takes nothing of any.

A process of its own: a torch that does not fit its driver may take down whoever imports it.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch

from hotfolder.engines.device import has_native_bfloat16, pick_dtype, precision_name


def probe() -> dict[str, Any]:
    """torch, its CUDA, and each device: name, memory in MiB, native precisions, the one that is used, and a trial."""
    devices = [_cuda(index) for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return {"torch": torch.__version__, "cuda": torch.version.cuda, "devices": [*devices, _cpu()]}


def _cuda(index: int) -> dict[str, Any]:
    device = torch.device("cuda", index)
    try:
        properties = torch.cuda.get_device_properties(device)
        free, total = torch.cuda.mem_get_info(device)
        native = ["float32", "float16", *(["bfloat16"] if torch.cuda.is_bf16_supported() else [])]
        return {
            "device": str(device), "name": properties.name, "memory_mb": total >> 20, "free_mb": free >> 20,
            "capability": f"{properties.major}.{properties.minor}", "native": native,
            "used": precision_name(pick_dtype(device)), "trouble": _trial(device),
        }  # fmt: skip
    except RuntimeError as error:
        return {"device": str(device), "name": "", "trouble": str(error).splitlines()[0]}


def _cpu() -> dict[str, Any]:
    device = torch.device("cpu")
    native = ["float32", *(["bfloat16"] if has_native_bfloat16() else [])]
    return {
        "device": "cpu", "name": f"{torch.get_num_threads()} threads", "native": native,
        "used": precision_name(pick_dtype(device)), "trouble": _trial(device),
    }  # fmt: skip


def _trial(device: torch.device) -> str | None:
    """What goes wrong when it multiplies; None when nothing does."""
    try:
        dtype = pick_dtype(device)
        ones = torch.ones(64, 64, device=device, dtype=dtype)
        found = float((ones @ ones).sum())
    except RuntimeError as error:
        return str(error).splitlines()[0]
    return None if found == 64.0**3 else f"64 x 64 ones squared sum up to {found}, not {64**3}"


if __name__ == "__main__":
    json.dump(torch.cuda.device_count() if "--count" in sys.argv else probe(), sys.stdout)
