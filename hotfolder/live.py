"""What the daemon is doing right now: for people to look at, nothing depends on it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hotfolder.types import Progress

#: Seconds between two looks at a live display, and between two writings of status.json.
SHOW_EVERY, WRITE_EVERY = 0.1, 0.5


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One moment of a daemon's life. Times are seconds since the epoch."""

    pid: int
    started_at: float
    updated_at: float
    watcher: str  # 'inotify', or why not
    stage: str  # 'idle', 'loading …', 'scoring', …
    step: int
    steps: int
    done: int  # jobs ended well since the start
    failed: int
    open: int  # jobs queued and running
    unsettled: int  # files seen and not yet taken
    paused: str | None  # why the queue waits

    @property
    def total(self) -> int:
        """Jobs known of since the start: it grows as jobs bring forth others."""
        return self.done + self.failed + self.open


class Live:
    """Tells a display and `status` about it, seldom enough to cost nothing."""

    def __init__(self, path: Path, show: Callable[[Snapshot], None] | None) -> None:
        self._path = path
        self._show = show
        self._shown_at = self._written_at = 0.0
        self._written: dict[str, Any] = {}

    def update(self, now: float, make: Callable[[], Snapshot], *, force: bool = False) -> None:
        """Passes a snapshot on, and makes it only then, unless the last one is very young."""
        show = self._show is not None and (force or now - self._shown_at >= SHOW_EVERY)
        write = force or now - self._written_at >= WRITE_EVERY
        if not (show or write):
            return
        snapshot = make()
        if show and self._show is not None:
            self._shown_at = now
            self._show(snapshot)
        content = asdict(snapshot)
        if write and {**content, "updated_at": 0} != {**self._written, "updated_at": 0}:
            self._written_at, self._written = now, content
            partial = self._path.with_suffix(".partial")
            try:
                partial.write_text(json.dumps(content), encoding="utf-8")
                partial.replace(self._path)
            except OSError:
                return  # a full disk must not stop the daemon from showing why it waits

    def clear(self) -> None:
        self._path.unlink(missing_ok=True)


def read(path: Path) -> Snapshot | None:
    """The last snapshot that a daemon wrote; None when there is none that can be read."""
    try:
        return Snapshot(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def snapshot(
    *, started_at: float, now: float, watcher: str, progress: Progress | None, done: int, failed: int,
    open_jobs: int, unsettled: int, paused: str | None,
) -> Snapshot:  # fmt: skip
    """A snapshot of this process."""
    stage = progress.stage if progress else ("idle" if not open_jobs else "waiting")
    return Snapshot(
        os.getpid(), started_at, now, watcher, stage, progress.step if progress else 0,
        progress.steps if progress else 0, done, failed, open_jobs, unsettled, paused,
    )  # fmt: skip
