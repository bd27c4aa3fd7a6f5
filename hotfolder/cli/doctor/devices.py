"""The devices, and how the generator goes onto them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hotfolder.cli.card import planned
from hotfolder.cli.doctor.check import Check
from hotfolder.config.settings import Settings

#: Seconds for the devices to be asked.
_PROBE_SECONDS = 180


def examine(settings: Settings) -> Iterator[Check]:
    """torch, asked in a process of its own, each device, and whether those that are configured are there."""
    wanted = settings.executor.device
    command = [sys.executable, "-P", "-m", "hotfolder.engines.probe"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=_PROBE_SECONDS)
        found: dict[str, Any] = json.loads(told.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        said = told.stderr.strip().splitlines()[-1:] if isinstance(error, ValueError) else [str(error)]
        yield Check("torch", "fail", f"torch cannot be used: {' '.join(said)}", "install hotfolder again: uv sync")
        return
    yield Check("torch", "ok", f"{found['torch']}, CUDA {found['cuda'] or 'not built in'}")
    devices = found["devices"]
    for each in devices:
        memory = f", {each['free_mb']:,} of {each['memory_mb']:,} MiB free" if "memory_mb" in each else ""
        text = f"{each['device']}: {each['name']}{memory}, native {', '.join(each.get('native', ()))}"
        if each["trouble"]:
            yield Check("device", "fail", f"{text}: {each['trouble']}", "does the driver fit? see: nvidia-smi")
        else:
            yield Check("device", "ok", f"{text}, used in {each['used']}")
    yield from plan(settings, devices)
    names = {each["device"] for each in devices}
    has_cuda = any(name.startswith("cuda") for name in names)
    listed = () if settings.executor.devices == "auto" else settings.executor.devices
    for name in (each for each in listed if ("cuda:0" if each == "cuda" else each) not in names):
        yield Check(
            "device", "fail", f"executor.devices names {name}, which is not there", "leave it out, or auto"
        )
    if wanted.startswith("cuda") and (wanted if ":" in wanted else "cuda:0") not in names:
        yield Check("device", "fail", f"executor.device is {wanted}, which is not there", "set it to auto or cpu")
    elif not has_cuda and wanted == "auto":
        driver = Path("/proc/driver/nvidia").exists()
        why = (
            "there is an NVIDIA driver, but torch sees no GPU" if driver else "no GPU: everything runs on the CPU"
        )
        fix = "see: nvidia-smi; is torch built for a CUDA that the driver knows?" if driver else ""
        yield Check("device", "warn", why, fix or "nothing, for the presets tiny and cpu; the others need one")


def plan(settings: Settings, devices: Sequence[Mapping[str, Any]]) -> Iterator[Check]:
    """How the configured generator goes onto the GPU, as far as its sizes are known."""
    entry = settings.catalogue().entry(settings.generate.model)
    wanted = settings.executor.device
    cards = [each for each in devices if "memory_mb" in each and wanted in ("auto", "cuda", each["device"])]
    if entry is None or not cards:
        return
    best = max(cards, key=lambda each: int(each["memory_mb"]))
    found = planned(entry, best["memory_mb"] << 20, settings.generate.memory, best["name"])
    if found is None:
        return
    fits, text = found
    yield Check("plan", "ok" if fits else "warn", text, "hotfolder init --preset NAME; see docs/administration.md")
