"""What a worker may take of the machine: a hostile file must not take the machine with it."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import resource
import signal
from pathlib import Path

log = logging.getLogger(__name__)
#: Of the machine's memory: what workers on the CPU may take together.
SHARE = 0.9
_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """The kernel kills this process when the one that started it ends, however that ends; prctl(2)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def limit_worker(memory_mb: int, *, on_cpu: bool) -> None:
    """Bounds this process's memory and lets it leave no core file.

    RLIMIT_DATA of setrlimit(2): memory that is really asked for. RLIMIT_AS would count what allocators and drivers
    only reserve. `memory_mb` 0: nine tenths of the machine's memory `on_cpu`, else nothing.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not memory_mb and not on_cpu:
        return
    most = memory_mb << 20 if memory_mb else int(SHARE * machine_memory())
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
    except (OSError, ValueError) as error:
        log.warning("the worker's memory cannot be limited: %s", error)


def machine_memory(cgroup: Path = Path("/sys/fs/cgroup/memory.max")) -> int:
    """Bytes of memory of this machine, or of this service if it has a limit."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):
        return min(whole, int(cgroup.read_text()))
    return whole
