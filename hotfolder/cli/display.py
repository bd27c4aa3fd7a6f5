"""Progress while the line works: a live bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from hotfolder.status.live import Snapshot

#: Without a terminal, one line so often, in seconds.
_PLAIN_EVERY = 5.0


class _Rate(ProgressColumn):
    """Jobs a second over the whole run, and the seconds left at that rate."""

    def render(self, task: Task) -> Text:
        return Text(_rate(task.completed, task.total or 0, task.elapsed or 0), style="progress.remaining")


def _rate(done: float, total: float, elapsed: float) -> str:
    if not done or not elapsed:
        return "–/s  ETA –"
    rate = done / elapsed
    return f"{rate:.1f}/s  ETA {(total - done) / rate:.0f} s"


class Display:
    """Use as a context manager; `show` takes the daemon's snapshots. Writes to stderr only."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._live = self._console.is_terminal
        self._progress = Progress(
            TextColumn("{task.description}", justify="left"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            console=self._console,
            transient=True,
        )
        self._task = self._progress.add_task("starting", total=None)
        self._started = self._said = time.monotonic()

    def __enter__(self) -> Display:
        if self._live:
            self._progress.start()
            _log_to_stderr()  # now rich's own, which prints above the bar instead of through it
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._progress.stop()
            _log_to_stderr()

    def show(self, snapshot: Snapshot) -> None:
        """What the daemon is doing."""
        stage = snapshot.stage
        if snapshot.steps:
            stage += f" {snapshot.step}/{snapshot.steps}"
        if snapshot.paused:
            stage = f"paused: {snapshot.paused}"
        part = snapshot.step / snapshot.steps if snapshot.stage == "generating" and snapshot.steps else 0.0
        self.update(stage, snapshot.done + snapshot.failed + part, snapshot.total)

    def update(self, stage: str, ended: float, total: int) -> None:
        """`ended` of `total` things are through; part of one counts for the time that is left."""
        if self._live:
            self._progress.update(
                self._task, description=escape(f"{stage:<24}"), completed=ended, total=max(1, total)
            )
            return
        now = time.monotonic()
        if now - self._said >= _PLAIN_EVERY:
            self._said = now
            sys.stderr.write(f"{stage}: {int(ended)}/{total}  {_rate(ended, total, now - self._started)}\n")


def _log_to_stderr() -> None:
    """Points the log at what stderr is now."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(sys.stderr)
