"""What was learnt of memory, remembered across starts: per device, model, step of the ladder and shape.

A hint that saves the first tries: where it cannot be read or written, they are made again. What was seen is believed
for a week; that something failed, only where there is about as much memory as there was then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from hotfolder.core.memory_plan import MemoryPlan
from hotfolder.files.remembered import Remembered

Shape = tuple[int, int]  # width and height, in pixels
#: Above what was measured: the allocator's own, and the CUDA context's.
_ROOM = 1.1
#: With so much more free memory than when it ran out, it is tried again.
_MORE = 1.1
#: And after so many seconds, too: what took the memory then, may have been another program.
_BELIEVED = 7 * 24 * 3600
#: A number of pictures has fewer digits than this.
_DIGITS = 7


class LearntMemory:
    """Of one model, by its fingerprint, on one device, by its name; `how` is what else changes what it takes.

    `free` are bytes before the model is loaded.
    """

    def __init__(
        self,
        device: str,
        model: str,
        how: str = "",
        path: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._file = Remembered("memory.json", path)
        self._of = f"{device}|{model}|{how}"

    def needs(self, shape: Shape, count: int, free: int) -> dict[MemoryPlan, float]:
        """Bytes that each step takes for so many pictures at once, of those that something is known of."""
        known: dict[MemoryPlan, float] = {}
        entries = self._file.read()
        for plan in MemoryPlan:
            entry = entries.get(self._key(plan, shape), {})
            peaks = {number: peak for number, peak in self._peaks(entry).items() if number >= count}
            if self._fails(entry, 1, free):
                known[plan] = free + 1
            elif peaks:
                known[plan] = _ROOM * peaks[min(peaks)]
        return known

    def together(self, plan: MemoryPlan, shape: Shape, wanted: int, free: int) -> int:
        """How many pictures may be drawn at once: fewer than `wanted` where so many did not fit."""
        entry = self._file.read().get(self._key(plan, shape), {})
        while wanted > 1 and self._fails(entry, wanted, free):
            wanted //= 2
        return wanted

    def failed(self, plan: MemoryPlan, shape: Shape, count: int, free: int) -> None:
        """So many pictures at once were too many."""
        found = {"failed_count": count, "free": free, "failed_at": int(self._clock())}
        self._file.note(self._key(plan, shape), lambda _: found)

    def worked(self, plan: MemoryPlan, shape: Shape, count: int, peak: int) -> None:
        """So many pictures at once took so many bytes, with the weights. Only what is more than before counts."""

        def more(entry: Mapping[str, int]) -> dict[str, int]:
            is_known = self._peaks(entry).get(count, 0) >= peak
            return {} if is_known else {f"peak_{count}": peak, f"peak_{count}_at": int(self._clock())}

        if more(self._file.read().get(self._key(plan, shape), {})):
            self._file.note(self._key(plan, shape), more)

    def _peaks(self, entry: Mapping[str, int]) -> dict[int, int]:
        """What is believed: number of pictures -> bytes."""
        found = {}
        for name, peak in entry.items():
            number = name.removeprefix("peak_")
            is_one = number != name and number.isascii() and number.isdecimal() and len(number) < _DIGITS
            if is_one and peak and self._is_fresh(entry.get(f"{name}_at", 0)):
                found[int(number)] = peak
        return found

    def _is_fresh(self, at: int) -> bool:
        return 0 <= self._clock() - at < _BELIEVED

    def _fails(self, entry: Mapping[str, int], count: int, free: int) -> bool:
        if not self._is_fresh(entry.get("failed_at", 0)):
            return False
        return 0 < entry.get("failed_count", 0) <= count and free <= _MORE * entry.get("free", 0)

    def _key(self, plan: MemoryPlan, shape: Shape) -> str:
        return f"{self._of}|{plan}|{shape[0]}x{shape[1]}"
