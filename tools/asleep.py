"""An executor without models that takes its time: the same on every machine, whatever else that does."""

from __future__ import annotations

import hashlib
import random
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from hotfolder.bench.line_daemon import judge
from hotfolder.bench.line_root import picture
from hotfolder.executors.base import Done
from hotfolder.types import Batch, Item, Kind, Outcome, Progress, RunnerSettings, SourceFacts, Staged

_SPREAD = (0.7, 1.4)  # a job takes so many times the usual time
_SIDE = 16  # of its pictures


class Asleep:
    """Satisfies the Executor protocol. Scores are spread evenly from 1 to 9."""

    def __init__(self, seconds: Mapping[Kind, float], load_seconds: Mapping[Kind, float]) -> None:
        """`seconds` a job takes, `load_seconds` its model."""
        self.loads: list[str] = []
        self._seconds, self._load_seconds = seconds, load_seconds
        self._random = random.Random(1)
        self._loaded: set[Kind] = set()
        self._plan: deque[tuple[float, Batch, Item | None, Progress | None]] = deque()
        self._cancelled: set[int] = set()

    def capacity(self) -> int:
        return 0 if self._plan else 1

    def submit(self, batch: Batch) -> None:
        now, first = time.monotonic(), batch.items[0].job_id
        self._cancelled.clear()
        if batch.kind not in self._loaded:
            self._loaded.add(batch.kind)
            self.loads.append(f"loading {batch.model}")
            self._plan.append((now, batch, None, Progress(first, self.loads[-1], loading=True)))
            now += self._load_seconds[batch.kind]
        self._plan.append((now, batch, None, Progress(first, "at work", 0, len(batch.items))))
        for item in batch.items:
            now += self._seconds[batch.kind] * self._random.uniform(*_SPREAD)
            self._plan.append((now, batch, item, None))
        self._plan.append((now, batch, None, None))

    def poll(self, timeout: float) -> Sequence[Done]:
        until = time.monotonic() + timeout
        due = self._plan[0][0] if self._plan else until
        time.sleep(max(0.0, min(until, due) - time.monotonic()))
        told: list[Done] = []
        while self._plan and self._plan[0][0] <= time.monotonic():
            _, batch, item, progress = self._plan.popleft()
            if item is not None:
                if item.job_id not in self._cancelled:
                    told.append(Done(outcome=_outcome(batch.kind, item)))
            else:
                told.append(Done(progress=progress) if progress is not None else Done(finished=batch.id))
        return told

    def cancel(self, job_ids: Collection[int]) -> None:
        self._cancelled.update(job_ids)

    def interrupt(self) -> None:
        self._cancelled.update(item.job_id for _, _, item, _ in self._plan if item is not None)

    def reconfigure(self, settings: RunnerSettings, idle_seconds: float) -> None:
        """There is nothing to set."""

    def abandon(self, why: str) -> None:
        """It never hangs."""

    def close(self) -> None:
        self._plan.clear()


def _outcome(kind: Kind, item: Item) -> Outcome:
    if kind is Kind.SCORE:
        return judge(kind, item)
    # Another picture for each seed, and for each original.
    data = picture(int(item.params["seed"]) if kind is Kind.GENERATE else item.job_id + 2**31)
    path = Path(item.staging) / "output.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    staged = Staged(str(path), hashlib.sha256(data).hexdigest(), _SIDE, _SIDE, {**item.params, "scale": 4})
    source = None
    if item.source is not None:
        source = SourceFacts(hashlib.sha256(Path(item.source).read_bytes()).hexdigest(), _SIDE, _SIDE)
    return Outcome(item.job_id, item.claim, staged=staged, source=source)
