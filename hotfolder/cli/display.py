"""Progress while the line works: a live bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections import deque
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from hotfolder.core.times import span
from hotfolder.status.live import Snapshot

#: Without a terminal, one line so often, in seconds.
_PLAIN_EVERY = 5.0
#: The rate is that of so many seconds.
_RATE_OF = 30.0


class _Told(ProgressColumn):
    """What was told of the rate and of the time that is left."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["told"], style="progress.remaining")


class _Rate:
    """Things a second, lately."""

    def __init__(self, now: float) -> None:
        self._seen = deque([(now, 0.0)])

    def told(self, ended: float, total: float, now: float, left: float | None, *, known: bool) -> str:
        """The rate, and the seconds `left`; those at this rate where nobody estimates them (`known` is False)."""
        self._seen.append((now, ended))
        while len(self._seen) > 2 and now - self._seen[0][0] > _RATE_OF:
            self._seen.popleft()
        seconds, things = now - self._seen[0][0], ended - self._seen[0][1]
        rate = things / seconds if seconds > 0 and things > 0 else None
        if not known:
            left = (total - ended) / rate if rate is not None else None
        pace = "–/s" if rate is None else f"{rate:.1f}/s" if rate >= 0.95 else f"{rate * 60:.1f}/min"
        return f"{pace}  ETA {'–' if left is None else span(left)}"


class Display:
    """Use as a context manager; `show` takes the daemon's snapshots. Writes to stderr only."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._live = self._console.is_terminal
        self._progress = Progress(
            TextColumn("{task.description}", justify="left"),
            BarColumn(),
            MofNCompleteColumn(),
            _Told(),
            console=self._console,
            transient=True,
        )
        self._task = self._progress.add_task("starting", total=None, told="")
        self._said = time.monotonic()
        self._rate = _Rate(self._said)

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
        ended = snapshot.done + snapshot.failed + part
        if not snapshot.open:
            told = "waiting for files" if not snapshot.unsettled else f"{snapshot.unsettled} files arrive"
            self._tell(stage if snapshot.paused else told, ended, snapshot.total, "")
        else:
            rate = self._rate.told(ended, snapshot.total, time.monotonic(), snapshot.left_seconds, known=True)
            self._tell(stage, ended, snapshot.total, rate)

    def update(self, stage: str, ended: float, total: int) -> None:
        """`ended` of `total` things are through; part of one counts for the time that is left."""
        self._tell(stage, ended, total, self._rate.told(ended, total, time.monotonic(), None, known=False))

    def _tell(self, stage: str, ended: float, total: int, rate: str) -> None:
        if self._live:
            self._progress.update(
                self._task, description=escape(f"{stage:<24}"), completed=ended, total=max(1, total), told=rate
            )
            return
        now = time.monotonic()
        if now - self._said >= _PLAIN_EVERY:
            self._said = now
            sys.stderr.write(f"{stage}: {int(ended)}/{total}  {rate}".rstrip() + "\n")


def _log_to_stderr() -> None:
    """Points the log at what stderr is now."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(sys.stderr)
