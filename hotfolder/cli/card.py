"""What fits the GPU of this machine, in a sentence: for `init` and `doctor`."""

from __future__ import annotations

import importlib.util
import shlex
import shutil
import subprocess
from pathlib import Path

from hotfolder.core.card import Card, Parts, plan_of, propose
from hotfolder.core.memory_plan import MemoryPlan
from hotfolder.executors.limits import machine_memory
from hotfolder.models.entry import ModelEntry
from hotfolder.models.registry import Catalogue

#: What each plan means for a person.
_PLANS = {
    MemoryPlan.FULL: "all of it on the GPU",
    MemoryPlan.TILED: "all of it on the GPU, pictures decoded in tiles",
    MemoryPlan.OFFLOAD: "one part at a time on the GPU",
    MemoryPlan.FP8: "one part at a time on the GPU, the denoiser in 8 bits",
    MemoryPlan.INT8: "one part at a time on the GPU, denoiser and text encoders in 8 bits",
    MemoryPlan.NF4: "its large parts in 4 bits, one at a time on the GPU",
    MemoryPlan.GROUP: "one layer at a time on the GPU, which is slow",
}


def card() -> Card | None:
    """The largest GPU, as the driver's own tool tells it: torch would take seconds. None where there is none."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    command = [tool, "--query-gpu=memory.total,name", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
        memory, name = max(
            (int(memory), name.strip())
            for memory, _, name in (line.partition(",") for line in told.strip().splitlines())
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return Card(name, memory << 20, machine_memory(), has_nf4())


def has_nf4() -> bool:
    return importlib.util.find_spec("bitsandbytes") is not None


def parts_of(entry: ModelEntry) -> Parts | None:
    """None where the registry does not say."""
    if "denoiser" not in entry.parts_mb:
        return None
    return Parts(entry.parts_mb["denoiser"] << 20, entry.parts_mb.get("text", 0) << 20)


def proposal(root: Path) -> str:
    """Which preset fits, why, what is fetched for it, and how to have it."""
    here = card()
    entries = {entry.name: entry for entry in Catalogue().entries()}
    known = {name: parts for name, entry in entries.items() if (parts := parts_of(entry)) is not None}
    best = propose(here, known)
    if here is None:
        return (
            "There is no GPU that the NVIDIA driver knows (nvidia-smi): 'tiny' fits, which draws shapes on the CPU; "
            "'cpu' judges and enlarges photographs."
        )
    what = f"{here.name} has {here.memory / 2**30:.0f} GB"
    better = f" With bitsandbytes (the extra 'nf4'), '{best.better}' would fit." if best.better else ""
    if best.plan is None:
        return f"{what}: no generator of today's fits it, so 'tiny' is proposed.{better}"
    size = entries[best.preset].size
    fetched = f"; {size / 1e9:.1f} GB are fetched for it" if size else ""
    return (
        f"{what}: '{best.preset}' fits it, {_PLANS[best.plan]}{fetched}.{better}\n"
        f"  hotfolder init {shlex.quote(str(root))} --preset {best.preset}"
    )


def planned(entry: ModelEntry, memory: int, memory_setting: str, name: str) -> tuple[bool, str] | None:
    """Whether a generator fits a card of so many bytes, and how: None where its sizes are not known."""
    parts = parts_of(entry)
    if parts is None:
        return None
    size = f"{entry.name}: {(parts.denoiser + parts.text) / 1e9:.1f} GB of weights at half precision"
    if memory_setting != "auto":
        return True, f"{size}, {_PLANS[MemoryPlan(memory_setting)]}: generate.memory says so"
    plan = plan_of(parts, Card(name, memory, machine_memory(), has_nf4()))
    if plan is None:
        return False, f"{size} do not fit {name} with {memory / 2**30:.0f} GB"
    return True, f"{size} on {name} with {memory / 2**30:.0f} GB: {_PLANS[plan]}"
