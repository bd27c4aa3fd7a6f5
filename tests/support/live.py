"""A real daemon in a real process."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import psutil
import pytest
from watchdog.events import FileSystemEvent

from hotfolder.folders.layout import Layout
from hotfolder.folders.watch import Watcher
from tests.support import forks
from tests.support.roots import QUICK

REPOSITORY = Path(__file__).resolve().parents[2]
#: So many times longer is waited than it may take on a machine that does nothing else.
_BUSY = 4


def wait_for(condition: Callable[[], bool], seconds: float, what: str, *, every: float = 0.01) -> float:
    """Waits until a condition holds; gives the seconds it took. Fails with `what` when it never does.

    It may take so many `seconds` where nothing else works, and several times that where other tests do.
    """
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > _BUSY * seconds:
            raise AssertionError(f"not within {_BUSY * seconds:g} s: {what}")
        time.sleep(every)
    return time.monotonic() - started


def hearing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], bool]:
    """From now on: whether some event of the file system told of a file, as against a scan that found it."""
    names, real = set[str](), Watcher.on_any_event

    def hear(self: Watcher, event: FileSystemEvent) -> None:
        if event.event_type != "deleted":  # the daemon's own moving it away
            names.add(os.fsdecode(event.src_path))
        real(self, event)

    monkeypatch.setattr(Watcher, "on_any_event", hear)
    return lambda path: str(path) in names


class LiveDaemon:
    """`hotfolder run` on a root; killed at the end of the `with` block unless it has ended."""

    def __init__(self, layout: Layout, *arguments: str, **environ: str) -> None:
        self.layout = layout
        self.log = layout.root.parent / "daemon.log"
        words = ["hotfolder", "run", "--root", str(layout.root), *arguments]
        with self.log.open("ab") as log:
            self.process = forks.start(*words, stdout=log, stderr=log, env={**os.environ, **QUICK, **environ})

    def __enter__(self) -> LiveDaemon:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.kill()
        self.process.wait()

    def watching(self) -> None:
        """Waits until it watches."""
        wait_for(self.layout.live_status.exists, 120, f"a daemon that watches\n{self.text()}")

    def says(self, text: str, seconds: float = 20) -> None:
        """Waits until it has written this."""
        with contextlib.suppress(AssertionError):
            wait_for(lambda: text in self.text() or self.process.poll() is not None, seconds, text)
        assert text in self.text(), f"it ended with {self.process.poll()}, and did not say '{text}'\n{self.text()}"

    def text(self) -> str:
        return self.log.read_text()

    def workers(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self, seconds: float = 240) -> int:
        """SIGTERM; gives the exit code."""
        self.process.terminate()
        return self.process.wait(seconds)


def drop(source: Path, inbox: Path, name: str) -> Path:
    """Drops a file the careful way: under a temporary name, then renamed."""
    inbox.mkdir(parents=True, exist_ok=True)
    partial = inbox / f".{name}.part"
    partial.write_bytes(source.read_bytes())
    return partial.rename(inbox / name)
