"""Which machine this is, and what it can do at best."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from pathlib import Path

import torch

from hotfolder.bench.document import Machine, Measurement, reasons, rounded
from hotfolder.bench.measure import bandwidth, peak_flops, peak_memory
from hotfolder.bench.part import Give
from hotfolder.engines.device import has_native_bfloat16, memory_of, pick_device, precision_name
from hotfolder.types import RunnerSettings

_DRIVER = Path("/proc/driver/nvidia/version")
_LIBRARIES = (
    "hotfolder", "torch", "torchvision", "diffusers", "transformers", "open_clip_torch", "timm", "spandrel",
    "accelerate", "safetensors", "numpy", "pillow", "imagecodecs", "bitsandbytes", "triton",
)  # fmt: skip


def describe(settings: RunnerSettings) -> Machine:
    """Raises DeviceTrouble for a device that is not there."""
    device = pick_device(settings.device)
    is_card = device.type == "cuda"
    memory = memory_of(torch.device("cpu"))[1] / 2**20
    return Machine(
        device=torch.cuda.get_device_name(device) if is_card else _processor(),
        device_type="cuda" if is_card else "cpu",
        compute_capability=".".join(map(str, torch.cuda.get_device_capability(device))) if is_card else None,
        device_memory_mb=round(memory_of(device)[1] / 2**20),
        driver=_driver() if is_card else None,
        cuda=torch.version.cuda,
        cores=len(os.sched_getaffinity(0)),
        memory_mb=round(memory),
        system=platform.platform(),
        python=platform.python_version(),
    )


def versions() -> dict[str, str]:
    """Of what does the work; without what is not installed, or came without its metadata."""
    from hotfolder import __version__

    found = {"hotfolder": __version__, "torch": str(torch.__version__)}
    if torch.backends.cudnn.is_available():
        found["cudnn"] = str(torch.backends.cudnn.version())
    for name in _LIBRARIES:
        try:
            found.setdefault(name, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def measure_machine(settings: RunnerSettings, quick: bool, give: Give) -> None:
    """Matrix products in each precision, and copies within the device's memory."""
    device = pick_device(settings.device)
    dtypes = [torch.float32]
    if device.type == "cuda":
        dtypes += [torch.float16, torch.bfloat16]
    elif has_native_bfloat16():
        dtypes.append(torch.bfloat16)
    for dtype in dtypes:
        rate = peak_flops(device, dtype) / 1e12
        give(_measured("matrix products", "TFLOP", rate, device, precision_name(dtype)))
    give(_measured("device memory", "GB", bandwidth(device, small=quick) / 1e9, device, None))


def _measured(name: str, unit: str, rate: float, device: torch.device, precision: str | None) -> Measurement:
    memory = peak_memory(device)
    return Measurement(
        name=name,
        unit=unit,
        value=rounded(rate),
        precision=precision,
        device_memory_mb=memory.get("device_mb"),
        process_memory_mb=memory["process_mb"],
        reasons=reasons(
            memory.get("device_mb"),
            limit="it is the limit of others",
            plain="there is no plainer way",
            correctness="what torch multiplies or copies itself is not judged here",
        ),
    )


def _processor() -> str:
    try:
        found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1].strip() if found else platform.machine()


def _driver() -> str | None:
    """Of the kernel's module; None where that does not tell, as in some containers."""
    try:
        found = re.search(r"Kernel Module(?: for \S+)?\s+([\d.]+)", _DRIVER.read_text())
    except OSError:
        return None
    return found[1] if found else None
