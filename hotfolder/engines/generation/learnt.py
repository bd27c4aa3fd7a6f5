"""What was learnt of memory, remembered across starts: per device, model, step of the ladder and shape.

A hint that saves the first tries: where it cannot be read or written, they are made again. That something failed is
believed for a week, and only where there is about as much memory as there was then.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hotfolder.core.memory_plan import MemoryPlan
from hotfolder.home import user_folder

log = logging.getLogger(__name__)
Shape = tuple[int, int]  # width and height, in pixels
#: Above what was measured: the allocator's own, and the CUDA context's.
_ROOM = 1.1
#: With so much more free memory than when it ran out, it is tried again.
_MORE = 1.1
#: And after so many seconds, too: what took the memory then, may have been another program.
_BELIEVED = 7 * 24 * 3600
#: More than a file of ours ever has, in bytes; and entries, the oldest of which go.
_MOST_BYTES, _MOST_ENTRIES = 2**20, 1000


class LearntMemory:
    """Of one model, by its fingerprint, on one device, by its name. `free` are bytes before the model is loaded."""

    def __init__(
        self, device: str, model: str, path: Path | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        self._path = path or _usual_path()
        self._of = f"{device}|{model}"
        self._told: dict[str, int] = {}  # peaks that need not be written again

    def needs(self, shape: Shape, count: int, free: int) -> dict[MemoryPlan, float]:
        """Bytes that each step takes for so many pictures at once, of those that something is known of."""
        known: dict[MemoryPlan, float] = {}
        entries = self._read()
        for plan in MemoryPlan:
            entry = entries.get(self._key(plan, shape), {})
            if self._fails(entry, 1, free):
                known[plan] = free + 1
            elif entry.get("peak") and entry.get("peak_count", 0) >= count:
                known[plan] = _ROOM * entry["peak"]
        return known

    def together(self, plan: MemoryPlan, shape: Shape, wanted: int, free: int) -> int:
        """How many pictures may be drawn at once: fewer than `wanted` where so many did not fit."""
        entry = self._read().get(self._key(plan, shape), {})
        while wanted > 1 and self._fails(entry, wanted, free):
            wanted //= 2
        return wanted

    def failed(self, plan: MemoryPlan, shape: Shape, count: int, free: int) -> None:
        """So many pictures at once were too many."""
        self._note(plan, shape, {"failed_count": count, "free": free, "failed_at": int(self._clock())})

    def worked(self, plan: MemoryPlan, shape: Shape, count: int, peak: int) -> None:
        """So many pictures at once took so many bytes, with the weights. Only what is more than before counts."""
        key = self._key(plan, shape)
        if key not in self._told:
            self._told[key] = self._read().get(key, {}).get("peak", 0)
        if peak > self._told[key]:
            self._told[key] = peak
            self._note(plan, shape, {"peak": peak, "peak_count": count})

    def _fails(self, entry: Mapping[str, int], count: int, free: int) -> bool:
        if not 0 <= self._clock() - entry.get("failed_at", 0) < _BELIEVED:
            return False
        return 0 < entry.get("failed_count", 0) <= count and free <= _MORE * entry.get("free", 0)

    def _key(self, plan: MemoryPlan, shape: Shape) -> str:
        return f"{self._of}|{plan}|{shape[0]}x{shape[1]}"

    def _note(self, plan: MemoryPlan, shape: Shape, found: Mapping[str, int]) -> None:
        entries = self._read()  # anew: others write, too
        key = self._key(plan, shape)
        entries[key] = {**entries.pop(key, {}), **found}
        kept = dict(list(entries.items())[-_MOST_ENTRIES:])
        staged = self._path.with_suffix(f".{os.getpid()}.part")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            staged.write_text(json.dumps(kept), encoding="utf-8")
            staged.replace(self._path)
        except OSError as error:
            log.warning("%s cannot be written (%s): it is found out again next time", self._path, error.strerror)
            with contextlib.suppress(OSError):
                staged.unlink(missing_ok=True)

    def _read(self) -> dict[str, dict[str, int]]:
        try:
            if self._path.stat().st_size > _MOST_BYTES:
                return {}
            found: Any = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        if not isinstance(found, dict):
            return {}
        return {
            key: {name: value for name, value in entry.items() if isinstance(value, int)}
            for key, entry in found.items()
            if isinstance(entry, dict)
        }


def _usual_path(environ: Mapping[str, str] = os.environ) -> Path:
    return user_folder("XDG_CACHE_HOME", ".cache", "/var/cache", environ) / "hotfolder" / "memory.json"
