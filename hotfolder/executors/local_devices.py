"""Which devices of this machine are worked on, and what each one's worker gets of the machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from hotfolder.executors.base import DeviceId
from hotfolder.executors.limits import SHARE, machine_memory
from hotfolder.types import RunnerSettings

#: One of these is there where a driver is, whatever kind of card it is for.
_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
#: Seconds for which torch may look for devices.
_LOOK_SECONDS = 60.0
#: More threads that read images hold more memory than they are worth.
_MOST_READERS = 16


@dataclass(frozen=True, slots=True)
class LocalDevice:
    """A device of this machine, and how its worker is started."""

    id: DeviceId
    name: str = ""  # as torch calls it; empty: as RunnerSettings say
    environment: Mapping[str, str] = field(default_factory=dict)  # of its worker
    readers: int | None = None  # threads that read images, where the settings leave that open
    memory_mb: int | None = None  # that its worker may take, where the settings leave that open

    @property
    def is_pinned(self) -> bool:
        """Whether its worker sees this card and no other, which it then calls 'cuda:0'."""
        return self.name.startswith("cuda")

    def settings(self, common: RunnerSettings) -> RunnerSettings:
        """Those of its worker."""
        return replace(
            common,
            device=self.name or common.device,
            decode_threads=common.decode_threads or self.readers or 0,
            memory_limit_mb=common.memory_limit_mb or self.memory_mb or 0,
        )


def local_devices(wanted: str | Sequence[str], device: str, cards: int, cores: int) -> tuple[LocalDevice, ...]:
    """`wanted` is 'auto' (every card, or what `device` names) or a list; this machine has `cards` and `cores`.

    Where it comes to a single one that is not listed, its worker gets the whole machine, as it is.
    """
    if isinstance(wanted, str):
        if device != "auto" or cards < 2:
            single = ("cuda:0" if cards else "cpu") if device == "auto" else device
            return (LocalDevice(single),)
        wanted = [f"cuda:{number}" for number in range(cards)]
    names = ["cuda:0" if name == "cuda" else name for name in wanted]
    counts, seen = Counter(names), Counter[str]()
    on_cpu = max(1, counts["cpu"])
    found = []
    for name in names:
        seen[name] += 1
        id_ = f"{name}-{seen[name]}" if counts[name] > 1 else name
        environment = {"CUDA_VISIBLE_DEVICES": _visible(name)}
        if name == "cpu" and "OMP_NUM_THREADS" not in os.environ and len(names) > 1:
            environment["OMP_NUM_THREADS"] = str(max(1, cores // on_cpu))
        memory = int(SHARE * machine_memory() / on_cpu) >> 20 if name == "cpu" and on_cpu > 1 else None
        readers = max(1, min(_MOST_READERS, cores) // len(names)) if len(names) > 1 else None
        found.append(LocalDevice(id_, name, environment, readers, memory))
    return tuple(found)


def _visible(name: str) -> str:
    """What CUDA_VISIBLE_DEVICES says to a worker that is to see this device alone, among those that we see."""
    if name == "cpu":
        return ""
    number = int(name.partition(":")[2])
    among = os.environ.get("CUDA_VISIBLE_DEVICES")
    if among is None:
        return str(number)
    entries = [entry.strip() for entry in among.split(",") if entry.strip()]
    return entries[number] if number < len(entries) else "-1"


def count_cards() -> int:
    """Cards that torch can use here; 0 where it cannot be asked. It looks in a process of its own: this one holds no
    card, and no torch."""
    if not any(map(os.path.exists, _DRIVERS)):
        return 0
    command = [sys.executable, "-P", "-m", "hotfolder.engines.probe", "--count"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=_LOOK_SECONDS, check=True)
        return int(json.loads(told.stdout))
    except (OSError, ValueError, TypeError, subprocess.SubprocessError):
        return 0


def count_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))
