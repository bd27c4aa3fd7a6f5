"""What the daemon is doing right now: for people to look at, nothing depends on it."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from hotfolder import __version__
from hotfolder.types import Progress

#: Seconds between two looks at a live display, and between two writings of status.json.
SHOW_EVERY, WRITE_EVERY = 0.1, 0.5
#: Seconds after which status.json is written also where nothing has changed: that the daemon lives.
HEARTBEAT_EVERY = 10.0
#: What tells only of the time.
_OF_TIME = dict.fromkeys(("updated_at", "changed_at"), 0.0)
#: What tells that work gets on: not what is merely foreseen, nor that more was dropped.
_OF_WORK = ("stage", "step", "steps", "stage_since", "done", "failed", "paused", "unplaced")
#: Bytes of status.json, with several devices.
_ROOM = 16_384
_TRIES = 5
#: What a device may be doing.
STATES = ("unloaded", "idle", "loading", "working", "leaving", "set aside", "unfit", "draining", "drained")
log = logging.getLogger(__name__)


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
    stage_since: float  # when this stage began
    device: str  # what the worker works on; empty while there is none
    memory_used: int  # bytes
    memory_total: int
    done: int  # jobs ended well since the start
    failed: int
    open: int  # jobs queued and running
    unsettled: int  # files seen and not yet taken
    paused: str | None  # why the queue waits
    unplaced: int = 0  # results that wait because a file cannot be put into its place
    taking: bool = True  # whether complete files are taken: not in a pause for trouble
    left_alone: Mapping[str, int] = field(default_factory=dict)  # files that are not taken: how many of each kind
    refused: str | None = None  # what is wrong with the configuration that was to be read anew
    version: str = ""  # of the daemon
    devices: Sequence[Mapping[str, Any]] = ()  # each as `hotfolder workers` tells it
    changed_at: float = 0.0  # when work got on last, or began to wait; 0: not told

    expected: float = 0.0  # jobs until nothing is left: open ones, and those that will follow from them
    left_seconds: float | None = None  # that these will take; None: not known

    @property
    def total(self) -> int:
        """Jobs since the start, and those that are expected."""
        return self.done + self.failed + max(self.open, round(self.expected))


_KNOWN = {each.name for each in fields(Snapshot)}


class Live:
    """Tells a display and `status` about it, seldom enough to cost nothing."""

    def __init__(
        self, path: Path, show: Callable[[Snapshot], None] | None, tell: Callable[[Snapshot], None]
    ) -> None:
        """`show` is a display, told often; `tell` is told as often as the file is written."""
        self._path = path
        self._show = show
        self._tell = tell
        self._shown_at = self._written_at = self._changed_at = 0.0
        self._written: dict[str, Any] = {}
        self.is_late = False  # the last update came too soon after another one, and was passed over

    def update(self, now: float, make: Callable[[], Snapshot], *, force: bool = False) -> None:
        """Passes a snapshot on, and makes it only then, unless the last one is very young."""
        show = self._show is not None and (force or abs(now - self._shown_at) >= SHOW_EVERY)
        write = force or abs(now - self._written_at) >= WRITE_EVERY
        self.is_late = not write
        if not (show or write):
            return
        snapshot = make()
        if show and self._show is not None:
            self._shown_at = now
            self._show(snapshot)
        content = asdict(snapshot)
        has_changed = {**content, **_OF_TIME} != {**self._written, **_OF_TIME}
        if write and (has_changed or abs(now - self._written_at) >= HEARTBEAT_EVERY):
            if any(content[name] != self._written.get(name) for name in _OF_WORK):
                self._changed_at = now
            self._written_at, self._written = now, {**content, "changed_at": self._changed_at}
            _overwrite(self._path, json.dumps(self._written).encode())
        if write:
            self._tell(snapshot)

    def begin(self) -> None:
        """What a daemon that was killed said last holds no more; the space stays, for a disk that is full by now."""
        if self._path.exists():
            _overwrite(self._path, b"{}")

    def clear(self) -> None:
        with contextlib.suppress(OSError):  # nothing depends on it
            self._path.unlink(missing_ok=True)


def line(snapshot: Snapshot) -> str:
    """A snapshot in one line."""
    if snapshot.paused:
        return f"paused: {snapshot.paused}; {snapshot.open} jobs wait"
    step = f" {snapshot.step}/{snapshot.steps}" if snapshot.steps else ""
    left = f", about {snapshot.left_seconds:.0f} s left" if snapshot.left_seconds is not None else ""
    return (
        f"{snapshot.stage}{step}; {snapshot.open} jobs open, {snapshot.done} done, {snapshot.failed} failed{left}"
    )


def _overwrite(path: Path, data: bytes) -> None:
    """In place and always of one size: a full disk takes no new file, and that is just when it is to be read."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.pwrite(handle, data.ljust(_ROOM), 0)
            os.ftruncate(handle, max(_ROOM, len(data)))
        finally:
            os.close(handle)
    except OSError as error:
        log.debug("%s cannot be written: %s", path, error)  # nothing depends on it


def read(path: Path) -> Snapshot | None:
    """The last snapshot that a daemon wrote; None when there is none that can be read."""
    for _ in range(_TRIES):  # it may just be written
        try:
            told = json.loads(path.read_bytes())
            # Of a daemon of another version: what is not known here is passed over.
            return Snapshot(**{key: value for key, value in told.items() if key in _KNOWN})
        except ValueError:
            time.sleep(0.01)
        except (OSError, TypeError, AttributeError):
            break
    return None


def snapshot(
    *, started_at: float, now: float, watcher: str, progress: Progress | None, since: float, done: int, failed: int,
    open_jobs: int, unsettled: int, paused: str | None, unplaced: int, taking: bool,
    left_alone: Mapping[str, int], expected: float, left_seconds: float | None, refused: str | None = None,
    devices: Sequence[Mapping[str, Any]] = (),
) -> Snapshot:  # fmt: skip
    """A snapshot of this process; `since` is when the stage that `progress` tells of began."""
    told = progress or Progress(0, "idle" if not open_jobs else "waiting")
    return Snapshot(
        pid=os.getpid(), started_at=started_at, updated_at=now, watcher=watcher, stage=told.stage, step=told.step,
        steps=told.steps, stage_since=since, device=told.device, memory_used=told.memory_used,
        memory_total=told.memory_total, done=done, failed=failed, open=open_jobs, unsettled=unsettled, paused=paused,
        unplaced=unplaced, taking=taking, left_alone=dict(left_alone), expected=round(expected, 1),
        left_seconds=None if left_seconds is None else round(left_seconds, 1), refused=refused, version=__version__,
        devices=list(devices),
    )  # fmt: skip
